// SPDX-License-Identifier: Apache-2.0
// The Internet checksum (RFC 1071), for what the ports verify and rebuild.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace testudo::io {

/// One's complement sum of big endian 16-bit words, not folded to its complement. Chained through `start` for
/// pieces of even size.
inline std::uint16_t ones_sum(std::span<const std::uint8_t> bytes, std::uint16_t start = 0) {
  static_assert(std::endian::native == std::endian::little);
  // The sum does not depend on byte order (RFC 1071 section 2): added in the host's, turned at the end.
  std::uint64_t sum = __builtin_bswap16(start);
  const std::uint8_t* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; p += 8, left -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, 8);
    sum += word;
    sum += sum < word ? 1 : 0;
  }
  std::uint64_t tail = 0;
  std::memcpy(&tail, p, left);
  sum += tail;
  sum += sum < tail ? 1 : 0;
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return __builtin_bswap16(static_cast<std::uint16_t>(sum));
}

/// Sum of the pseudo header (RFC 9293 section 3.1) of an IPv4 header at `ip` and a payload of `size` bytes.
inline std::uint16_t pseudo_header_sum(const std::uint8_t* ip, std::uint16_t size) {
  const std::uint8_t rest[] = {0, ip[9], static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
  return ones_sum({ip + 12, 8}, ones_sum(rest));
}

}  // namespace testudo::io
