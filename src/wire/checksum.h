// SPDX-License-Identifier: Apache-2.0
// The internet checksum (RFC 1071) of IPv4, TCP and UDP.
//
//   header.checksum = wire::checksum(header_bytes);                       // its checksum field is zero
//   tcp.checksum = wire::finish(wire::sum(segment, wire::pseudo_header(src, dst, 6, segment.size())));
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"

namespace testudo::wire {

/// Adds bytes, as big-endian 16-bit words, to a running sum. Only the last piece may have an odd number of bytes.
[[nodiscard]] std::uint64_t sum(std::span<const std::uint8_t> bytes, std::uint64_t start = 0);

/// The sum over the IPv4 pseudo header of TCP and UDP (RFC 9293 section 3.1). `length` in bytes, of the TCP or UDP
/// part.
[[nodiscard]] std::uint64_t pseudo_header(Ipv4Address source, Ipv4Address destination, std::uint8_t protocol,
                                          std::size_t length);

/// Folds a sum to the checksum, host byte order.
[[nodiscard]] std::uint16_t finish(std::uint64_t sum);

/// Of one piece: 0 over bytes that contain a correct checksum.
[[nodiscard]] inline std::uint16_t checksum(std::span<const std::uint8_t> bytes) { return finish(sum(bytes)); }

}  // namespace testudo::wire
