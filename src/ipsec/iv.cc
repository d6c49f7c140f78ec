// SPDX-License-Identifier: Apache-2.0
#include "ipsec/iv.h"

#include <cstring>

#include "base/byte_order.h"
#include "base/check.h"

namespace testudo::ipsec {
namespace {

constexpr std::uint64_t kCounterEnd = std::uint64_t{1} << kIvCounterBits;

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
  std::shared_ptr<IvCounter>& counter = counters_[sa];
  if (!counter) counter = std::make_shared<IvCounter>(incarnation_);
  return counter;
}

}  // namespace testudo::ipsec
