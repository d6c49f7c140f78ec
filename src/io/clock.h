// SPDX-License-Identifier: Apache-2.0
// Clock: the only place where time is read. Everything else is handed a Time.
//
//   io::MonotonicClock clock;
//   worker.turn(clock.now());
#pragma once

#include "base/time.h"

namespace testudo::io {

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  [[nodiscard]] virtual Time now() const = 0;
};

/// CLOCK_MONOTONIC, read without a system call (vDSO). Any thread.
class MonotonicClock final : public Clock {
 public:
  [[nodiscard]] Time now() const override;
};

}  // namespace testudo::io
