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

std::optional<Drop> ReplayWindow::check(SeqNo seq) const {
  const std::uint64_t n = seq.value();
  if (n > newest_) return std::nullopt;
  if (n == 0) return Drop::kReplay;
  if (newest_ - n >= size_) return Drop::kReplayTooOld;
  if ((word_of(n) >> (n % 64) & 1) != 0) return Drop::kReplay;
  return std::nullopt;
}

void ReplayWindow::commit(SeqNo seq) {
  const std::uint64_t n = seq.value();
  if (n > newest_) {
    // Words that the window enters hold what was a whole ring ago.
    const std::uint64_t entered = std::min<std::uint64_t>(n / 64 - newest_ / 64, std::uint64_t{mask_} + 1);
    for (std::uint64_t i = 0; i < entered; ++i) words()[(n / 64 - i) & mask_] = 0;
    newest_ = n;
  } else if (newest_ - n >= size_) {
    return;
  }
  word_of(n) |= std::uint64_t{1} << (n % 64);
}

SeqNo infer_sequence(SeqNo newest, std::uint32_t window_size, std::uint32_t low) {
  const auto newest_low = static_cast<std::uint32_t>(newest.value());
  std::uint64_t high = newest.value() >> 32;
  // Wraps below zero in case B, as the RFC means it.
  const std::uint32_t bottom_low = newest_low - window_size + 1;
  if (newest_low >= window_size - 1) {  // case A: the window lies in one subspace
    if (low < bottom_low) ++high;
  } else {  // case B: the window spans two
    if (low >= bottom_low && high > 0) --high;
  }
  return SeqNo(high << 32 | low);
}

}  // namespace testudo::ipsec
