// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_memory.h"

#include <algorithm>
#include <bit>
#include <memory>

#include "base/check.h"

namespace testudo::distributor {

ReplayMemory::ReplayMemory(std::size_t groups)
    : left_(groups),
      groups_((groups + 1) * (sizeof(Group) + sizeof(std::uint32_t))),
      first_(reinterpret_cast<Group*>(groups_.data())),
      free_(reinterpret_cast<std::uint32_t*>(first_ + groups + 1)) {
  CHECK(groups < (std::size_t{1} << 32) - 1);
}

ReplayMemory::Seat::~Seat() {
  if (memory_ == nullptr) return;
  if (memory_->alone_) {
    delete memory_;
  } else {
    memory_->give_back(*this);
  }
}

ReplayMemory::Seat ReplayMemory::take(std::uint32_t numbers) {
  CHECK(std::has_single_bit(numbers) && numbers >= 64);
  const std::uint32_t blocks = numbers / 64;
  auto& seats = free_seats(blocks - 1);
  if (seats.empty()) add_slab(blocks);
  const std::uint32_t id = seats.back();
  seats.pop_back();
  return seat(id);
}

ReplayMemory::Seat ReplayMemory::take_alone(std::uint32_t numbers) {
  auto memory = std::make_unique<ReplayMemory>(numbers / 8 + 1);
  memory->alone_ = true;
  return memory.release()->take(numbers);  // whose end is the memory's
}

void ReplayMemory::add_slab(std::uint32_t blocks) {
  const std::size_t rows = (blocks + Row::kBlocks - 1) / Row::kBlocks;
  slabs_.push_back({.memory = LargeMemory(rows * kSeats * sizeof(Row)), .mask = blocks - 1});
  auto& seats = free_seats(blocks - 1);
  for (std::size_t i = kSeats; i-- > 0;)
    seats.push_back(static_cast<std::uint32_t>((slabs_.size() - 1) * kSeats + i));
}

std::vector<std::uint32_t>& ReplayMemory::free_seats(std::uint32_t mask) {
  return free_seats_[static_cast<std::size_t>(std::bit_width(mask))];
}

/// Rows that were never used stay so: reading gives the system's page of zeros.
void ReplayMemory::give_back(Seat& seat) {
  for (std::uint32_t place = 0; place <= seat.mask_; ++place) {
    const Block block = seat.block(place);
    clear(block, ~std::uint64_t{0});
    if (block.seen() != 0) block.seen() = 0;
    if (block.again() != 0) block.again() = 0;
  }
  free_seats(seat.mask_).push_back(seat.id_);
}

/// Gives back the groups of which nothing is left.
void ReplayMemory::clear_pending(Block block, std::uint64_t mask) {
  const std::uint64_t before = block.pending();
  const std::uint64_t pending = block.pending() = before & ~mask;
  const auto give_back = [this](std::uint32_t index) {
    free_[free_count_++] = index;
    ++left_;
  };
  if (pending == 0 && before >> (std::countr_zero(before) & 0x38) <= 0xff) {
    return give_back(std::exchange(block.groups(), 0));  // the only one
  }
  for (std::uint32_t* link = &block.groups(); *link != 0;) {
    const Group& group = first_[*link];
    if ((pending >> (8 * group.group) & 0xff) != 0) {
      link = &first_[*link].next;
      continue;
    }
    give_back(std::exchange(*link, group.next));
  }
}

bool ReplayMemory::is_taken(const Group& group, Block block) const {
  for (std::uint32_t i = block.groups(); i != 0; i = first_[i].next) {
    if (&first_[i] == &group) return true;
  }
  return false;
}

void ReplayMemory::node_died(NodeId node, const Seat* only) {
  for (const Group& group : std::span(first_, unused_).subspan(1)) {
    const Block block = block_in(rows_of(group.seat), group.place);
    if ((only != nullptr && group.seat != only->id()) || !is_taken(group, block)) continue;
    std::uint64_t lost = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      if (group.node[i] == node) lost |= std::uint64_t{1} << (8 * group.group + i);
    }
    lost &= block.pending();
    block.seen() |= lost;
    clear(block, lost);
  }
}

}  // namespace testudo::distributor
