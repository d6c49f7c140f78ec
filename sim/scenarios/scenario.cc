// SPDX-License-Identifier: Apache-2.0
#include "sim/scenarios/scenario.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "sim/cluster.h"
#include "sim/protocol/protocols.h"

namespace testudo::sim {
namespace {

constexpr std::array kScenarios = {Scenario{.name = "main_job", .run = main_job},
                                   Scenario{.name = "takeover", .run = takeover},
                                   Scenario{.name = "uneven_load", .run = uneven_load},
                                   Scenario{.name = "uneven_load_static", .run = uneven_load_static},
                                   Scenario{.name = "protocols", .run = protocol::protocols}};

void explain_node(SimNode& node) {
  if (!node.running() || node.counters() == nullptr) {
    fmt::print("  {}: does not run\n", node.name());
    return;
  }
  std::printf("  %s:", node.name().c_str());
  const path::WorkerCounters& counters = *node.counters();
  for (std::size_t i = 0; i < kDropNames.size(); ++i) {
    if (const auto n = counters.drops->value(static_cast<Drop>(i)); n != 0) fmt::print(" {} {}", kDropNames[i], n);
  }
  std::printf("; accepted connections %llu, retransmissions %llu\n",
              static_cast<unsigned long long>(node.server().accepted()),
              static_cast<unsigned long long>(node.server().retransmissions()));
}

}  // namespace

std::span<const Scenario> scenarios() { return kScenarios; }

void explain(Cluster& cluster, std::uint64_t seed, const char* scenario) {
  std::printf("---- %s, seed %llu: the last events\n", scenario, static_cast<unsigned long long>(seed));
  cluster.transcript().print(stdout);
  std::printf("---- drops\n");
  for (auto& node : cluster.nodes()) explain_node(*node);
  for (std::size_t i = 0; i < cluster.client().jobs(); ++i) {
    const Client::Job& job = cluster.client().job(i);
    if (job.done) continue;
    std::printf("  connection %u, try %u: %llu of %llu bytes, state %d\n", job.connection->self().port,
                job.connections, static_cast<unsigned long long>(job.received()),
                static_cast<unsigned long long>(job.wanted), static_cast<int>(job.connection->state()));
  }
}

}  // namespace testudo::sim
