// SPDX-License-Identifier: Apache-2.0
// TCP and UDP headers (RFC 9293, RFC 768), and the five values that name a flow.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"
#include "base/byte_order.h"
#include "wire/ipv4.h"

namespace testudo::wire {

struct TcpHeader {
  Be<std::uint16_t> source_port;
  Be<std::uint16_t> destination_port;
  Be<std::uint32_t> sequence;
  Be<std::uint32_t> acknowledgement;
  std::uint8_t data_offset;  // high half: header length in units of 4 bytes
  std::uint8_t flags;
  Be<std::uint16_t> window;
  Be<std::uint16_t> checksum;
  Be<std::uint16_t> urgent;
};
static_assert(sizeof(TcpHeader) == 20 && alignof(TcpHeader) == 1);

inline constexpr std::uint8_t kTcpFin = 1, kTcpSyn = 2, kTcpRst = 4, kTcpPsh = 8, kTcpAck = 16, kTcpCwr = 128;

struct UdpHeader {
  Be<std::uint16_t> source_port;
  Be<std::uint16_t> destination_port;
  Be<std::uint16_t> length;
  Be<std::uint16_t> checksum;
};
static_assert(sizeof(UdpHeader) == 8);

/// The fixed part of a TCP header if it is all there; nullptr if not. Options may be missing.
[[nodiscard]] inline const TcpHeader* parse_tcp(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < sizeof(TcpHeader)) return nullptr;
  const auto* header = reinterpret_cast<const TcpHeader*>(bytes.data());
  return (header->data_offset >> 4) < 5 ? nullptr : header;
}

/// Addresses, protocol and ports of one packet. Ports are 0 where the protocol has none.
struct FiveTuple {
  Ipv4Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t protocol = 0;
  friend auto operator<=>(const FiveTuple&, const FiveTuple&) = default;
};

/// Nothing if the packet is a fragment, or TCP or UDP with its ports missing.
[[nodiscard]] inline std::optional<FiveTuple> five_tuple(const Ipv4View& ip) {
  FiveTuple tuple{.source = ip.source(), .destination = ip.destination(), .protocol = ip.protocol()};
  if (ip.is_fragment()) return std::nullopt;
  if (ip.protocol() == kProtocolTcp || ip.protocol() == kProtocolUdp) {
    const auto payload = ip.payload();
    if (payload.size() < 4) return std::nullopt;
    tuple.source_port = static_cast<std::uint16_t>(payload[0] << 8 | payload[1]);
    tuple.destination_port = static_cast<std::uint16_t>(payload[2] << 8 | payload[3]);
  }
  return tuple;
}

}  // namespace testudo::wire
