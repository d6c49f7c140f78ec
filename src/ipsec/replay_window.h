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

#include <cstdint>
#include <optional>
#include <vector>

#include "base/drop.h"
#include "base/strong.h"

namespace testudo::ipsec {

inline constexpr std::uint32_t kReplayWindowMin = 32;  // RFC 4303 section 3.4.3
inline constexpr std::uint32_t kReplayWindowMax = 4096;

class ReplayWindow {
 public:
  /// `size` in packets: kReplayWindowMin to kReplayWindowMax, CHECKed.
  explicit ReplayWindow(std::uint32_t size);

  /// Nothing: never seen and not too old. kReplay (also for number 0, which no packet has) or kReplayTooOld.
  [[nodiscard]] std::optional<Drop> check(SeqNo seq) const;

  /// Marks as seen. Whoever calls it knows that the packet was authentic. A number behind the window changes
  /// nothing.
  void commit(SeqNo seq);

  /// The highest number committed; 0: none yet. The window is newest - size + 1 … newest.
  [[nodiscard]] SeqNo newest() const { return SeqNo(newest_); }
  [[nodiscard]] std::uint32_t size() const { return size_; }

 private:
  [[nodiscard]] std::uint64_t& word_of(std::uint64_t seq) { return words_[(seq / 64) & mask_]; }
  [[nodiscard]] const std::uint64_t& word_of(std::uint64_t seq) const { return words_[(seq / 64) & mask_]; }

  std::uint64_t newest_ = 0;
  std::uint32_t size_;
  std::uint32_t mask_;                // words_.size() - 1, a power of two less one
  std::vector<std::uint64_t> words_;  // a ring: bit n % 64 of word n / 64; holds at least size_ + 63 numbers
};

/// The full number of a packet whose low 32 bits are known, from the window's newest number (RFC 4303 appendix
/// A2.2). A guess that the ICV confirms. Where the RFC's high half would be -1, it is 0: there is nothing before
/// the first number.
[[nodiscard]] SeqNo infer_sequence(SeqNo newest, std::uint32_t window_size, std::uint32_t low);

}  // namespace testudo::ipsec
