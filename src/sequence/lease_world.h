// SPDX-License-Identifier: Apache-2.0
// For tests: one sequencer, several lessees, a lossy XCF between them, and one peer per SA with a replay window, in
// virtual time. Everything follows from the seed. What must never happen is checked at every step and recorded as a
// complaint.
//
//   LeaseWorld world(seed, {.lessees = 4, .window = 32, .loss = 0.1});
//   world.run(200ms);          // with loss, duplication, reordering, crashes, preemption
//   world.settle(2s);          // none of these; all packets get out
//   EXPECT_THAT(world.complaints(), IsEmpty());
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "sequence/lessee.h"
#include "sequence/sequencer.h"

namespace testudo::sequence {

struct LeaseWorldConfig {
  std::uint32_t lessees = 4;
  std::uint32_t sas = 2;
  std::uint32_t window = 32;
  double loss = 0, duplication = 0;  // of XCF datagrams
  double crashes = 0;                // probability that a lessee restarts, per burst
  double preemptions = 0;            // probability of a pause between take() and send, per burst
  std::uint32_t burst_max = 44;      // packets
  Duration burst_every = 200us;      // mean, per lessee and SA
  std::uint64_t first = 1;
  bool one_sender = false;  // the others stay silent
  double drift = 0;         // of clocks: each runs faster or slower than the sequencer's, by up to so much
  double answers = 0;       // share of bursts that answer packets which the owner has forwarded
  SequencerConfig sequencer{.ceiling_step = 2000, .sas_max = 8};
  LesseeConfig lessee{.sas_max = 8};
};

class LeaseWorld {
 public:
  LeaseWorld(std::uint64_t seed, const LeaseWorldConfig& config);

  void run(Duration duration);
  /// Stops losses and new packets, and lets what waits go out.
  void settle(Duration at_most);

  [[nodiscard]] const std::vector<std::string>& complaints() const { return complaints_; }
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] std::uint64_t dropped_late() const { return dropped_late_; }  // still_valid() said no
  [[nodiscard]] std::uint64_t grants() const { return granted_ranges_; }
  [[nodiscard]] std::uint64_t shared_grants() const { return shared_grants_; }
  [[nodiscard]] std::uint64_t offers() const { return offers_; }
  [[nodiscard]] std::uint64_t offers_used() const { return offers_used_; }
  [[nodiscard]] std::uint64_t waiting() const;

 private:
  static constexpr NodeId kOwner{1};
  static constexpr IpAddress kDvipa{0xc0000264};
  static constexpr Epoch kEpoch{9};

  struct Host {
    NodeId id;
    std::uint32_t incarnation = 0;
    Duration clock{};  // its clock at virtual time 0
    double rate = 1;   // of its clock
    std::unique_ptr<Lessee> lessee;
    std::map<std::uint64_t, std::uint32_t> held;  // packets by SA
    std::map<std::uint64_t, Time> path;           // last arrival by SA: a path is first in, first out
    Time busy_until{};                            // preempted
  };
  struct Out {  // a granted lease as an observer of the sequencer's messages sees it
    std::uint64_t id = 0, first = 0, last = 0;
    std::uint32_t incarnation = 0;
    bool shared = false;
    Time ends;
  };
  struct Peer {
    std::uint64_t top = 0;
    std::uint64_t ceiling = 0;
    std::map<std::uint64_t, std::uint64_t> granted;  // last number → first
    std::map<std::uint64_t, bool> used;
    std::vector<Out> out;
  };
  struct Event {
    Time when;
    std::uint64_t order;
    std::function<void()> run;
    bool operator<(const Event& other) const { return std::pair(when, order) > std::pair(other.when, other.order); }
  };

