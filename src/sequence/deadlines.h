// SPDX-License-Identifier: Apache-2.0
// Deadlines: one point in time for each of many small indices, and the earliest of them at hand. A binary heap with
// the place of each index, so that a deadline moves in O(log n); nothing is allocated once the largest index was
// seen.
//
//   Deadlines timers;
//   timers.set(7, now + 1ms);      // moves it if it was set
//   while (timers.earliest() <= now) run(timers.pop());
//
// Equal times come in the order of their indices, so that a run can be repeated exactly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/time.h"

namespace testudo::sequence {

class Deadlines {
 public:
  void reserve(std::size_t count);
  /// Time::max() clears it.
  void set(std::uint32_t index, Time when);
  void clear(std::uint32_t index) { set(index, Time::max()); }
  /// Time::max(): none is set.
  [[nodiscard]] Time earliest() const { return heap_.empty() ? Time::max() : heap_[0].when; }
  /// Asks the CPU for what set() will read.
  void prefetch(std::uint32_t index) const {
    if (index < places_.size()) __builtin_prefetch(&places_[index], 1);
  }
  /// Clears the earliest one and returns its index. There must be one.
  std::uint32_t pop();

 private:
  static constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();
  struct Entry {
    Time when;
    std::uint32_t index = 0;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };
  void place(std::size_t at, Entry entry);
  void rise(std::size_t at, Entry entry);
  void sink(std::size_t at, Entry entry);
  void remove(std::size_t at);

  std::vector<Entry> heap_;
  std::vector<std::uint32_t> places_;  // by index: where in heap_, or kNowhere
};

}  // namespace testudo::sequence
