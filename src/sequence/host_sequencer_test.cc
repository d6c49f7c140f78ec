// SPDX-License-Identifier: Apache-2.0
// Hosts with several workers each, and the owner of one SA: who sends what, as a peer with a small replay window
// sees it.
#include "sequence/host_sequencer.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <vector>

#include "base/rng.h"

namespace testudo::sequence {
namespace {

using namespace std::chrono_literals;

constexpr IpAddress kDvipa{0xc0000264};
constexpr Epoch kEpoch{9}, kNextEpoch{10};
constexpr NodeId kOwner{1};
constexpr SaId kSa{1};
constexpr std::uint64_t kWindow = 32;
constexpr Duration kGuard = 40us;
constexpr std::uint64_t kReserved = 1 << 20;  // numbers

class HostsWorld {
 public:
  struct Options {
    std::size_t hosts = 2, workers = 3;
    double loss = 0;  // of datagrams between hosts
  };

  HostsWorld(std::uint64_t seed, const Options& options) : options_(options), rng_(seed) {
    start_owner(kEpoch, SeqNo(1), SeqNo(kReserved));
    for (std::size_t i = 0; i < options.hosts; ++i) {
      hosts_.emplace_back(static_cast<std::uint16_t>(i + 10));
      Host& host = hosts_.back();
      host.divider.add_sa(kSa, {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner, .peer_window = kWindow});
      for (std::uint32_t w = 0; w < options.workers; ++w) {
        host.workers.emplace_back(Lessee(host.id, w + 1, {.sas_max = 1}));
        host.workers.back().lessee.add_sa(kSa, {.dvipa = kDvipa, .epoch = kEpoch, .owner = host.id});
      }
    }
  }

  /// A worker gets bursts of packets, in all `bursts`.
  void feed(std::size_t host, std::size_t worker, int bursts, Duration apart) {
    if (bursts == 0) return;
    hosts_[host].workers[worker].held += 1 + rng_.next() % 44;
    turn(hosts_[host], hosts_[host].workers[worker]);
    after(apart / 2 + Duration(rng_.next() % apart.count()), [=, this] { feed(host, worker, bursts - 1, apart); });
  }

  /// The owner is another one from now on, and starts behind all that was reserved.
  void take_over() {
    start_owner(kNextEpoch, SeqNo(kReserved + 1), SeqNo(2 * kReserved));
    for (Host& host : hosts_) {
      host.divider.set_owner(kDvipa, kNextEpoch, kOwner);
      for (Worker& worker : host.workers) {
        worker.lessee.set_owner(kDvipa, kNextEpoch, host.id);
        turn(host, worker);
      }
    }
  }

  void run(Duration duration) {
    const Time end = now_ + duration;
    while (!events_.empty() && events_.top().when <= end) {
      now_ = events_.top().when;
      const auto run = events_.top().run;
      events_.pop();
      run();
    }
    now_ = end;
  }
  void lossless() { options_.loss = 0; }

  [[nodiscard]] std::uint64_t held() const {
    std::uint64_t sum = 0;
    for (const Host& host : hosts_) {
      for (const Worker& worker : host.workers) sum += worker.held;
    }
    return sum;
  }

  std::set<std::uint64_t> sent;
  std::uint64_t top = 0;  // that the peer has seen
  std::uint64_t refused = 0, twice = 0;
  std::uint64_t messages = 0;  // between hosts and owner

 private:
  struct Worker {
    explicit Worker(Lessee l) : lessee(std::move(l)) {}
    Lessee lessee;
    std::uint64_t held = 0;  // packets
    Time timer{};
    bool busy = false;  // has taken numbers, and not yet sent
  };
  struct Host {
    explicit Host(std::uint16_t number)
        : id(number), divider(id, 1000, {.exclusive_least = 1, .sas_max = 1}, {.sas_max = 1}) {}
    NodeId id;
    HostSequencer divider;
    std::deque<Worker> workers;
    Time timer{};
    Time path{};  // of the last arrival at the peer: in order
  };
  struct Event {
    Time when;
    std::uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const { return std::pair(when, order) > std::pair(other.when, other.order); }
  };

