// SPDX-License-Identifier: Apache-2.0
// The receive window of one inbound SA: which sequence numbers were seen (RFC 4303 section 3.4.3, appendix A2).
//
//   const SeqNo seq = esn ? infer_sequence(window.newest(), window.size(), header.sequence_low()) : SeqNo(low);
//   if (auto drop = window.check(seq)) return *drop;   // before the ICV
//   …                                                  // verify the ICV
//   window.commit(seq);                                // only after it was right
//
// Threads: the worker that owns the SA.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/drop.h"
#include "base/strong.h"

namespace testudo::ipsec {

inline constexpr std::uint32_t kReplayWindowMin = 32;  // RFC 4303 section 3.4.3
inline constexpr std::uint32_t kReplayWindowMax = 4096;

class ReplayWindow {
 public:
  /// An outbound SA's, which only remembers the peer's size. Nothing else may be asked of it.
  [[nodiscard]] static ReplayWindow only_size(std::uint32_t size) {
    ReplayWindow window;
    window.size_ = size;
    return window;
  }
  /// `size` in packets: kReplayWindowMin to kReplayWindowMax, CHECKed.
  explicit ReplayWindow(std::uint32_t size);
  ReplayWindow(ReplayWindow&& other) noexcept;
  ReplayWindow& operator=(ReplayWindow&& other) noexcept;
  ~ReplayWindow();

  /// Nothing: never seen and not too old. kReplay (also for number 0, which no packet has) or kReplayTooOld.
  [[nodiscard]] std::optional<Drop> check(SeqNo seq) const;

  /// Marks as seen. Whoever calls it knows that the packet was authentic. A number behind the window changes
  /// nothing.
  void commit(SeqNo seq);

  /// The highest number committed; 0: none yet. The window is newest - size + 1 … newest.
  [[nodiscard]] SeqNo newest() const { return SeqNo(newest_); }
  [[nodiscard]] std::uint32_t size() const { return size_; }

 private:
  ReplayWindow() = default;
  static constexpr std::size_t kInside = 4;  // words: enough for windows of up to 192 packets

  [[nodiscard]] std::uint64_t* words() { return mask_ < kInside ? inside_.data() : outside_; }
  [[nodiscard]] const std::uint64_t* words() const { return mask_ < kInside ? inside_.data() : outside_; }
  [[nodiscard]] std::uint64_t& word_of(std::uint64_t seq) { return words()[(seq / 64) & mask_]; }
  [[nodiscard]] const std::uint64_t& word_of(std::uint64_t seq) const { return words()[(seq / 64) & mask_]; }

  // A ring of mask_ + 1 words: bit n % 64 of word n / 64; holds at least size_ + 63 numbers.
  std::uint64_t newest_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t mask_ = 0;  // number of words, a power of two, less one
  union {
    std::array<std::uint64_t, kInside> inside_{};
    std::uint64_t* outside_;  // owned
  };
};
static_assert(sizeof(ReplayWindow) == 48);

// Inline: each packet asks twice and commits once.

inline std::optional<Drop> ReplayWindow::check(SeqNo seq) const {
  const std::uint64_t n = seq.value();
  if (n > newest_) return std::nullopt;
  if (n == 0) return Drop::kReplay;
  if (newest_ - n >= size_) return Drop::kReplayTooOld;
  if ((word_of(n) >> (n % 64) & 1) != 0) return Drop::kReplay;
  return std::nullopt;
}

inline void ReplayWindow::commit(SeqNo seq) {
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

/// The full number of a packet whose low 32 bits are known, from the window's newest number (RFC 4303 appendix
/// A2.2). A guess that the ICV confirms. Where the RFC's high half would be -1, it is 0: there is nothing before
/// the first number.
[[nodiscard]] inline SeqNo infer_sequence(SeqNo newest, std::uint32_t window_size, std::uint32_t low) {
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
