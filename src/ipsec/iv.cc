// SPDX-License-Identifier: Apache-2.0
#include "ipsec/iv.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/byte_order.h"
#include "base/check.h"

namespace testudo::ipsec {
namespace {

constexpr std::uint64_t kCounterEnd = std::uint64_t{1} << kIvCounterBits;

std::uint32_t epoch_half(SaId sa) { return static_cast<std::uint32_t>(sa.value() >> 32); }

}  // namespace

IvCounter::IvCounter(std::uint32_t incarnation, std::uint64_t first)
    : prefix_(std::uint64_t{incarnation} << kIvCounterBits), counter_(first) {
  CHECK(incarnation >> kIncarnationBits == 0 && first <= kCounterEnd);
}

bool IvCounter::next(std::span<std::uint8_t, 8> out) {
  if (counter_ == kCounterEnd) return false;
  const Be<std::uint64_t> iv(prefix_ | counter_++);
  std::memcpy(out.data(), &iv, sizeof iv);
  return true;
}

IvSpace::IvSpace(std::uint32_t incarnation) : incarnation_(incarnation) {
  CHECK(incarnation >> kIncarnationBits == 0);
}

std::shared_ptr<IvCounter> IvSpace::counter_of(SaId sa) {
  sweep();
  Entry& entry = counters_[sa];
  if (!entry.counter) entry.counter = std::make_shared<IvCounter>(incarnation_, first_of(sa));
  entry.forgotten = false;
  return entry.counter;
}

void IvSpace::forget(SaId sa) {
  if (const auto known = counters_.find(sa); known != counters_.end() && !known->second.forgotten) {
    known->second.forgotten = true;
    forgotten_.push_back(sa);
  }
  sweep();
}

// A counter that the worker may still use keeps its place until nobody does.
void IvSpace::sweep() {
  std::erase_if(forgotten_, [this](SaId sa) {
    const auto known = counters_.find(sa);
    if (known == counters_.end() || !known->second.forgotten) return true;  // it came again
    if (known->second.counter.use_count() > 1) return false;
    std::atomic_thread_fence(std::memory_order_acquire);  // after the last user's release
    Past& past = past_[epoch_half(sa)];
    past.highest = std::max(past.highest, sa);
    past.next = std::max(past.next, known->second.counter->position());
    counters_.erase(known);
    return true;
  });
}

std::uint64_t IvSpace::first_of(SaId sa) const {
  const auto past = past_.find(epoch_half(sa));
  return past == past_.end() || sa > past->second.highest ? 0 : past->second.next;
}

}  // namespace testudo::ipsec