  std::uint64_t random(std::uint64_t below) { return rng_.next() % below; }
  bool chance(double p) { return static_cast<double>(rng_.next() >> 11) < p * 9007199254740992.0; }
  Duration random(Duration below) { return Duration(random(static_cast<std::uint64_t>(below.count()) + 1)); }
  void at(Time when, std::function<void()> run) { events_.push({when, ++order_, std::move(run)}); }
  void complain(const std::string& what);

  [[nodiscard]] Time local(const Host& host) const {
    return Time(host.clock + Duration(static_cast<std::int64_t>(
                                 static_cast<double>(now_.time_since_epoch().count()) * host.rate)));
  }
  [[nodiscard]] static Time global(const Host& host, Time local) {  // not before that
    const double passed = static_cast<double>((local.time_since_epoch() - host.clock).count());
    return Time(Duration(static_cast<std::int64_t>(passed / host.rate) + 2));
  }

  void start(Host& host);
  void produce(std::size_t host, std::uint64_t sa);
  void forward(std::size_t host, std::uint64_t sa);
  void burst(std::size_t host, std::uint64_t sa);
  void turn(Host& host);
  void send_all(Host& host, std::uint64_t sa);
  void send(Host& host, std::uint64_t sa, const Numbers& numbers);
  void arrive(std::uint64_t sa, std::uint64_t number);
  void sequencer_turn();
  void after_sequencer();
  void observe_grants(const wire::FastMessage& message);
  void observe_offers(const wire::FastMessage& message);
  void observe(const wire::LeaseGrant& grant, std::uint32_t incarnation);
  void observe_returns(const wire::FastMessage& message);
  void end_lease(std::uint64_t sa, std::uint32_t incarnation, std::uint64_t id, SeqNo last);
  void carry(NodeId to, std::vector<std::uint8_t> bytes);
  void deliver(NodeId to, const std::vector<std::uint8_t>& bytes);
  void carry_all(NodeId from, wire::FastOutbox& outbox);
  void run_until(Time end);

  LeaseWorldConfig config_;
  SeededRng rng_;
  Time now_{1s};
  std::uint64_t order_ = 0;
  std::priority_queue<Event> events_;
  Sequencer sequencer_;
  std::deque<Host> hosts_;
  std::map<std::uint64_t, Peer> peers_;  // by SA
  bool calm_ = false;
  std::uint32_t incarnations_ = 0;
  std::uint64_t sent_ = 0, received_ = 0, dropped_late_ = 0, granted_ranges_ = 0, shared_grants_ = 0;
  std::uint64_t offers_ = 0, offers_used_ = 0;
  std::vector<std::string> complaints_;
};

// ---- implementation; inline, so that this stays out of the library ----

inline LeaseWorld::LeaseWorld(std::uint64_t seed, const LeaseWorldConfig& config)
    : config_(config), rng_(seed), sequencer_(kOwner, config.sequencer) {
  for (std::uint64_t sa = 1; sa <= config_.sas; ++sa) {
    sequencer_.add_sa(SaId(sa), {.dvipa = kDvipa,
                                 .epoch = kEpoch,
                                 .first = SeqNo(config_.first),
                                 .peer_window = config_.window,
                                 .esn = false});
    peers_[sa].ceiling = config_.first - 1;
  }
  for (std::uint32_t i = 0; i < config_.lessees; ++i) {
    hosts_.emplace_back();
    hosts_.back().id = NodeId(static_cast<std::uint16_t>(i + 1));  // the first is the owner itself
    start(hosts_.back());
    for (std::uint64_t sa = 1; sa <= config_.sas; ++sa) {
      if (i > 0 && config_.one_sender) continue;
      at(now_ + random(2 * config_.burst_every), [this, i, sa] { produce(i, sa); });
    }
  }
  at(now_, [this] { sequencer_turn(); });
}

inline void LeaseWorld::complain(const std::string& what) {
  if (complaints_.size() < 5) complaints_.push_back(what);
}

