// SPDX-License-Identifier: Apache-2.0
// Grid: the cases that are measured, by group.
//
//   main      every combination of targets, rate, burst, window and guard; leases and what they are compared with
//   bounded   a path whose jitter has a bound, 0–20 µs, and an owner that is a target itself
//   answers   packets that answer others, with numbers offered unasked and without
//   distance  more than shared mode can carry, with hosts at equal and at different distances from the sequencer
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/freshness/case.h"

namespace testudo::freshness {

struct GridCase {
  std::string group;
  Case what;
};

std::vector<GridCase> grid();

}  // namespace testudo::freshness
