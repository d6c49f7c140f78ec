// SPDX-License-Identifier: Apache-2.0
// Scenarios: what happens to a simulated cluster, in what order, with what faults; and what must have come of it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace testudo::sim {

class Cluster;

struct Outcome {
  std::vector<std::string> violations;
  std::uint64_t transcript_hash = 0;
  std::string summary;  // one line of figures
};

/// The cluster that runs at the moment: a CHECK that fails ends the program, and its transcript is printed first.
extern const Cluster* running_cluster;

Outcome main_job(std::uint64_t seed, bool verbose);
Outcome uneven_load(std::uint64_t seed, bool verbose);
/// The same with a threshold that never changes: it must fail.
Outcome uneven_load_static(std::uint64_t seed, bool verbose);

struct Scenario {
  const char* name;
  Outcome (*run)(std::uint64_t seed, bool verbose);
};
[[nodiscard]] std::span<const Scenario> scenarios();

/// Prints what is known of a cluster that went wrong.
void explain(Cluster& cluster, std::uint64_t seed, const char* scenario);

}  // namespace testudo::sim
