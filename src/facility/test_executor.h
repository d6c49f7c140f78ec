// SPDX-License-Identifier: Apache-2.0
// TestExecutor: the executor of one test, run by the test's own thread until something has come true. Virtual: time
// jumps to the next task. Real: time passes, and other threads may post.
//
//   TestExecutor executor(TestExecutor::kReal);
//   ASSERT_TRUE(executor.run_until([&] { return answered; }, 5s));
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/executor.h"

namespace testudo::facility {

class TestExecutor final : public Executor {
 public:
  enum Mode { kVirtual, kReal };
  explicit TestExecutor(Mode mode) : mode_(mode) {}

  [[nodiscard]] Time now() const override {
    if (mode_ == kVirtual) return virtual_now_;
    return Time(std::chrono::steady_clock::now().time_since_epoch());
  }

  void post(Task task) override {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
    woken_.notify_one();
  }

  Timer run_after(Duration delay, Task task) override {
    const Timer timer = next_++;
    const Time due = now() + delay;
    due_[timer] = due;
    queue_.emplace(std::pair{due, timer}, std::move(task));
    return timer;
  }

  void cancel(Timer timer) override {
    const auto due = due_.find(timer);
    if (due == due_.end()) return;
    queue_.erase({due->second, timer});
    due_.erase(due);
  }

  /// False: `limit` has passed and `done` is still not true.
  bool run_until(const std::function<bool()>& done, Duration limit) {
    const Time end = now() + limit;
    while (true) {
      take_posted();
      if (done()) return true;
      if (run_due()) continue;
      if (now() >= end) return false;
      wait(queue_.empty() ? end : std::min(end, queue_.begin()->first.first));
    }
  }

  void run_for(Duration time) {
    run_until([] { return false; }, time);
  }

 private:
  void take_posted() {
    std::vector<Task> tasks;
    {
      const std::lock_guard lock(mutex_);
      tasks.swap(posted_);
    }
    for (Task& task : tasks) run_after({}, std::move(task));
  }

  bool run_due() {
    if (queue_.empty() || queue_.begin()->first.first > now()) return false;
    auto first = queue_.extract(queue_.begin());
    due_.erase(first.key().second);
    first.mapped()();
    return true;
  }

  void wait(Time until) {
    if (mode_ == kVirtual) {
      virtual_now_ = until;
      return;
    }
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, until - now(), [this] { return !posted_.empty(); });
  }

  Mode mode_;
  Time virtual_now_{};
  Timer next_ = 1;
  std::map<std::pair<Time, Timer>, Task> queue_;
  std::map<Timer, Time> due_;
  std::mutex mutex_;
  std::condition_variable woken_;
  std::vector<Task> posted_;
};

}  // namespace testudo::facility
