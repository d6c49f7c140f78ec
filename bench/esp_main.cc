// SPDX-License-Identifier: Apache-2.0
// ESP tunnel over IPv4, ns per packet: the engine, DPDK's librte_ipsec and intel-ipsec-mb alone, with one SA and
// with 10,000 in random order.
//   bench_esp --benchmark_filter=gcm128/out        names: contender/suite/direction/bytes/SAs
//
// Counter "ns": median over the turns of a repetition, which a preemption does not move.
#include <benchmark/benchmark.h>

#include <functional>
#include <map>
#include <string>

#include "base/check.h"
#include "bench/dpdk_peer.h"
#include "bench/engine.h"
#include "bench/raw_peer.h"
#include "bench/stopwatch.h"
#include "bench/traffic.h"

namespace testudo::bench {
namespace {

using Maker = std::function<std::unique_ptr<Contender>(const Case&)>;
struct Entrant {
  const char* name;
  Maker make;
  bool many;  // measured with many SAs as well
};

const std::vector<Entrant>& entrants() {
  const auto dpdk = [](DpdkMode mode, bool lookup) {
    return [=](const Case& which) { return make_dpdk_peer(which, {.mode = mode, .lookup = lookup}); };
  };
  static const std::vector<Entrant> all = {
      {"engine", make_engine, true},
      {"raw", make_raw_peer, true},
      {"dpdk-cpu", dpdk(DpdkMode::kCpu, false), true},
      {"dpdk-cpu-sad", dpdk(DpdkMode::kCpu, true), true},
      {"dpdk-device", dpdk(DpdkMode::kDevice, false), true},
      {"dpdk-device-sad", dpdk(DpdkMode::kDevice, true), true},
  };
  return all;
}

/// Made once, for all repetitions.
Contender& contender(const Entrant& entrant, const Case& which) {
  static std::map<std::pair<std::string, Case>, std::unique_ptr<Contender>> made;
  auto& one = made[{entrant.name, which}];
  if (!one) one = entrant.make(which);
  return *one;
}

Senders& senders(const Case& which) {
  static std::map<std::pair<const Suite*, std::uint32_t>, std::unique_ptr<Senders>> made;
  auto& one = made[{which.suite, which.sas}];
  if (!one) one = std::make_unique<Senders>(*which.suite, which.sas);
  return *one;
}

void measure(benchmark::State& state, const Entrant& entrant, const Case& which, std::size_t size) {
  Contender& it = contender(entrant, which);
  Traffic traffic(senders(which), which.direction, size);
  Stopwatch watch;
  for (int warm_up = 0; warm_up < 4; ++warm_up) {
    it.load(traffic.next());
    (void)it.run();
  }
  std::size_t good = 0, all = 0;
  for (auto _ : state) {
    it.load(traffic.next());
    watch.start();
    good += it.run();
    state.SetIterationTime(watch.stop());
    all += kTurn;
  }
  if (good != all) state.SkipWithError("packets were refused");
  state.SetItemsProcessed(static_cast<std::int64_t>(all));
  state.counters["ns"] = watch.median_ns() / kTurn;
}

void register_all() {
  for (const Suite& suite : kSuites) {
    for (const auto direction : {Direction::kOutbound, Direction::kInbound}) {
      for (const std::size_t size : {64u, 1400u}) {
        for (const std::uint32_t sas : {1u, 10'000u}) {
          for (const Entrant& entrant : entrants()) {
            const bool in = direction == Direction::kInbound;
            if (!in && std::string_view(entrant.name).ends_with("-sad")) continue;
            const Case which{.suite = &suite, .direction = direction, .sas = sas};
            const std::string name = std::string(entrant.name) + '/' + std::string(suite.name) +
                                     (in ? "/in/" : "/out/") + std::to_string(size) + '/' + std::to_string(sas);
            benchmark::RegisterBenchmark(name.c_str(), measure, entrant, which, size)->UseManualTime();
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace testudo::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  testudo::bench::start_dpdk();
  testudo::bench::register_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
