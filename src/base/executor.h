// SPDX-License-Identifier: Apache-2.0
// Executor: where the control plane of one node runs. Everything posted runs on one thread, in order; the daemon
// gives a real loop, the simulation a queue of virtual events.
//
//   executor.run_after(50ms, [this] { heartbeat(); });
#pragma once

#include <cstdint>
#include <functional>

#include "base/time.h"

namespace testudo {

class Executor {
 public:
  using Task = std::function<void()>;
  using Timer = std::uint64_t;  // 0 is "none"

  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;

  [[nodiscard]] virtual Time now() const = 0;
  /// Runs `task` soon. The one function that any thread may call.
  virtual void post(Task task) = 0;
  /// Runs `task` once, `delay` from now, unless cancelled.
  virtual Timer run_after(Duration delay, Task task) = 0;
  virtual void cancel(Timer timer) = 0;
};

}  // namespace testudo
