// SPDX-License-Identifier: Apache-2.0
// ReplayMemory: what the ledgers of one worker are kept in (ReplayLedger). Three bits for each number of a ledger's
// window, and for the few numbers that are pending the node and the flow, in groups that all ledgers share.
//
//   ReplayMemory memory(1 << 20);                            // outlives the ledgers
//   ReplayLedger ledger(window, {.size = 8192, .memory = &memory});
//
// How it lies follows from what is asked in a burst, of many SAs that are in no cache:
//   - the bits of 128 numbers and the lists of their groups are one cache line, a Row;
//   - the rows of the same numbers of 64 ledgers are one page, so that the system gives a ledger its 64 rows (of
//     8,192 numbers) as the numbers come: 64 bytes for an SA that has carried little, 4 KiB for one that carries
//     much;
//   - the group that is taken is the one that was given back last, and a block's only group is given back without
//     a look at it. As many are in use as were needed at once.
//
// Bounded: when all groups are taken, room() is false, and the owner authenticates what it would have forwarded on
// trust. Thread: one worker. Only take() allocates.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/strong.h"
#include "distributor/large_memory.h"

namespace testudo::distributor {

class ReplayMemory {
 public:
  /// Where eight numbers of one ledger are pending, some of them at least. It is taken if it is in the list of its
  /// block.
  struct Group {
    std::uint32_t next = 0;  // of the same block; 0: none
    std::uint32_t seat = 0;
    std::uint32_t place = 0;  // of the block
    std::uint8_t group = 0;   // the numbers 8 · group to 8 · group + 7 of the block
    std::array<NodeId, 8> node;
    std::array<std::uint32_t, 8> flow{};
  };
  static_assert(sizeof(Group) == 64);

  struct alignas(64) Row {
    static constexpr std::uint32_t kBlocks = 2;
    std::array<std::uint64_t, kBlocks> seen;
    std::array<std::uint64_t, kBlocks> pending;
    std::array<std::uint64_t, kBlocks> again;   // was forwarded more than once, or will have been
    std::array<std::uint32_t, kBlocks> groups;  // of what is pending; 0: none
  };
  static_assert(sizeof(Row) == 64);

  /// 64 numbers; a number's bit is its rest by 64.
  struct Block {
    Row* row;
    std::uint32_t i;
    [[nodiscard]] std::uint64_t& seen() const { return row->seen[i]; }
    [[nodiscard]] std::uint64_t& pending() const { return row->pending[i]; }
    [[nodiscard]] std::uint64_t& again() const { return row->again[i]; }
    [[nodiscard]] std::uint32_t& groups() const { return row->groups[i]; }
  };

  /// The place of one ledger. Given back, with what is pending, at its end.
  class Seat {
   public:
    Seat(Seat&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), rows_(other.rows_), mask_(other.mask_), id_(other.id_) {}
    Seat& operator=(Seat&&) = delete;
    ~Seat();

    [[nodiscard]] ReplayMemory& memory() const { return *memory_; }
    [[nodiscard]] std::uint32_t id() const { return id_; }
    /// Numbers of the ring: number and number + size() have the same place.
    [[nodiscard]] std::uint64_t size() const { return (std::uint64_t{mask_} + 1) * 64; }
    /// index: number / 64.
    [[nodiscard]] std::uint32_t place(std::uint64_t index) const {
      return static_cast<std::uint32_t>(index) & mask_;
    }
    [[nodiscard]] Block block(std::uint64_t index) const { return block_in(rows_, place(index)); }

   private:
    friend class ReplayMemory;
    Seat(ReplayMemory& memory, Row* rows, std::uint32_t mask, std::uint32_t id)
        : memory_(&memory), rows_(rows), mask_(mask), id_(id) {}
    ReplayMemory* memory_;
    Row* rows_;
    std::uint32_t mask_;  // blocks - 1
    std::uint32_t id_;
  };

  /// `groups`: how many can be taken at once. Memory that was never used is none.
  explicit ReplayMemory(std::size_t groups);
  ReplayMemory(const ReplayMemory&) = delete;
  ReplayMemory& operator=(const ReplayMemory&) = delete;

