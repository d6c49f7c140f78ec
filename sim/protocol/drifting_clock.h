// SPDX-License-Identifier: Apache-2.0
// DriftingClock: one host's clock as a function of virtual time. It may be fast or slow, and jump.
//
//   DriftingClock clock(now, offset, 1.05);
//   host.poll(clock.read(now));
//   wake_at(clock.when(host.next_timer(), now));
#pragma once

#include <algorithm>

#include "base/time.h"

namespace testudo::sim::protocol {

class DriftingClock {
 public:
  DriftingClock() = default;
  /// `shows`: at `now`, since its zero. `rate`: its seconds per second.
  DriftingClock(Time now, Duration shows, double rate) : since_(now), base_(Time{} + shows), rate_(rate) {}

  [[nodiscard]] Time read(Time now) const { return base_ + scaled(now - since_, rate_); }
  /// When it will show `local`: virtual time, `now` at the earliest.
  [[nodiscard]] Time when(Time local, Time now) const {
    if (local <= read(now)) return now;
    return std::max(now, since_ + scaled(local - base_, 1 / rate_) + 1ns);
  }
  void jump(Duration by, Time now) {
    base_ = std::max(read(now) + by, Time{});
    since_ = now;
  }

 private:
  static Duration scaled(Duration d, double by) {
    return Duration(static_cast<Duration::rep>(static_cast<double>(d.count()) * by));
  }

  Time since_{};
  Time base_{};
  double rate_ = 1;
};

}  // namespace testudo::sim::protocol