  void after(Duration delay, std::function<void()> run) { events_.push({now_ + delay, ++order_, std::move(run)}); }

  /// Once, however often it is asked for. `set`: when, so far.
  void wake(Time& set, Time when, const std::function<void()>& run) {
    if (when == Time::max() || (set > now_ && set <= when)) return;
    set = std::max(when, now_ + 1us);
    events_.push({set, ++order_, run});
  }

  void start_owner(Epoch epoch, SeqNo first, SeqNo ceiling) {
    owner_ = std::make_unique<Sequencer>(kOwner, SequencerConfig{.skew_guard = kGuard, .sas_max = 1});
    owner_->add_sa(kSa, {.dvipa = kDvipa, .epoch = epoch, .first = first, .peer_window = kWindow});
    owner_->set_ceiling(kSa, ceiling);
  }

  void owner_turn() {
    wire::FastOutbox out(32);
    owner_->tick(now_, out);
    carry(out);
    wake(owner_timer_, owner_->next_timer(), [this] { owner_turn(); });
  }

  void carry(wire::FastOutbox& out) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const wire::FastDatagram datagram = out.datagram(i);
      ++messages;
      if (static_cast<double>(rng_.next() % 1000) < options_.loss * 1000) continue;
      after(5us + Duration(rng_.next() % 20'000),
            [this, to = datagram.to, bytes = std::vector(datagram.bytes.begin(), datagram.bytes.end())] {
              arrive(to, *wire::FastMessage::parse(bytes));
            });
    }
  }

  void arrive(NodeId to, const wire::FastMessage& message) {
    wire::FastOutbox out(32);
    if (to == kOwner) {
      owner_->receive(message, now_, out);
      carry(out);
      return owner_turn();
    }
    Host& host = hosts_[to.value() - 10u];
    host.divider.from_owner(message, now_, out);
    to_workers(host, out);
    turn(host);
  }

  /// A worker wakes up and reads.
  void to_workers(Host& host, wire::FastOutbox& out) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const wire::FastDatagram datagram = out.datagram(i);
      after(Duration(rng_.next() % 20'000),
            [this, &host, bytes = std::vector(datagram.bytes.begin(), datagram.bytes.end())] {
              const auto message = wire::FastMessage::parse(bytes);
              Worker& worker = host.workers[message->header().incarnation - 1];
              worker.lessee.receive(*message, now_);
              turn(host, worker);
            });
    }
  }

  void turn(Host& host) {
    wire::FastOutbox to_owner(32), down(32);
    host.divider.turn(now_, to_owner, down);
    carry(to_owner);
    to_workers(host, down);
    wake(host.timer, host.divider.next_timer(), [this, &host] { turn(host); });
  }

  void turn(Host& host, Worker& worker) {
    if (worker.busy) return;
    if (const Numbers numbers = worker.lessee.take(kSa, static_cast<std::uint32_t>(worker.held), now_)) {
      worker.held -= numbers.count;
      worker.busy = true;  // it encrypts, and now and then it is preempted
      after(Duration(rng_.next() % (rng_.next() % 4 == 0 ? 150'000 : 5'000)), [this, &host, &worker, numbers] {
        worker.busy = false;
        if (worker.lessee.still_valid(numbers, now_)) send(host, numbers);
        worker.lessee.sent(kSa, numbers.last());
        turn(host, worker);
      });
      return;
    }
    wire::FastOutbox up(32), down(32);
    worker.lessee.poll(now_, up);
    for (std::size_t i = 0; i < up.size(); ++i)
      host.divider.from_worker(*wire::FastMessage::parse(up.datagram(i).bytes), now_, down);
    to_workers(host, down);
    turn(host);
    wake(worker.timer, worker.lessee.next_timer(), [this, &host, &worker] { turn(host, worker); });
  }

  void send(Host& host, const Numbers& numbers) {
    for (std::uint64_t n = numbers.first.value(); n <= numbers.last().value(); ++n) {
      if (!sent.insert(n).second) ++twice;
      host.path = std::max(host.path, now_ + 20us + Duration(rng_.next() % (kGuard.count() - 1)));
      events_.push({host.path, ++order_, [this, n] {
                      if (n + kWindow <= top) ++refused;
                      top = std::max(top, n);
                    }});
    }
  }