  /// All free. `numbers`: a power of two, at least 64.
  [[nodiscard]] Seat take(std::uint32_t numbers);
  /// In a memory of its own, with room for everything.
  [[nodiscard]] static Seat take_alone(std::uint32_t numbers);

  /// A group more can be taken.
  [[nodiscard]] bool room() const { return left_ != 0; }
  /// Of a number that is pending.
  [[nodiscard]] Group& find(Block block, std::uint64_t number) const;
  /// Makes the number pending, if it is not. Null: there is no room.
  Group* take(const Seat& seat, Block block, std::uint64_t number);
  /// The numbers of the mask are pending no more.
  void clear(Block block, std::uint64_t mask) {
    if ((block.pending() & mask) != 0) clear_pending(block, mask);
  }
  /// What is pending at the node counts as seen, in all ledgers or in that of one seat.
  void node_died(NodeId node, const Seat* only = nullptr);

  /// How many more can be taken.
  [[nodiscard]] std::size_t left() const { return left_; }

 private:
  static constexpr std::uint32_t kSoon = 8;  // a group is asked for so many before it is taken
  static constexpr std::size_t kSeats = 64;  // of a slab: a page of rows
  struct Slab {
    LargeMemory memory;
    std::uint32_t mask = 0;  // of its seats
  };
  [[nodiscard]] Seat seat(std::uint32_t id) { return {*this, rows_of(id), slabs_[id / kSeats].mask, id}; }
  [[nodiscard]] Row* rows_of(std::uint32_t id) const {
    return reinterpret_cast<Row*>(slabs_[id / kSeats].memory.data()) + id % kSeats;
  }
  Group* add(const Seat& seat, Block block, std::uint64_t number);
  void clear_pending(Block block, std::uint64_t mask);
  [[nodiscard]] static Block block_in(Row* rows, std::uint32_t place) {
    return {rows + std::size_t{place / Row::kBlocks} * kSeats, place % Row::kBlocks};
  }
  void add_slab(std::uint32_t blocks);
  void give_back(Seat& seat);
  [[nodiscard]] std::vector<std::uint32_t>& free_seats(std::uint32_t mask);

  [[nodiscard]] bool is_taken(const Group& group, Block block) const;

  std::size_t left_;
  std::uint32_t unused_ = 1;      // the first that was never taken
  std::uint32_t free_count_ = 0;  // in free_
  LargeMemory groups_;
  Group* first_;         // of the groups; it is not used, as 0 is none
  std::uint32_t* free_;  // those that were given back, behind the groups; the last one comes first
  bool alone_ = false;   // it belongs to its only seat
  std::vector<Slab> slabs_;
  std::array<std::vector<std::uint32_t>, 27> free_seats_;  // by the logarithm of their blocks
};

inline ReplayMemory::Group& ReplayMemory::find(Block block, std::uint64_t number) const {
  Group* group = &first_[block.groups()];
  while (group->group != (number >> 3 & 7)) group = &first_[group->next];
  return *group;
}

inline ReplayMemory::Group* ReplayMemory::take(const Seat& seat, Block block, std::uint64_t number) {
  const std::uint64_t neighbours = std::uint64_t{0xff} << (number & 0x38);
  Group* group = (block.pending() & neighbours) != 0 ? &find(block, number) : add(seat, block, number);
  if (group != nullptr) block.pending() |= std::uint64_t{1} << (number & 63);
  return group;
}

inline ReplayMemory::Group* ReplayMemory::add(const Seat& seat, Block block, std::uint64_t number) {
  if (!room()) return nullptr;
  --left_;
  const std::uint32_t index = free_count_ != 0 ? free_[--free_count_] : unused_++;
  if (free_count_ >= kSoon) __builtin_prefetch(&first_[free_[free_count_ - kSoon]], 1);
  Group& group = first_[index];
  group.next = std::exchange(block.groups(), index);
  group.seat = seat.id();
  group.place = seat.place(number >> 6);
  group.group = number >> 3 & 7;
  return &group;
}

}  // namespace testudo::distributor
