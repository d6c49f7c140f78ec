// SPDX-License-Identifier: Apache-2.0
// Dice: durations drawn from a seed.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/rng.h"
#include "base/time.h"

namespace testudo::freshness {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : rng_(seed) {}
  /// Evenly from 0 to `most`.
  Duration uniform(Duration most) {
    return most.count() <= 0 ? Duration(0) : Duration(rng_.next() % (static_cast<std::uint64_t>(most.count()) + 1));
  }
  Duration exponential(double mean_ns) {
    const double even = (static_cast<double>(rng_.next() >> 11) + 1) * 0x1p-53;  // above 0, up to 1
    return Duration(static_cast<std::int64_t>(-std::log(even) * mean_ns));
  }

 private:
  SeededRng rng_;
};

}  // namespace testudo::freshness
