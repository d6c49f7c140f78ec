// SPDX-License-Identifier: Apache-2.0
#include "ipsec/replay_window.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace testudo::ipsec {

ReplayWindow::ReplayWindow(std::uint32_t size) : size_(size) {
  CHECK(size >= kReplayWindowMin && size <= kReplayWindowMax);
  // The window may touch one word more than it fills.
  const std::uint32_t count = std::bit_ceil((size + 63) / 64 + 1);
  mask_ = count - 1;
  if (count > kInside) outside_ = new std::uint64_t[count]();
  words()[0] = 1;  // 0 was never sent: RFC 4303 section 3.3.3 begins with 1
}

ReplayWindow::ReplayWindow(ReplayWindow&& other) noexcept
    : newest_(other.newest_), size_(other.size_), mask_(std::exchange(other.mask_, 0)), inside_(other.inside_) {}

ReplayWindow& ReplayWindow::operator=(ReplayWindow&& other) noexcept {
  std::swap(newest_, other.newest_);
  std::swap(size_, other.size_);
  std::swap(mask_, other.mask_);
  std::swap(inside_, other.inside_);  // all bytes of the union
  return *this;
}

ReplayWindow::~ReplayWindow() {
  if (mask_ >= kInside) delete[] outside_;
}

}  // namespace testudo::ipsec
