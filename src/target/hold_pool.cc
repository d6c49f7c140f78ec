// SPDX-License-Identifier: Apache-2.0
#include "target/hold_pool.h"

#include <cstring>

#include "base/check.h"

namespace testudo::target {

HoldPool::HoldPool(std::uint32_t slots, std::uint32_t bytes_max)
    : bytes_max_(bytes_max),
      bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(std::size_t{slots} * bytes_max)),
      slots_(slots),
      free_count_(slots) {
  for (std::uint32_t i = slots; i-- > 0;) {
    slots_[i].next = first_free_;
    first_free_ = i;
  }
}

Held* HoldPool::append(List& list, const wire::Packet& packet, Time now) {
  if (first_free_ == kNone || packet.size > bytes_max_) return nullptr;
  const std::uint32_t index = first_free_;
  Slot& slot = slots_[index];
  first_free_ = slot.next;
  --free_count_;
  slot.held = Held{.packet = packet, .since = now};
  slot.held.packet.data = bytes_.get() + std::size_t{index} * bytes_max_;
  std::memcpy(slot.held.packet.data, packet.data, packet.size);
  slot.next = kNone;
  if (list.empty()) {
    list.first = index;
  } else {
    slots_[list.last].next = index;
  }
  list.last = index;
  ++list.count;
  return &slot.held;
}

Held* HoldPool::front(const List& list) { return list.empty() ? nullptr : &slots_[list.first].held; }

const Held* HoldPool::front(const List& list) const { return list.empty() ? nullptr : &slots_[list.first].held; }

void HoldPool::pop(List& list) {
  CHECK(!list.empty());
  const std::uint32_t index = list.first;
  list.first = slots_[index].next;
  --list.count;
  if (list.empty()) list = List{};
  slots_[index].next = first_free_;
  first_free_ = index;
  ++free_count_;
}

}  // namespace testudo::target
