// SPDX-License-Identifier: Apache-2.0
#include "sequence/deadlines.h"

#include "base/check.h"

namespace testudo::sequence {

void Deadlines::reserve(std::size_t count) {
  heap_.reserve(count);
  if (places_.size() < count) places_.resize(count, kNowhere);
}

void Deadlines::set(std::uint32_t index, Time when) {
  if (index >= places_.size()) places_.resize(std::size_t{index} + 1, kNowhere);
  const std::uint32_t at = places_[index];
  const Entry entry{when, index};
  if (at == kNowhere) {
    if (when == Time::max()) return;
    heap_.push_back(entry);
    return rise(heap_.size() - 1, entry);
  }
  if (when == Time::max()) return remove(at);
  if (entry < heap_[at]) {
    rise(at, entry);
  } else {
    sink(at, entry);
  }
}

std::uint32_t Deadlines::pop() {
  CHECK(!heap_.empty());
  const std::uint32_t index = heap_[0].index;
  remove(0);
  return index;
}

void Deadlines::place(std::size_t at, Entry entry) {
  heap_[at] = entry;
  places_[entry.index] = static_cast<std::uint32_t>(at);
}

void Deadlines::rise(std::size_t at, Entry entry) {
  while (at > 0 && entry < heap_[(at - 1) / 2]) {
    place(at, heap_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  place(at, entry);
}

void Deadlines::sink(std::size_t at, Entry entry) {
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
    if (entry < heap_[child]) break;
    place(at, heap_[child]);
    at = child;
  }
  place(at, entry);
}

void Deadlines::remove(std::size_t at) {
  places_[heap_[at].index] = kNowhere;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (at == heap_.size()) return;
  if (at > 0 && last < heap_[(at - 1) / 2]) {
    rise(at, last);
  } else {
    sink(at, last);
  }
}

}  // namespace testudo::sequence
