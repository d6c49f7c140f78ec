// SPDX-License-Identifier: Apache-2.0
#include "virtual_time.h"

#include <algorithm>
#include <memory>

namespace testudo::sim {

VirtualTime::Id VirtualTime::at(Time when, Task task) {
  const Id id = next_id_++;
  const Time time = std::max(when, now_);
  queue_.emplace(std::pair(time, id), std::move(task));
  times_.emplace(id, time);
  return id;
}

void VirtualTime::cancel(Id id) {
  const auto found = times_.find(id);
  if (found == times_.end()) return;
  queue_.erase({found->second, id});
  times_.erase(found);
}

bool VirtualTime::step() {
  if (queue_.empty()) return false;
  auto first = queue_.extract(queue_.begin());
  now_ = first.key().first;
  times_.erase(first.key().second);
  ++events_run_;
  first.mapped()();
  return true;
}

void VirtualTime::run_until(Time end) {
  while (!queue_.empty() && queue_.begin()->first.first <= end) step();
  now_ = end;
}

Executor::Timer VirtualExecutor::run_after(Duration delay, Task task) {
  if (stopped_) return 0;
  // The event needs its own number to leave the set when it has run.
  auto number = std::make_shared<Timer>(0);
  *number = time_.after(delay, [this, number, run = std::move(task)] {
    pending_.erase(*number);
    run();
  });
  pending_.insert(*number);
  return *number;
}

void VirtualExecutor::cancel(Timer timer) {
  if (pending_.erase(timer) != 0) time_.cancel(timer);
}

void VirtualExecutor::stop() {
  stopped_ = true;
  for (const Timer timer : pending_) time_.cancel(timer);
  pending_.clear();
}

}  // namespace testudo::sim