/// (Re)starts a host: its leases are forgotten, its clock is another one.
inline void LeaseWorld::start(Host& host) {
  host.incarnation = ++incarnations_;
  host.clock = random(Duration(1h));
  host.rate = 1 + config_.drift * (static_cast<double>(random(2001)) / 1000 - 1);
  host.lessee = std::make_unique<Lessee>(host.id, host.incarnation, config_.lessee);
  host.busy_until = now_;
  for (std::uint64_t sa = 1; sa <= config_.sas; ++sa) {
    host.lessee->add_sa(SaId(sa), {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner});
  }
}

inline void LeaseWorld::produce(std::size_t index, std::uint64_t sa) {
  if (calm_) return;
  at(now_ + random(2 * config_.burst_every), [this, index, sa] { produce(index, sa); });
  if (chance(config_.answers)) {
    forward(index, sa);
  } else {
    burst(index, sa);
  }
}

/// The owner forwards something to a target, which answers a while later.
inline void LeaseWorld::forward(std::size_t index, std::uint64_t sa) {
  wire::FastOutbox outbox(32);
  sequencer_.expect(SaId(sa), hosts_[index].id, now_, outbox);
  carry_all(kOwner, outbox);
  sequencer_turn();
  at(now_ + 20us + random(150us), [this, index, sa] { burst(index, sa); });
}

inline void LeaseWorld::burst(std::size_t index, std::uint64_t sa) {
  Host& host = hosts_[index];
  if (calm_) return;
  if (chance(config_.crashes)) {
    start(host);
    host.held.clear();
  }
  std::uint32_t& held = host.held[sa];
  held = std::min(held + 1 + static_cast<std::uint32_t>(random(config_.burst_max)), 256u);
  turn(host);
}

/// One turn of a worker: offers what is held, sends, polls.
inline void LeaseWorld::turn(Host& host) {
  if (now_ < host.busy_until) return;  // preempted; a turn is due at its end
  for (auto& [sa, count] : host.held) {
    if (count > 0) send_all(host, sa);
    if (now_ < host.busy_until) return;
  }
  wire::FastOutbox outbox(32);
  host.lessee->poll(local(host), outbox);
  carry_all(host.id, outbox);
  const Time timer = host.lessee->next_timer();
  if (timer == Time::max()) return;
  const std::uint32_t incarnation = host.incarnation;
  at(std::max(now_ + 1us, global(host, timer)), [this, &host, incarnation] {
    if (host.incarnation == incarnation && host.lessee->next_timer() <= local(host)) turn(host);
  });
}

inline void LeaseWorld::send_all(Host& host, std::uint64_t sa) {
  std::uint32_t& held = host.held[sa];
  while (const Numbers numbers = host.lessee->take(SaId(sa), held, local(host))) {
    held -= numbers.count;
    if (calm_ || !chance(config_.preemptions)) {
      send(host, sa, numbers);
      continue;
    }
    const std::uint32_t incarnation = host.incarnation;
    host.busy_until = now_ + random(chance(0.5) ? Duration(200us) : Duration(120ms));
    at(host.busy_until, [this, &host, incarnation, sa, numbers] {
      if (host.incarnation != incarnation) return;
      send(host, sa, numbers);
      turn(host);
    });
    return;
  }
}

inline void LeaseWorld::send(Host& host, std::uint64_t sa, const Numbers& numbers) {
  if (host.lessee->still_valid(numbers, local(host))) {
    for (std::uint64_t n = numbers.first.value(); n <= numbers.last().value(); ++n) {
      Peer& peer = peers_[sa];
      ++sent_;
      if (peer.used[n]) complain("number " + std::to_string(n) + " was sent twice");
      peer.used[n] = true;
      if (n > peer.ceiling) complain("number " + std::to_string(n) + " is past the ceiling");
      Time& last = host.path[sa];
      last = std::max(last, now_ + 20us + random(config_.sequencer.skew_guard - 1us));
      at(last, [this, sa, n] { arrive(sa, n); });
    }
  } else {
    dropped_late_ += numbers.count;
  }
  host.lessee->sent(SaId(sa), numbers.last());
}

