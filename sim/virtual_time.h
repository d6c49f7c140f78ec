// SPDX-License-Identifier: Apache-2.0
// Virtual time: one queue of events for a whole simulated cluster. Events run in order of time, and of insertion
// where times are equal, so that a seed replays a run exactly.
//
//   VirtualTime time;
//   VirtualExecutor owner(time);
//   owner.run_after(5ms, [] { … });
//   time.run_until(time.now() + 1s);
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "base/executor.h"
#include "base/time.h"

namespace testudo::sim {

class VirtualTime {
 public:
  using Task = std::function<void()>;
  using Id = std::uint64_t;

  [[nodiscard]] Time now() const { return now_; }
  Id at(Time when, Task task);
  Id after(Duration delay, Task task) { return at(now_ + delay, std::move(task)); }
  void cancel(Id id);

  /// Runs the next event. False: there is none.
  bool step();
  /// Runs every event up to and including `end`; the time is then `end`.
  void run_until(Time end);
  [[nodiscard]] std::uint64_t events_run() const { return events_run_; }

 private:
  Time now_{};
  Id next_id_ = 1;
  std::uint64_t events_run_ = 0;
  std::map<std::pair<Time, Id>, Task> queue_;
  std::map<Id, Time> times_;
};

/// The control thread of one simulated node. After stop() nothing that it was given runs any more: the node has
/// crashed.
class VirtualExecutor final : public Executor {
 public:
  explicit VirtualExecutor(VirtualTime& time) : time_(time) {}
  ~VirtualExecutor() override { stop(); }

  [[nodiscard]] Time now() const override { return time_.now(); }
  void post(Task task) override { run_after(Duration::zero(), std::move(task)); }
  Timer run_after(Duration delay, Task task) override;
  void cancel(Timer timer) override;
  void stop();

 private:
  VirtualTime& time_;
  bool stopped_ = false;
  std::set<Timer> pending_;
};

}  // namespace testudo::sim
