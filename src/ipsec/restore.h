// SPDX-License-Identifier: Apache-2.0
// What decapsulation changes in IP packets: the header of transport mode made right again, congestion marks carried
// inwards, checksums renewed behind a NAT.
#pragma once

#include <cstdint>
#include <span>

#include "wire/ip.h"

namespace testudo::ipsec {

/// Sets the ECN field of a whole IP packet, and mends IPv4's checksum (RFC 1624).
void set_ecn(std::span<std::uint8_t> packet, std::uint8_t ecn);

/// Moves the headers `head` (to the byte before AH or ESP) up to `text` behind them, and makes protocol, length and
/// checksum those of a packet that carries `protocol`. Returns the packet.
[[nodiscard]] std::span<std::uint8_t> restore_header(std::span<std::uint8_t> head, std::span<std::uint8_t> text,
                                                     std::uint8_t protocol);

/// Writes a fresh header before `text`, where there is room for it. Returns the packet; empty, if the two together
/// are larger than a packet can be.
[[nodiscard]] std::span<std::uint8_t> write_header(const wire::IpFields& fields, std::span<std::uint8_t> text);

/// Computes the checksum of a TCP, UDP or ICMPv6 `segment` within `packet` anew (RFC 3948 section 3.1.2). A UDP
/// checksum of 0 stays 0 in IPv4. Other protocols are left alone.
void renew_checksum(std::span<const std::uint8_t> packet, std::span<std::uint8_t> segment, std::uint8_t protocol);

}  // namespace testudo::ipsec
