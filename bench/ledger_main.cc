// SPDX-License-Identifier: Apache-2.0
// What the replay ledger adds to the owner's inbound path, ns per forwarded packet (spec C5): asking it, telling it
// that the packet leaves, and what the target reports, from the datagram to the ledger.
//   bench_ledger                     names: part/replay window/SAs
//
//   forward   a burst of 32: check() and forwarded(), each packet's row asked for in a stage before, as
//             distributor/inbound_stages.cc does
//   commit    the datagrams that a target's ReplayCommits makes of the same packets: parsed, SA found, taken
//   both      the two together: what a packet pays
//
// SAs in random order, a million packets a second in all: so with many SAs a report speaks of few packets, as
// ReplayCommits does not wait for more than some milliseconds. Counter "ns": median over turns of 1024 packets.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"
#include "bench/traffic.h"
#include "distributor/replay_ledger.h"
#include "sequence/replay_commits.h"

namespace testudo::bench {
namespace {

using distributor::Replay;
using distributor::ReplayLedger;

constexpr IpAddress kDvipa(kLocal);
constexpr Epoch kEpoch(7);
constexpr NodeId kOwner(1), kTarget(2);
constexpr std::size_t kPackets = 1024;  // of a turn
constexpr Duration kApart = 1us;
constexpr std::uint32_t kLedger = 8192;  // numbers: what a node gives its ledgers (node/worker_config.cc)

constexpr std::size_t kGroups = std::size_t{1} << 20;  // of pending numbers, as distributor::InboundConfig has it

/// As distributor::Inbound keeps it, in a cache line that the SA points to.
struct alignas(64) State {
  ReplayLedger ledger;
  std::uint64_t next = 0;
};

class World {
 public:
  World(std::uint32_t sas, std::uint32_t window) : commits_(kTarget, 1, {.sas_max = sas}) {
    for (std::uint32_t i = 0; i < sas; ++i) {
      const SaId id(std::uint64_t{i} + 1);
      states_[id] =
          std::make_unique<State>(State{.ledger = ReplayLedger(window, {.size = kLedger, .memory = &memory_})});
      all_.push_back(states_[id].get());
      commits_.add_sa(id, {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner, .window = window});
    }
    for (std::size_t i = 0; i < 4 * sas; i += kPackets) prepare(), forward(), report(), commit();
  }

  void prepare() {
    for (Packet& packet : packets_) {
      packet.sa = dice_.below(static_cast<std::uint32_t>(all_.size()));
      packet.number = SeqNo(++all_[packet.sa]->next);
      packet.flow = packet.sa * 7 + (packet.number.value() & 3);  // four connections of each SA
    }
  }
  /// Returns how many may go.
  std::size_t forward() {
    std::size_t good = 0;
    for (std::size_t begin = 0; begin < kPackets; begin += kBurst) {
      const auto burst = std::span(packets_).subspan(begin, kBurst);
      for (Packet& packet : burst) __builtin_prefetch(packet.state = all_[packet.sa]);
      for (const Packet& packet : burst) packet.state->ledger.prefetch(packet.number);
      for (const Packet& packet : burst) {
        ReplayLedger& ledger = packet.state->ledger;
        if (ledger.check(packet.number, kTarget, packet.flow) != Replay::kForward) continue;
        ledger.forwarded(packet.number, kTarget, packet.flow);
        ++good;
      }
    }
    return good;
  }
  /// The target's part, not measured: it polls once a burst.
  void report() {
    datagrams_.clear();
    for (std::size_t i = 0; i < kPackets; ++i) {
      now_ += kApart;
      commits_.accepted(SaId(packets_[i].sa + 1), packets_[i].number, now_);
      if (i % kBurst != kBurst - 1) continue;
      commits_.poll(now_, outbox_);
      for (std::size_t n = 0; n < outbox_.size(); ++n) {
        const auto bytes = outbox_.datagram(n).bytes;
        datagrams_.emplace_back(bytes.begin(), bytes.end());
      }
      outbox_.clear();
    }
  }
  /// As distributor::Inbound::commit().
  void commit() {
    for (const auto& datagram : datagrams_) {
      const auto message = wire::FastMessage::parse(datagram);
      CHECK(message && message->header().epoch == kEpoch);
      commit(*message);
      entries_ += message->count();
    }
  }
  [[nodiscard]] std::uint64_t entries() const { return entries_; }

