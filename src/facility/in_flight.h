// SPDX-License-Identifier: Apache-2.0
// InFlight: how many calls a library's own threads still hold, so that an owner can wait for them before it goes.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace testudo::facility {

/// Any thread may call. Keep it in a shared_ptr that each call holds: the last ended() may still be returning when
/// wait() is over.
class InFlight {
 public:
  void began() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void ended() {
    const std::lock_guard lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    none_.wait(lock, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  std::size_t count_ = 0;
};

}  // namespace testudo::facility
