// SPDX-License-Identifier: Apache-2.0
// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//
//   header.checksum = Be<std::uint16_t>(checksum(header_bytes));                       // field zero before
//   const auto pseudo = pseudo_header_sum(source, destination, kProtocolTcp, segment.size());
//   tcp.checksum = Be<std::uint16_t>(fold(add(pseudo, segment)));                      // field zero before
//
// A sum is a running one's complement sum in 64 bits, not yet folded; it counts 16-bit words in host byte order.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"

namespace testudo::wire {

/// A part of a sum. Every part but the last must have an even number of bytes.
using ChecksumSum = std::uint64_t;

/// `sum` plus the big endian 16-bit words of `bytes`; an odd last byte counts as if a zero followed.
[[nodiscard]] ChecksumSum add(ChecksumSum sum, std::span<const std::uint8_t> bytes);

/// The folded sum without its complement, host byte order: what goes into the checksum field of a packet whose
/// checksum a device or the kernel completes (over the pseudo header only: VIRTIO_NET_HDR_F_NEEDS_CSUM).
[[nodiscard]] constexpr std::uint16_t partial_checksum(ChecksumSum sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

/// The one's complement of the folded sum: what goes into the checksum field, host byte order.
[[nodiscard]] constexpr std::uint16_t fold(ChecksumSum sum) {
  return static_cast<std::uint16_t>(~partial_checksum(sum));
}

/// Of a whole header or message. 0 over bytes that contain a right checksum.
[[nodiscard]] inline std::uint16_t checksum(std::span<const std::uint8_t> bytes) { return fold(add(0, bytes)); }

/// Pseudo header of TCP, UDP (RFC 9293 section 3.1) and ICMPv6 (RFC 8200 section 8.1) over either version of IP,
/// which is the addresses'. `length`: bytes of transport header and payload.
[[nodiscard]] constexpr ChecksumSum pseudo_header_sum(IpAddress source, IpAddress destination,
                                                      std::uint8_t protocol, std::size_t length) {
  // One's complement: 32-bit halves count as well as 16-bit words.
  const auto halves = [](std::uint64_t word) { return (word >> 32) + (word & 0xffffffff); };
  const auto sum = [&](IpAddress a) {
    return a.is_v4() ? std::uint64_t{a.v4()} : halves(a.high()) + halves(a.low());
  };
  return sum(source) + sum(destination) + std::uint64_t{protocol} + length;
}

/// The checksum after one 16-bit word has changed (RFC 1624 equation 3). All in host byte order.
[[nodiscard]] constexpr std::uint16_t update_checksum(std::uint16_t checksum, std::uint16_t old_word,
                                                      std::uint16_t new_word) {
  const std::uint32_t sum =
      std::uint32_t{static_cast<std::uint16_t>(~checksum)} + static_cast<std::uint16_t>(~old_word) + new_word;
  return fold(sum);
}

}  // namespace testudo::wire
