// SPDX-License-Identifier: Apache-2.0
// Loop: the daemon's Executor. One thread calls run(); tasks, timers and descriptors are served there, in order.
//
//   auto loop = io::Loop::create();
//   (*loop)->watch(socket, EPOLLIN, [&](std::uint32_t events) { … });
//   (*loop)->run_after(50ms, [&] { heartbeat(); });
//   (*loop)->run();                     // until stop()
//
// Threads: post() and stop() on any; the rest on the one that runs the loop (or before it runs).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "io/clock.h"
#include "io/poller.h"

namespace testudo::io {

class Loop final : public Executor {
 public:
  using Ready = std::function<void(std::uint32_t events)>;  // as in epoll(7)

  static Result<std::unique_ptr<Loop>> create();

  [[nodiscard]] Time now() const override { return clock_.now(); }
  void post(Task task) override;
  /// Timers with equal deadlines run in the order in which they were set.
  Timer run_after(Duration delay, Task task) override;
  void cancel(Timer timer) override;

  /// Level triggered; the loop does not own the descriptor. Not for one that is watched already.
  Result<void> watch(int descriptor, std::uint32_t events, Ready ready);
  /// Before the descriptor is closed. May be called from a callback; a callback that is pending does not run any
  /// more.
  void unwatch(int descriptor);

  /// Returns after stop(). Tasks that were posted before stop() run first.
  void run();
  /// One round: waits for at most `timeout`, then serves what is due. For tests.
  void run_once(Duration timeout);
  void stop();

 private:
  explicit Loop(std::unique_ptr<Poller> poller) : poller_(std::move(poller)) {}
  void run_posted();
  void run_timers();
  [[nodiscard]] Duration until_next(Duration limit) const;

  struct Watch {
    int descriptor = -1;
    Ready ready;
  };

  MonotonicClock clock_;
  std::unique_ptr<Poller> poller_;
  std::map<std::pair<Time, Timer>, Task> timers_;
  std::unordered_map<Timer, Time> deadlines_;
  Timer next_timer_ = 1;
  std::map<std::uint64_t, Watch> watches_;  // by token; a token is never used twice, so a stale event finds nothing
  std::uint64_t next_token_ = 1;
  std::mutex posted_mutex_;
  std::vector<Task> posted_;  // guarded by posted_mutex_
  std::atomic<bool> stop_{false};
};

}  // namespace testudo::io
