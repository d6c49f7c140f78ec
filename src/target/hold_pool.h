// SPDX-License-Identifier: Apache-2.0
// HoldPool: copies of the few packets that must wait, for an SA that is being pulled or for sequence numbers. A
// fixed number of slots, lists through them, nothing allocated after construction.
//
//   HoldPool pool(1024, 65'600);
//   HoldPool::List waiting;
//   if (!pool.append(waiting, packet, now)) drop(Drop::kHoldFull);
//   while (auto* held = pool.front(waiting)) { …; pool.pop(waiting); }
//
// Thread: one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"
#include "wire/packet.h"

namespace testudo::target {

/// A packet that waits. `packet.data` points to the pool's copy.
struct Held {
  wire::Packet packet;
  Time since;
  std::uint32_t segments_sent = 0;  // of a super-segment: how many of its pieces have left already
  std::uint16_t fragment_size = 0;  // not 0: it is cut into IP fragments of at most so many bytes,
  std::uint32_t fragment_id = 0;    // with this id
};

class HoldPool {
 public:
  /// First and last slot of one list, oldest first. Starts empty; belongs to one pool.
  struct List {
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
    std::uint32_t count = 0;
    [[nodiscard]] bool empty() const { return count == 0; }
  };

  /// `bytes_max`: of one packet. The memory is reserved here, and used by the system when a slot first is.
  HoldPool(std::uint32_t slots, std::uint32_t bytes_max);

  /// Copies the packet to the end of the list. Nothing when no slot is free or the packet is too large.
  Held* append(List& list, const wire::Packet& packet, Time now);
  /// The oldest of the list; nullptr: the list is empty.
  [[nodiscard]] Held* front(const List& list);
  [[nodiscard]] const Held* front(const List& list) const;
  void pop(List& list);
  [[nodiscard]] std::uint32_t free_slots() const { return free_count_; }

 private:
  static constexpr std::uint32_t kNone = 0xffffffff;
  struct Slot {
    Held held;
    std::uint32_t next = kNone;
  };

  std::uint32_t bytes_max_;
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::vector<Slot> slots_;
  std::uint32_t first_free_ = kNone;
  std::uint32_t free_count_ = 0;
};

}  // namespace testudo::target
