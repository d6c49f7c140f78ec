// SPDX-License-Identifier: Apache-2.0
// Time as the state machines see it: nanoseconds of one host's monotonic clock, handed in, never read. Only io/ and
// the daemon read a clock.
#pragma once

#include <chrono>

namespace testudo {

using Duration = std::chrono::nanoseconds;

/// Names the time line of one host; times of two hosts are never compared.
struct HostClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<HostClock>;
  static constexpr bool is_steady = true;
};

using Time = HostClock::time_point;

using namespace std::chrono_literals;

}  // namespace testudo
