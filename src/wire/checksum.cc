// SPDX-License-Identifier: Apache-2.0
#include "wire/checksum.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace testudo::wire {
namespace {

// A one's complement sum is the same in either byte order but for a swap at the end (RFC 1071 section 2B), so
// 32-bit words are added as they lie in memory.
std::uint16_t native_sum(std::span<const std::uint8_t> bytes) {
  std::uint64_t sum = 0;
  std::size_t at = 0;
  for (; at + 4 <= bytes.size(); at += 4) {
    std::uint32_t word;
    std::memcpy(&word, bytes.data() + at, 4);
    sum += word;
  }
  if (at < bytes.size()) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, bytes.size() - at);
    sum += word;
  }
  return static_cast<std::uint16_t>(~fold(sum));
}

}  // namespace

ChecksumSum add(ChecksumSum sum, std::span<const std::uint8_t> bytes) {
  const std::uint16_t native = native_sum(bytes);
  if constexpr (std::endian::native == std::endian::big) return sum + native;
  return sum + static_cast<std::uint16_t>((native >> 8) | (native << 8));
}

}  // namespace testudo::wire