  Options options_;
  SeededRng rng_;
  Time now_{1s};
  std::uint64_t order_ = 0;
  std::priority_queue<Event> events_;
  std::unique_ptr<Sequencer> owner_;
  Time owner_timer_{};
  std::deque<Host> hosts_;
};

class HostSequencers : public testing::TestWithParam<std::uint64_t> {};

TEST_P(HostSequencers, WorkersOfOneHostStayInThePeersWindow) {
  HostsWorld w(GetParam(), {.hosts = 1, .workers = 4});
  for (std::size_t i = 0; i < 4; ++i) w.feed(0, i, 50, 200us);
  w.run(1s);
  EXPECT_EQ(w.twice, 0u);
  EXPECT_EQ(w.refused, 0u);
  EXPECT_EQ(w.held(), 0u);
  EXPECT_GT(w.sent.size(), 2000u);
}

TEST_P(HostSequencers, WorkersOfSeveralHostsStayInThePeersWindow) {
  HostsWorld w(GetParam(), {.hosts = 3, .workers = 3});
  for (std::size_t host = 0; host < 3; ++host) {
    for (std::size_t i = 0; i < 3; ++i) w.feed(host, i, 20, 500us);
  }
  w.run(2s);
  EXPECT_EQ(w.twice, 0u);
  EXPECT_EQ(w.refused, 0u);
  EXPECT_EQ(w.held(), 0u);
}

TEST_P(HostSequencers, LostMessagesLoseNoPacket) {
  HostsWorld w(GetParam(), {.hosts = 2, .workers = 2, .loss = 0.1});
  for (std::size_t host = 0; host < 2; ++host) {
    for (std::size_t i = 0; i < 2; ++i) w.feed(host, i, 30, 1ms);
  }
  w.run(2s);
  w.lossless();
  w.run(1s);
  EXPECT_EQ(w.twice, 0u);
  EXPECT_EQ(w.refused, 0u);
  EXPECT_EQ(w.held(), 0u);
}

