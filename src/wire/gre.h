// SPDX-License-Identifier: Apache-2.0
// GRE with key and sequence number (RFC 2784, RFC 2890), as XCF data travels in UDP (RFC 8086). Bytes only: what
// key and sequence mean is the sender's and receiver's matter.
//
//   std::array<std::uint8_t, wire::kGreSize> head;
//   wire::build_gre(head, {.key = key, .sequence = high_half});
//   if (auto gre = wire::parse_gre(datagram)) use(gre->key, gre->sequence, gre->payload);
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"

namespace testudo::wire {

inline constexpr std::size_t kGreSize = 12;  // bytes, with key and sequence number
// EtherTypes of the payload.
inline constexpr std::uint16_t kGreProtocolIpv4 = 0x0800;
inline constexpr std::uint16_t kGreProtocolIpv6 = 0x86dd;

[[nodiscard]] constexpr std::uint16_t gre_protocol_of(IpAddress address) {
  return address.is_v4() ? kGreProtocolIpv4 : kGreProtocolIpv6;
}

struct GreFields {
  std::uint32_t key = 0;
  std::uint32_t sequence = 0;
  std::uint16_t protocol = kGreProtocolIpv4;
};

struct GreView : GreFields {
  std::span<const std::uint8_t> payload;
};

void build_gre(std::span<std::uint8_t, kGreSize> out, const GreFields& fields);

/// Nothing unless exactly key and sequence number are present, the version is 0 and no reserved bit is set: nobody
/// but a member of the cluster sends to us, and members send nothing else.
[[nodiscard]] std::optional<GreView> parse_gre(std::span<const std::uint8_t> bytes);

}  // namespace testudo::wire
