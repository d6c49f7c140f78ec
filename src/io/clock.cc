// SPDX-License-Identifier: Apache-2.0
#include "io/clock.h"

#include <ctime>

namespace testudo::io {

Time MonotonicClock::now() const {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Time(std::chrono::seconds(now.tv_sec) + Duration(now.tv_nsec));
}

}  // namespace testudo::io