TEST_P(HostSequencers, TakeoverBeginsBehindAllThatWasReserved) {
  HostsWorld w(GetParam(), {.hosts = 2, .workers = 2});
  for (std::size_t host = 0; host < 2; ++host) {
    for (std::size_t i = 0; i < 2; ++i) w.feed(host, i, 60, 400us);
  }
  w.run(10ms);
  const std::uint64_t before = *w.sent.rbegin();
  w.take_over();
  w.run(1s);
  EXPECT_LE(before, kReserved);
  EXPECT_GT(*w.sent.rbegin(), kReserved);
  EXPECT_EQ(w.twice, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, HostSequencers, testing::Range<std::uint64_t>(1, 21));

// The sole worker that sends has numbers ahead of need: hardly a message per burst.
TEST(HostSequencer, LeavesASoleSenderItsExclusiveLease) {
  HostsWorld w(1, {.hosts = 1, .workers = 4});
  w.feed(0, 2, 400, 100us);
  w.run(1s);
  EXPECT_EQ(w.held(), 0u);
  EXPECT_LT(w.messages, 120u) << w.sent.size() << " packets";
}

/// One host, spoken to by hand.
class Divider : public testing::Test {
 protected:
  static constexpr NodeId kHost{10};
  static constexpr std::uint32_t kWorker = 7, kOwn = 1000;

  Divider() { divider_.add_sa(kSa, {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner, .peer_window = kWindow}); }

  template <typename Entry>
  void from_worker(const Entry& entry) {
    say(kHost, kWorker, entry, [this](const wire::FastMessage& m) { divider_.from_worker(m, now_, to_workers_); });
  }
  template <typename Entry>
  void from_owner(const Entry& entry) {
    say(kOwner, kOwn, entry, [this](const wire::FastMessage& m) { divider_.from_owner(m, now_, to_workers_); });
  }
  /// What it has said since the last call.
  template <typename Entry>
  std::vector<Entry> heard(wire::FastOutbox& box) {
    std::vector<Entry> out;
    for (std::size_t i = 0; i < box.size(); ++i) {
      const auto message = wire::FastMessage::parse(box.datagram(i).bytes);
      for (std::size_t j = 0; j < message->count() && message->header().type == Entry::kType; ++j)
        out.push_back(message->entry<Entry>(j));
    }
    box.clear();
    return out;
  }

  Time now_{1s};
  wire::FastOutbox to_owner_{32}, to_workers_{32};

 private:
  template <typename Entry, typename To>
  void say(NodeId sender, std::uint32_t incarnation, const Entry& entry, To to) {
    wire::FastOutbox box(1);
    box.append(kHost, {Entry::kType, sender, incarnation, kDvipa, kEpoch}, entry);
    to(*wire::FastMessage::parse(box.datagram(0).bytes));
    divider_.turn(now_, to_owner_, to_workers_);
  }

  HostSequencer divider_{kHost, kOwn, {.sas_max = 1}, {.sas_max = 1}};
};

TEST_F(Divider, GivesNoNumberForLongerThanItHasIt) {
  from_worker(wire::LeaseRequest{.sa = kSa, .id = 1, .want = 8, .last = {}});
  const auto asked = heard<wire::LeaseRequest>(to_owner_);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].want, 8);
  now_ += 20ms;
  from_owner(
      wire::LeaseGrant{.sa = kSa, .id = asked[0].id, .first = SeqNo(101), .count = 8, .duration_us = 100'000});
  auto granted = heard<wire::LeaseGrant>(to_workers_);
  ASSERT_EQ(granted.size(), 1u);
  EXPECT_EQ(granted[0].first, SeqNo(101));
  EXPECT_EQ(granted[0].count, 8);
  EXPECT_EQ(granted[0].duration_us, 30'000u);  // half of the lease is usable, from when it was asked for
  EXPECT_FALSE(granted[0].shared);
  now_ += 30ms;
  from_worker(wire::LeaseRequest{.sa = kSa, .id = 2, .want = 8, .last = {}});
  EXPECT_TRUE(heard<wire::LeaseGrant>(to_workers_).empty());
}

TEST_F(Divider, PassesOnWhatIsSharedAsShared) {
  from_worker(wire::LeaseRequest{.sa = kSa, .id = 1, .want = 8, .last = {}});
  from_owner(wire::LeaseGrant{
      .sa = kSa, .id = 1, .first = SeqNo(101), .count = 8, .duration_us = 100'000, .shared = true});
  const auto granted = heard<wire::LeaseGrant>(to_workers_);
  ASSERT_EQ(granted.size(), 1u);
  EXPECT_TRUE(granted[0].shared);
}

TEST_F(Divider, ReturnsWhatIsRecalledWhenNoWorkerHasItAnyMore) {
  from_worker(wire::LeaseRequest{.sa = kSa, .id = 1, .want = 8, .last = {}});
  from_owner(wire::LeaseGrant{.sa = kSa, .id = 1, .first = SeqNo(101), .count = 64, .duration_us = 100'000});
  heard<wire::LeaseRequest>(to_owner_);
  from_owner(wire::LeaseRecall{.sa = kSa, .id = 1});
  const auto recalled = heard<wire::LeaseRecall>(to_workers_);
  ASSERT_EQ(recalled.size(), 1u);
  EXPECT_EQ(recalled[0].id, 1u);
  EXPECT_TRUE(heard<wire::LeaseReturn>(to_owner_).empty());
  from_worker(wire::LeaseReturn{.sa = kSa, .id = 1, .last = SeqNo(103)});
  const auto returned = heard<wire::LeaseReturn>(to_owner_);
  ASSERT_EQ(returned.size(), 1u);
  EXPECT_EQ(returned[0].last, SeqNo(108));  // none of what the worker got will be sent
}

TEST_F(Divider, TellsTheWorkersThatThereAreNoMore) {
  from_worker(wire::LeaseRequest{.sa = kSa, .id = 1, .want = 8, .last = {}});
  from_owner(wire::LeaseGrant{.sa = kSa, .id = 1, .first = SeqNo()});
  const auto granted = heard<wire::LeaseGrant>(to_workers_);
  ASSERT_EQ(granted.size(), 1u);
  EXPECT_EQ(granted[0].count, 0);
}

}  // namespace
}  // namespace testudo::sequence
