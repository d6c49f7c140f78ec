// SPDX-License-Identifier: Apache-2.0
// Scenarios: what happens to a simulated cluster, in what order, with what faults; and what must have come of it.
#pragma once

#include <cstdint>
#include <span>

#include "sim/run_seeds.h"

namespace testudo::sim {

class Cluster;

Outcome main_job(std::uint64_t seed, bool verbose);
Outcome takeover(std::uint64_t seed, bool verbose);
Outcome uneven_load(std::uint64_t seed, bool verbose);
/// The same with a threshold that never changes: it must fail.
Outcome uneven_load_static(std::uint64_t seed, bool verbose);

[[nodiscard]] std::span<const Scenario> scenarios();

/// Prints what is known of a cluster that went wrong.
void explain(Cluster& cluster, std::uint64_t seed, const char* scenario);

}  // namespace testudo::sim
