// SPDX-License-Identifier: Apache-2.0
// BoundedQueue<T>: one thread pushes, one thread pops, no lock; push says false when it is full. The only way
// between a node's control thread and its workers.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "base/check.h"

namespace testudo {

template <typename T>
class BoundedQueue {
 public:
  /// `capacity` must be a power of two.
  explicit BoundedQueue(std::size_t capacity) : mask_(capacity - 1), slots_(std::make_unique<T[]>(capacity)) {
    CHECK(capacity > 0 && (capacity & mask_) == 0);
  }

  /// Producer only: the next push() will succeed.
  [[nodiscard]] bool has_room() const {
    return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire) <= mask_;
  }

  /// Producer only. The value is lost when this says false.
  [[nodiscard]] bool push(T value) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) > mask_) return false;
    slots_[tail & mask_] = std::move(value);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  /// Consumer only. False: empty, and `value` is as it was.
  [[nodiscard]] bool pop(T& value) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return false;
    value = std::exchange(slots_[head & mask_], T{});
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

  /// Exact for the consumer; a hint for anyone else.
  [[nodiscard]] bool empty() const {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire);
  }

 private:
  const std::size_t mask_;
  const std::unique_ptr<T[]> slots_;
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace testudo
