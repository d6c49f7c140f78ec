// SPDX-License-Identifier: Apache-2.0
// A text in pieces whose memory is lent (Frame::lent), as one piece for as long as the object lives: what comes
// before and behind the last piece is put there, and what was there is put back.
//
//   if (OnePiece::possible(frame)) {
//     const OnePiece piece(frame);
//     encrypt(piece.text(), parts.text, parts.text_size);
//   }
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "crypto/frame_parts.h"

namespace testudo::crypto {

class OnePiece {
 public:
  /// And worth it: below kLeast bytes a copy of the text costs less.
  [[nodiscard]] static bool possible(const Frame& frame) {
    return frame.lent && size_of_pieces(frame) >= kLeast && before_of(frame).size() <= kBeforeMax &&
           FrameParts(frame).text_size - size_of_pieces(frame) <= kLentBehind;
  }

  explicit OnePiece(const Frame& frame) : before_(before_of(frame)) {
    const FrameParts parts(frame);
    const auto last = frame.second.empty() ? frame.first : frame.second;
    const std::size_t behind = parts.text_size - size_of_pieces(frame);
    end_ = const_cast<std::uint8_t*>(last.data() + last.size());
    begin_ = const_cast<std::uint8_t*>(last.data() - before_.size());
    std::memcpy(kept_behind_.data(), end_, kLentBehind);
    // In one word, if it can be: 8 bytes are there to be read, for the ICV has at least as many.
    const std::uint8_t* rest = parts.text + size_of_pieces(frame);
    behind <= 8 ? std::memcpy(end_, rest, 8) : std::memcpy(end_, rest, behind);
    if (before_.empty()) return;
    std::memcpy(kept_before_.data(), begin_, before_.size());
    std::memcpy(begin_, before_.data(), before_.size());
  }
  OnePiece(const OnePiece&) = delete;
  OnePiece& operator=(const OnePiece&) = delete;
  ~OnePiece() {
    std::memcpy(end_, kept_behind_.data(), kLentBehind);
    if (!before_.empty()) std::memcpy(begin_, kept_before_.data(), before_.size());
  }

  [[nodiscard]] const std::uint8_t* text() const { return begin_; }

 private:
  static constexpr std::size_t kLeast = 512;      // bytes
  static constexpr std::size_t kBeforeMax = 128;  // bytes: IP and TCP headers with options

  static std::span<const std::uint8_t> before_of(const Frame& frame) {
    return frame.second.empty() ? std::span<const std::uint8_t>() : frame.first;
  }

  std::span<const std::uint8_t> before_;
  std::uint8_t* begin_;
  std::uint8_t* end_;  // of the last piece
  std::array<std::uint8_t, kLentBehind> kept_behind_;
  std::array<std::uint8_t, kBeforeMax> kept_before_;
};

}  // namespace testudo::crypto
