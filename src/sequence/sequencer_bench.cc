// SPDX-License-Identifier: Apache-2.0
// Lease requests that one sequencer answers a second, from the bytes of a datagram to those of the answer.
//
// alone_*: each request has a datagram of its own, and a turn of the sequencer: receive, tick, grant. As many SAs
// as the last number says, in random order, so that what the sequencer knows of an SA is in no cache. What lessees
// have got before goes back with the next request (returned), or in a datagram of its own that is measured as well.
// batched: 40 SAs' requests in one datagram.
//
// Datagrams are made before they are measured; counter "ns" is the median per request over turns of 256.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "sequence/sequencer.h"

namespace testudo::sequence {
namespace {

constexpr IpAddress kDvipa(1);
constexpr Epoch kEpoch(9);
constexpr std::size_t kTurn = 256;  // requests

wire::FastHeader from(NodeId lessee, wire::FastType type) {
  return {.type = type, .sender = lessee, .incarnation = lessee.value(), .dvipa = kDvipa, .epoch = kEpoch};
}

/// One entry in a datagram of its own.
struct Datagram {
  std::array<std::uint8_t, wire::kFastHeaderSize + wire::LeaseRequest::kSize> buffer;
  std::size_t size = 0;
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return std::span(buffer).first(size); }
  template <typename Entry>
  void set(NodeId lessee, const Entry& entry) {
    wire::FastWriter writer(buffer, from(lessee, Entry::kType));
    CHECK(writer.append(entry));
    size = writer.bytes().size();
  }
};

struct Mode {
  std::uint16_t lessees;  // of one SA, that take turns
  std::uint16_t want;     // numbers
  Duration apart;         // between requests, whatever the SA
  bool returns_apart;     // in datagrams of their own, before the request
};

class World {
 public:
  World(std::uint32_t sas, const Mode& mode)
      : mode_(mode),
        sequencer_(NodeId(100), {.sas_max = sas}),
        lessees_(std::size_t{sas} * mode.lessees),
        turns_(sas) {
    for (std::uint64_t sa = 1; sa <= sas; ++sa) {
      sequencer_.add_sa(SaId(sa << 20 | 7),
                        {.dvipa = kDvipa, .epoch = kEpoch, .first = SeqNo(1), .peer_window = 128, .esn = true});
      sequencer_.set_ceiling(SaId(sa << 20 | 7), SeqNo(1ull << 60));
    }
    run_tick();
  }

  void prepare() {
    for (std::size_t i = 0; i < kTurn; ++i) {
      const auto sa = static_cast<std::uint32_t>(rng_.next() % turns_.size());
      const std::uint32_t turn = turns_[sa]++ % mode_.lessees;
      std::uint64_t& last = lessees_[std::size_t{sa} * mode_.lessees + turn];  // its last request of this SA
      const NodeId lessee(static_cast<std::uint16_t>(1 + turn));
      const SaId id(std::uint64_t{sa + 1} << 20 | 7);
      returns_[i].size = 0;
      if (mode_.returns_apart && last != 0)
        returns_[i].set(lessee, wire::LeaseReturn{.sa = id, .id = last, .last = {}});
      const std::uint64_t returned = mode_.returns_apart ? 0 : last;
      last = ++id_;
      requests_[i].set(
          lessee, wire::LeaseRequest{.sa = id, .id = id_, .want = mode_.want, .returned = returned, .last = {}});
    }
  }

  /// What is measured.
  void run() {
    for (std::size_t i = 0; i < kTurn; ++i) {
      now_ += mode_.apart;
      if (returns_[i].size != 0) receive(returns_[i].bytes());
      receive(requests_[i].bytes());
      run_tick();
    }
  }
  [[nodiscard]] std::uint64_t granted_bytes() const { return granted_bytes_; }

 private:
  void receive(std::span<const std::uint8_t> bytes) {
    if (const auto message = wire::FastMessage::parse(bytes)) sequencer_.receive(*message, now_, outbox_);
  }
  void run_tick() {
    sequencer_.tick(now_, outbox_);
    for (std::size_t i = 0; i < outbox_.size(); ++i) granted_bytes_ += outbox_.datagram(i).bytes.size();
    outbox_.clear();
    sequencer_.clear_events();
  }

