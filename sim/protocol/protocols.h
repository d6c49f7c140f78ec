// SPDX-License-Identifier: Apache-2.0
// The scenario `protocols`: sequence leases and replay protection, all faults together.
#pragma once

#include <cstdint>

#include "sim/run_seeds.h"

namespace testudo::sim::protocol {

Outcome protocols(std::uint64_t seed, bool verbose);

}  // namespace testudo::sim::protocol