 private:
  void commit(const wire::FastMessage& message) {
    std::array<State*, 64> states;
    const std::size_t count = std::min(message.count(), states.size());
    for (std::size_t i = 0; i < count; ++i) states_.prefetch(message.entry<wire::ReplayCommit>(i).sa);
    for (std::size_t i = 0; i < count; ++i) {
      const auto found = states_.find(message.entry<wire::ReplayCommit>(i).sa);
      states[i] = found == states_.end() ? nullptr : found->second.get();
      __builtin_prefetch(states[i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (states[i] != nullptr) states[i]->ledger.prefetch(message.entry<wire::ReplayCommit>(i).base);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (states[i] != nullptr)
        states[i]->ledger.commit(message.header().sender, message.entry<wire::ReplayCommit>(i));
    }
  }

  struct Packet {
    std::uint32_t sa = 0;
    std::uint32_t flow = 0;
    SeqNo number;
    State* state = nullptr;
  };
  distributor::ReplayMemory memory_{kGroups};
  absl::flat_hash_map<SaId, std::unique_ptr<State>> states_;
  std::vector<State*> all_;
  sequence::ReplayCommits commits_;
  std::array<Packet, kPackets> packets_;
  std::vector<std::vector<std::uint8_t>> datagrams_;
  wire::FastOutbox outbox_;
  Dice dice_;
  Time now_{1h};
  std::uint64_t entries_ = 0;
};

enum class Part : std::uint8_t { kForward, kCommit, kBoth };

World& world(std::uint32_t sas, std::uint32_t window) {  // made once, for all repetitions
  static std::map<std::pair<std::uint32_t, std::uint32_t>, std::unique_ptr<World>> made;
  auto& one = made[{sas, window}];
  if (!one) one = std::make_unique<World>(sas, window);
  return *one;
}

double seconds_since(std::chrono::steady_clock::time_point started) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

void run(benchmark::State& state, Part part, std::uint32_t sas, std::uint32_t window) {
  World& w = world(sas, window);
  const std::uint64_t entries = w.entries();
  std::vector<double> ns;
  std::size_t good = 0, all = 0;
  for (auto _ : state) {
    w.prepare();
    auto started = std::chrono::steady_clock::now();
    good += w.forward();
    const double forward = seconds_since(started);
    all += kPackets;
    w.report();
    started = std::chrono::steady_clock::now();
    w.commit();
    const double commit = seconds_since(started);
    const double spent = part == Part::kForward ? forward : part == Part::kCommit ? commit : forward + commit;
    state.SetIterationTime(spent);
    ns.push_back(spent * 1e9 / kPackets);
  }
  if (good != all) state.SkipWithError("the ledger has refused packets");
  state.SetItemsProcessed(static_cast<std::int64_t>(all));
  std::ranges::nth_element(ns, ns.begin() + static_cast<std::ptrdiff_t>(ns.size() / 2));
  state.counters["ns"] = ns[ns.size() / 2];
  state.counters["packets_per_entry"] = static_cast<double>(all) / static_cast<double>(w.entries() - entries);
}

void register_all() {
  for (const std::uint32_t sas : {1u, 1'000u, 100'000u}) {
    for (const std::uint32_t window : {32u, 128u}) {
      const std::string suffix = '/' + std::to_string(window) + '/' + std::to_string(sas);
      for (const auto& [name, part] : {std::pair("forward", Part::kForward), std::pair("commit", Part::kCommit),
                                       std::pair("both", Part::kBoth)}) {
        benchmark::RegisterBenchmark((name + suffix).c_str(), run, part, sas, window)->UseManualTime();
      }
    }
  }
}

}  // namespace
}  // namespace testudo::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  testudo::bench::register_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
