// SPDX-License-Identifier: Apache-2.0
#include "io/loop.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::io {

Result<std::unique_ptr<Loop>> Loop::create() {
  auto poller = Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  return std::unique_ptr<Loop>(new Loop(std::move(*poller)));
}

void Loop::post(Task task) {
  bool first = false;
  {
    const std::lock_guard lock(posted_mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (first) poller_->wake();  // else who came first has woken the loop, which takes all of them
}

Executor::Timer Loop::run_after(Duration delay, Task task) {
  const Timer timer = next_timer_++;
  const Time deadline = now() + std::max(delay, Duration::zero());
  timers_.emplace(std::pair(deadline, timer), std::move(task));
  deadlines_.emplace(timer, deadline);
  return timer;
}

void Loop::cancel(Timer timer) {
  const auto found = deadlines_.find(timer);
  if (found == deadlines_.end()) return;
  timers_.erase({found->second, timer});
  deadlines_.erase(found);
}

Result<void> Loop::watch(int descriptor, std::uint32_t events, Ready ready) {
  const std::uint64_t token = next_token_++;
  if (auto watched = poller_->watch(descriptor, token, events); !watched) return watched;
  watches_.emplace(token, Watch{descriptor, std::move(ready)});
  return {};
}

void Loop::unwatch(int descriptor) {
  const auto found = std::find_if(watches_.begin(), watches_.end(),
                                  [&](const auto& w) { return w.second.descriptor == descriptor; });
  if (found == watches_.end()) return;
  poller_->unwatch(descriptor);
  watches_.erase(found);
}

void Loop::run() {
  while (!stop_.load()) run_once(Duration(-1));
  run_posted();
  stop_.store(false);  // it may run again
}

void Loop::stop() {
  stop_.store(true);
  poller_->wake();
}

void Loop::run_once(Duration timeout) {
  for (const Poller::Ready& event : poller_->wait(until_next(timeout))) {
    const auto found = watches_.find(event.token);
    if (found == watches_.end()) continue;    // a callback before this one has unwatched it
    const Ready ready = found->second.ready;  // a copy: it may unwatch itself
    ready(event.events);
  }
  run_posted();
  run_timers();
}

void Loop::run_posted() {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(posted_mutex_);
    tasks.swap(posted_);
  }
  for (Task& task : tasks) task();
}

// Only what is due now: a timer that a task sets with no delay waits for the next round, so descriptors get their
// turn.
void Loop::run_timers() {
  const Time due = now();
  const Timer newest = next_timer_;
  while (!timers_.empty()) {
    const auto first = timers_.begin();
    if (first->first.first > due || first->first.second >= newest) return;
    const Task task = std::move(first->second);
    deadlines_.erase(first->first.second);
    timers_.erase(first);
    task();
  }
}

Duration Loop::until_next(Duration limit) const {
  if (timers_.empty()) return limit;
  const Duration next = std::max(timers_.begin()->first.first - now(), Duration::zero());
  return limit < Duration::zero() ? next : std::min(limit, next);
}

}  // namespace testudo::io
