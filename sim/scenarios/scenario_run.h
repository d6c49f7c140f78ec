// SPDX-License-Identifier: Apache-2.0
// What every scenario begins with: a cluster, its client with an SA, and an attacker who replays and forges all the
// while.
#pragma once

#include <cstdint>
#include <string>

#include "sim/cluster.h"

namespace testudo::sim {

class ScenarioRun {
 public:
  ScenarioRun(const ScenarioRun&) = delete;
  ScenarioRun& operator=(const ScenarioRun&) = delete;

 protected:
  /// `random_seed`: of what random() gives.
  ScenarioRun(std::uint64_t seed, std::uint64_t random_seed, const Cluster::Options& options, bool verbose);
  ~ScenarioRun();

  void attack();
  /// Waits for the cluster, and connects the client.
  bool join();
  /// False: the scenario is over. The first failure is kept.
  bool require(bool condition, const std::string& otherwise);
  [[nodiscard]] std::uint64_t random(std::uint64_t below) { return rng_.next() % below; }

  std::uint64_t seed_;
  Cluster cluster_;
  VirtualExecutor attacker_;
  Client& client_;

 private:
  SeededRng rng_;
};

}  // namespace testudo::sim