  Mode mode_;
  Sequencer sequencer_;
  std::vector<std::uint64_t> lessees_;
  std::vector<std::uint32_t> turns_;  // requests so far, by SA
  SeededRng rng_{7};
  Time now_{1h};
  std::uint64_t id_ = 0;
  wire::FastOutbox outbox_;
  std::array<Datagram, kTurn> requests_, returns_;
  std::uint64_t granted_bytes_ = 0;
};

void alone(benchmark::State& state, const Mode& mode) {
  World world(static_cast<std::uint32_t>(state.range(0)), mode);
  for (int i = 0; i < 4 * state.range(0); i += kTurn) world.prepare(), world.run();  // every SA has had some
  std::vector<double> ns;
  ns.reserve(1 << 20);
  const std::uint64_t before = world.granted_bytes();
  for (auto _ : state) {
    world.prepare();
    const auto started = std::chrono::steady_clock::now();
    world.run();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - started;
    state.SetIterationTime(spent.count());
    ns.push_back(spent.count() * 1e9 / kTurn);
  }
  const auto requests = static_cast<std::uint64_t>(state.iterations()) * kTurn;
  // A few wait for others when their SA changes its mode; all others are answered in their own turn.
  const std::uint64_t expected = requests * (wire::kFastHeaderSize + wire::LeaseGrant::kSize);
  if (world.granted_bytes() - before < expected / 1000 * 999) state.SkipWithError("requests were not answered");
  state.SetItemsProcessed(static_cast<std::int64_t>(requests));
  std::ranges::nth_element(ns, ns.begin() + static_cast<std::ptrdiff_t>(ns.size() / 2));
  state.counters["ns"] = ns[ns.size() / 2];
}

/// With one SA no more often than its leases leave their skew guard.
void alone_exclusive(benchmark::State& state) { alone(state, {1, 32, state.range(0) == 1 ? 5us : 500ns, false}); }
void alone_shared(benchmark::State& state) { alone(state, {2, 8, 200ns, false}); }
void alone_shared_returns(benchmark::State& state) { alone(state, {2, 8, 200ns, true}); }
BENCHMARK(alone_exclusive)->Arg(1)->Arg(1000)->Arg(100'000)->UseManualTime();
BENCHMARK(alone_shared)->Arg(1000)->Arg(100'000)->UseManualTime();
BENCHMARK(alone_shared_returns)->Arg(100'000)->UseManualTime();

/// `lessees` take turns; each asks for 8 numbers of each of 40 SAs in one datagram and returns what it had.
void batched(benchmark::State& state) {
  const auto lessees = static_cast<std::uint16_t>(state.range(0));
  constexpr std::uint64_t kSas = 40;
  Sequencer sequencer(NodeId(100), {});
  for (std::uint64_t sa = 1; sa <= kSas; ++sa) {
    sequencer.add_sa(SaId(sa),
                     {.dvipa = kDvipa, .epoch = kEpoch, .first = SeqNo(1), .peer_window = 128, .esn = true});
    sequencer.set_ceiling(SaId(sa), SeqNo(1ull << 60));
  }
  Time now{1s};
  std::uint64_t id = 0;
  wire::FastOutbox outbox;
  std::array<std::uint8_t, wire::kFastDatagramMax> buffer;
  std::uint64_t grants = 0;
  for (auto _ : state) {
    ++id;
    for (std::uint16_t lessee = 1; lessee <= lessees; ++lessee) {
      wire::FastWriter writer(buffer, from(NodeId(lessee), wire::LeaseRequest::kType));
      for (std::uint64_t sa = 1; sa <= kSas; ++sa) {
        (void)writer.append(
            wire::LeaseRequest{.sa = SaId(sa), .id = id, .want = 8, .returned = id - 1, .last = SeqNo()});
      }
      sequencer.receive(*wire::FastMessage::parse(writer.bytes()), now, outbox);
      sequencer.tick(now, outbox);
      for (std::size_t i = 0; i < outbox.size(); ++i) {
        grants += wire::FastMessage::parse(outbox.datagram(i).bytes)->count();
      }
      outbox.clear();
      now += 50us;
    }
    sequencer.clear_events();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(id * lessees * kSas));
  state.counters["grants"] = benchmark::Counter(static_cast<double>(grants), benchmark::Counter::kIsRate);
}
BENCHMARK(batched)->Arg(1)->Arg(2)->Arg(8);

}  // namespace
}  // namespace testudo::sequence
