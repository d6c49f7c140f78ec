// SPDX-License-Identifier: Apache-2.0
// Stopwatch: the time of many short spells, and their median.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace testudo::bench {

class Stopwatch {
 public:
  Stopwatch() { samples_.reserve(kSamples); }
  void start() { started_ = std::chrono::steady_clock::now(); }
  /// Seconds since start().
  double stop() {
    const auto spent = std::chrono::steady_clock::now() - started_;
    const double ns = std::chrono::duration<double, std::nano>(spent).count();
    if (samples_.size() < kSamples) samples_.push_back(ns);
    return ns * 1e-9;
  }
  [[nodiscard]] double median_ns() {
    if (samples_.empty()) return 0;
    const auto middle = samples_.begin() + static_cast<std::ptrdiff_t>(samples_.size() / 2);
    std::ranges::nth_element(samples_, middle);
    return *middle;
  }

 private:
  static constexpr std::size_t kSamples = 1 << 17;
  std::chrono::steady_clock::time_point started_;
  std::vector<double> samples_;
};

}  // namespace testudo::bench
