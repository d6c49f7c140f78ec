// SPDX-License-Identifier: Apache-2.0
#include "ipsec/iv.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::ipsec {
namespace {

std::uint32_t epoch_half(SaId sa) { return static_cast<std::uint32_t>(sa.value() >> 32); }

}  // namespace

IvCounter::IvCounter(std::uint32_t incarnation, std::uint64_t first, SaId sa)
    : counter_(first), sa_(sa), incarnation_(incarnation & ((1u << kIncarnationBits) - 1)) {
  CHECK(incarnation >> kIncarnationBits == 0 && first <= kEnd);
}

IvHandle::~IvHandle() {
  if (counter_ != nullptr && counter_->users_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete counter_;
}

IvSpace::IvSpace(std::uint32_t incarnation) : incarnation_(incarnation) {
  CHECK(incarnation >> kIncarnationBits == 0);
}

IvHandle IvSpace::counter_of(SaId sa) {
  sweep();
  auto known = counters_.find(sa);
  if (known == counters_.end()) {
    known = counters_.insert(IvHandle(new IvCounter(incarnation_, first_of(sa), sa))).first;
  }
  (*known)->forgotten_ = 0;
  return IvHandle(&**known);
}

void IvSpace::forget(SaId sa) {
  if (const auto known = counters_.find(sa); known != counters_.end() && (*known)->forgotten_ == 0) {
    (*known)->forgotten_ = 1;
    forgotten_.push_back(sa);
  }
  sweep();
}

// A counter that the worker may still use keeps its place until nobody does.
void IvSpace::sweep() {
  std::erase_if(forgotten_, [this](SaId sa) {
    const auto known = counters_.find(sa);
    if (known == counters_.end() || (*known)->forgotten_ == 0) return true;  // it came again
    if ((*known)->users_.load(std::memory_order_acquire) > 1) return false;
    Past& past = past_[epoch_half(sa)];
    past.highest = std::max(past.highest, sa);
    past.next = std::max(past.next, (*known)->position());
    counters_.erase(known);
    return true;
  });
}

std::uint64_t IvSpace::first_of(SaId sa) const {
  const auto past = past_.find(epoch_half(sa));
  return past == past_.end() || sa > past->second.highest ? 0 : past->second.next;
}

}  // namespace testudo::ipsec
