// SPDX-License-Identifier: Apache-2.0
#include "wire/checksum.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace testudo::wire {
namespace {

// A one's complement sum is the same in either byte order but for a swap at the end (RFC 1071 section 2B), and the
// carry out of any width comes back in at its other end: 64-bit words are added as they lie in memory.
std::uint16_t native_sum(std::span<const std::uint8_t> bytes) {
  std::uint64_t sum = 0;
  const auto add_word = [&sum](std::uint64_t word) {
    sum += word;
    sum += sum < word ? 1 : 0;
  };
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    add_word(word);
  }
  if (at < bytes.size()) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, bytes.size() - at);
    add_word(word);
  }
  return partial_checksum(sum);
}

}  // namespace

ChecksumSum add(ChecksumSum sum, std::span<const std::uint8_t> bytes) {
  const std::uint16_t native = native_sum(bytes);
  if constexpr (std::endian::native == std::endian::big) return sum + native;
  return sum + static_cast<std::uint16_t>((native >> 8) | (native << 8));
}

}  // namespace testudo::wire
