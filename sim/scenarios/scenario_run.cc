// SPDX-License-Identifier: Apache-2.0
#include "sim/scenarios/scenario_run.h"

#include "sim/scenarios/scenario.h"

namespace testudo::sim {

ScenarioRun::ScenarioRun(std::uint64_t seed, std::uint64_t random_seed, const Cluster::Options& options,
                         bool verbose)
    : seed_(seed),
      cluster_(seed, options, verbose),
      attacker_(cluster_.time()),
      client_(cluster_.client()),
      rng_(random_seed) {
  running_transcript = &cluster_.transcript();
}

ScenarioRun::~ScenarioRun() { running_transcript = nullptr; }

void ScenarioRun::attack() {
  attacker_.run_after(500us + cluster_.network().up_to(2ms), [this] {
    client_.replay_something();
    attack();
  });
}

bool ScenarioRun::join() {
  cluster_.start();
  if (!require(cluster_.run_until([this] { return cluster_.ready(); }, 20s), "the cluster did not come up"))
    return false;
  cluster_.run_for(1s);  // listeners are told
  client_.connect(kDvipa);
  return require(cluster_.run_until([this] { return client_.connected(); }, 10s), "no SA was negotiated");
}

bool ScenarioRun::require(bool condition, const std::string& otherwise) {
  if (!condition && !cluster_.failed()) cluster_.fail(otherwise);
  return condition && !cluster_.failed();
}

}  // namespace testudo::sim
