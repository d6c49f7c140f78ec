// SPDX-License-Identifier: Apache-2.0
// The owner's inbound path with 100,000 SAs, ns per packet, against full inbound processing with as many SAs.
//   bench_owner --benchmark_filter=owner       names: owner/spread/bytes/connections, and what it is compared with
//
// Counter "ns": median over the turns of a repetition, which a preemption does not move.
#include <benchmark/benchmark.h>

#include <map>
#include <string>

#include "bench/engine.h"
#include "bench/owner.h"
#include "bench/stopwatch.h"

namespace testudo::bench {
namespace {

constexpr std::uint32_t kSas = 100'000;
constexpr const Suite& kSuite = kSuites[0];

Senders& senders() {
  static Senders all(kSuite, kSas);
  return all;
}

// Made once, for all repetitions.
OwnerPath& owner(const OwnerOptions& options) {
  static std::map<std::pair<std::uint32_t, Spread>, std::unique_ptr<OwnerPath>> made;
  auto& one = made[{options.connections, options.spread}];
  if (!one) one = std::make_unique<OwnerPath>(kSuite, senders(), options);
  return *one;
}

/// Once as `prepare` and `run` say per turn.
template <typename Prepare, typename Run, typename After>
void measure(benchmark::State& state, Prepare prepare, Run run, After after) {
  Stopwatch watch;
  std::size_t good = 0, all = 0;
  for (auto _ : state) {
    prepare();
    watch.start();
    good += run();
    state.SetIterationTime(watch.stop());
    after();
    all += kTurn;
  }
  if (good != all) state.SkipWithError("packets were refused");
  state.SetItemsProcessed(static_cast<std::int64_t>(all));
  state.counters["ns"] = watch.median_ns() / kTurn;
}

void forward(benchmark::State& state, const OwnerOptions& options, OwnerPath::Kind kind, std::size_t size) {
  OwnerPath& it = owner(options);
  measure(
      state, [&] { it.load(kind, size); }, [&] { return it.run(); }, [&] { it.report(); });
}

void engine(benchmark::State& state, std::size_t size) {
  static const std::unique_ptr<Contender> it =
      make_engine({.suite = &kSuite, .direction = Direction::kInbound, .sas = kSas});
  Traffic traffic(senders(), Direction::kInbound, size);
  measure(
      state, [&] { it->load(traffic.next()); }, [&] { return it->run(); }, [] {});
}

void register_all() {
  using Kind = OwnerPath::Kind;
  const auto add = [](const std::string& name, auto... arguments) {
    benchmark::RegisterBenchmark(name.c_str(), arguments...)->UseManualTime();
  };
  for (const std::size_t size : {64u, 1400u}) {
    const std::string bytes = std::to_string(size) + '/';
    for (const std::uint32_t connections : {1000u, 1'000'000u}) {
      const std::string suffix = bytes + std::to_string(connections);
      add("owner/any-sa/" + suffix, forward, OwnerOptions{connections, Spread::kAnySa}, Kind::kKnown, size);
      add("owner/own-sa/" + suffix, forward, OwnerOptions{connections, Spread::kOwnSa}, Kind::kKnown, size);
    }
    add("owner-decrypts/any-sa/" + bytes + "1000000", forward, OwnerOptions{1'000'000, Spread::kAnySa}, Kind::kOwn,
        size);
    add("engine/any-sa/" + bytes + "0", engine, size);
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