/// RFC 4303 section 3.4.3: a receiver refuses what lies behind its window.
inline void LeaseWorld::arrive(std::uint64_t sa, std::uint64_t number) {
  Peer& peer = peers_[sa];
  ++received_;
  if (number + config_.window <= peer.top) {
    complain("the peer refuses " + std::to_string(number) + ", it has seen " + std::to_string(peer.top));
  }
  peer.top = std::max(peer.top, number);
}

inline void LeaseWorld::sequencer_turn() {
  wire::FastOutbox outbox(32);
  sequencer_.tick(now_, outbox);
  carry_all(kOwner, outbox);
  after_sequencer();
}

inline void LeaseWorld::after_sequencer() {
  for (const SequencerEvent& event : sequencer_.events()) {
    if (event.kind != SequencerEvent::Kind::kNeedCeiling) continue;
    at(now_ + random(Duration(500us)), [this, event] {
      peers_[event.sa.value()].ceiling = std::max(peers_[event.sa.value()].ceiling, event.last.value());
      sequencer_.set_ceiling(event.sa, event.last);
      sequencer_turn();
    });
  }
  sequencer_.clear_events();
  const Time timer = sequencer_.next_timer();
  if (timer == Time::max()) return;
  at(std::max(now_ + 1us, timer), [this] {
    if (sequencer_.next_timer() <= now_) sequencer_turn();
  });
}

inline void LeaseWorld::observe_grants(const wire::FastMessage& message) {
  for (std::size_t i = 0; i < message.count(); ++i) {
    const auto grant = message.entry<wire::LeaseGrant>(i);
    if (grant.count != 0) observe(grant, message.header().incarnation);
  }
}

inline void LeaseWorld::observe_offers(const wire::FastMessage& message) {
  for (std::size_t i = 0; i < message.count(); ++i) {
    const auto offer = message.entry<wire::LeaseOffer>(i);
    ++offers_;
    observe({.sa = offer.sa, .id = offer.id, .first = offer.first, .count = offer.count, .shared = true},
            message.header().incarnation);
  }
}

inline void LeaseWorld::observe(const wire::LeaseGrant& grant, std::uint32_t incarnation) {
  Peer& peer = peers_[grant.sa.value()];
  const std::uint64_t first = grant.first.value(), last = first + grant.count - 1;
  std::erase_if(peer.out, [this](const Out& o) { return o.ends <= now_; });
  const bool repeated = std::ranges::any_of(peer.out, [&](const Out& o) {
    return o.id == grant.id && o.incarnation == incarnation && o.first == first && o.last == last;
  });
  if (repeated) return;
  ++granted_ranges_;
  const auto next = peer.granted.lower_bound(first);  // by last number
  if (next != peer.granted.end() && next->second <= last) complain(std::to_string(first) + " was granted twice");
  if (last > peer.ceiling) complain("granted " + std::to_string(last) + ", past the ceiling");
  peer.granted[last] = first;
  const Time ends = now_ + config_.sequencer.lease_duration + config_.sequencer.skew_guard;
  peer.out.push_back({grant.id, first, last, incarnation, grant.shared, ends});
  if (!grant.shared) {
    for (const Out& o : peer.out) {
      if (o.incarnation != incarnation) complain("exclusive, and another one's lease is out");
    }
    return;
  }
  ++shared_grants_;
  const auto oldest = std::ranges::min(peer.out, {}, &Out::first).first;
  if (last >= oldest + config_.window - config_.sequencer.shared_margin) {
    complain("numbers " + std::to_string(oldest) + " to " + std::to_string(last) + " are out");
  }
}

inline void LeaseWorld::end_lease(std::uint64_t sa, std::uint32_t incarnation, std::uint64_t id, SeqNo last) {
  if ((id & wire::LeaseOffer::kIds) != 0 && last != SeqNo()) ++offers_used_;
  for (Out& o : peers_[sa].out) {
    if (o.incarnation == incarnation && o.id == id) o.ends = std::min(o.ends, now_ + config_.sequencer.skew_guard);
  }
}

inline void LeaseWorld::observe_returns(const wire::FastMessage& message) {
  const std::uint32_t incarnation = message.header().incarnation;
  for (std::size_t i = 0; i < message.count(); ++i) {
    if (message.header().type == wire::FastType::kLeaseRequest) {
      const auto request = message.entry<wire::LeaseRequest>(i);
      if (request.returned != 0) end_lease(request.sa.value(), incarnation, request.returned, request.last);
    } else {
      const auto back = message.entry<wire::LeaseReturn>(i);
      end_lease(back.sa.value(), incarnation, back.id, back.last);
    }
  }
}

inline void LeaseWorld::carry_all(NodeId from, wire::FastOutbox& outbox) {
  for (std::size_t i = 0; i < outbox.size(); ++i) {
    const wire::FastDatagram datagram = outbox.datagram(i);
    const auto message = wire::FastMessage::parse(datagram.bytes);
    if (!message) {
      complain("a datagram that does not parse");
      continue;
    }
    if (message->header().type == wire::FastType::kLeaseGrant) observe_grants(*message);
    if (message->header().type == wire::FastType::kLeaseOffer) observe_offers(*message);
    std::vector<std::uint8_t> bytes(datagram.bytes.begin(), datagram.bytes.end());
    const bool own = from == datagram.to;
    if (!own && !calm_ && chance(config_.loss)) continue;
    if (!own && !calm_ && chance(config_.duplication)) carry(datagram.to, bytes);
    carry(datagram.to, std::move(bytes));
  }
}

inline void LeaseWorld::carry(NodeId to, std::vector<std::uint8_t> bytes) {
  const bool slow = !calm_ && chance(config_.loss / 4);  // far out of order
  const Duration delay = 2us + random(slow ? Duration(120ms) : Duration(30us));
  at(now_ + delay, [this, to, bytes = std::move(bytes)] { deliver(to, bytes); });
}

inline void LeaseWorld::deliver(NodeId to, const std::vector<std::uint8_t>& bytes) {
  const auto message = wire::FastMessage::parse(bytes);
  const wire::FastType type = message->header().type;
  if (type == wire::FastType::kLeaseRequest || type == wire::FastType::kLeaseReturn) {
    observe_returns(*message);
    wire::FastOutbox outbox(32);
    sequencer_.receive(*message, now_, outbox);
    carry_all(kOwner, outbox);
    sequencer_turn();
    return;
  }
  Host& host = hosts_[to.value() - 1u];
  if (now_ < host.busy_until) {  // read when the worker runs again
    at(host.busy_until, [this, to, bytes] { deliver(to, bytes); });
    return;
  }
  host.lessee->receive(*message, local(host));
  turn(host);
}

inline void LeaseWorld::run_until(Time end) {
  while (!events_.empty() && events_.top().when <= end) {
    now_ = events_.top().when;
    const std::function<void()> run = events_.top().run;
    events_.pop();
    run();
  }
  now_ = end;
}

inline void LeaseWorld::run(Duration duration) { run_until(now_ + duration); }

inline void LeaseWorld::settle(Duration at_most) {
  calm_ = true;
  const Time end = now_ + at_most;
  while (now_ < end && waiting() > 0) run_until(now_ + 1ms);
  if (waiting() > 0) complain(std::to_string(waiting()) + " packets still wait for numbers");
  run_until(now_ + 1ms);
}

inline std::uint64_t LeaseWorld::waiting() const {
  std::uint64_t total = 0;
  for (const Host& host : hosts_) {
    for (const auto& [sa, count] : host.held) total += count;
  }
  return total;
}

}  // namespace testudo::sequence
