// SPDX-License-Identifier: Apache-2.0
// The IPv6 header and its extension headers as they lie on the wire (RFC 8200). wire/ip.h parses and builds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/byte_order.h"

namespace testudo::wire {

inline constexpr std::uint8_t kProtocolHopByHop = 0;
inline constexpr std::uint8_t kProtocolIpv6 = 41;
inline constexpr std::uint8_t kProtocolRouting = 43;
inline constexpr std::uint8_t kProtocolFragment = 44;
inline constexpr std::uint8_t kProtocolIcmpv6 = 58;
inline constexpr std::uint8_t kProtocolNoNext = 59;
inline constexpr std::uint8_t kProtocolDestinationOptions = 60;
inline constexpr std::uint8_t kProtocolMobility = 135;

inline constexpr std::size_t kIpv6HeaderSize = 40;    // bytes
inline constexpr std::size_t kIpv6FragmentSize = 8;   // bytes: the fragment header
inline constexpr std::size_t kIpv6ExtensionsMax = 8;  // headers that a walk follows
inline constexpr std::size_t kIpv6MtuMin = 1280;      // bytes (RFC 8200 section 5)

/// As on the wire.
struct Ipv6Header {
  Be<std::uint32_t> version_class_label;  // version (4 bits), traffic class (8), flow label (20)
  Be<std::uint16_t> payload_length;       // bytes, extension headers included
  std::uint8_t next_header = 0;
  std::uint8_t hop_limit = 0;
  std::uint8_t source_bytes[16] = {};
  std::uint8_t destination_bytes[16] = {};

  [[nodiscard]] std::uint8_t traffic_class() const {
    return static_cast<std::uint8_t>(version_class_label.host() >> 20);
  }
  [[nodiscard]] std::uint32_t flow_label() const { return version_class_label.host() & 0xfffff; }
  [[nodiscard]] IpAddress source() const { return IpAddress(std::span<const std::uint8_t, 16>(source_bytes)); }
  [[nodiscard]] IpAddress destination() const {
    return IpAddress(std::span<const std::uint8_t, 16>(destination_bytes));
  }
};
static_assert(sizeof(Ipv6Header) == kIpv6HeaderSize && alignof(Ipv6Header) == 1);

/// What hop-by-hop options, routing header and destination options begin with.
struct Ipv6Extension {
  std::uint8_t next_header = 0;
  std::uint8_t length = 0;  // in units of 8 bytes, without the first
  [[nodiscard]] std::size_t size() const { return (std::size_t{length} + 1) * 8; }
};

struct Ipv6Fragment {
  std::uint8_t next_header = 0;
  std::uint8_t reserved = 0;
  Be<std::uint16_t> offset_more;  // offset in units of 8 bytes (13 bits), reserved (2), more fragments (1)
  Be<std::uint32_t> id;
  [[nodiscard]] std::size_t offset() const { return offset_more.host() & 0xfff8u; }  // bytes
  [[nodiscard]] bool more() const { return (offset_more.host() & 1) != 0; }
};
static_assert(sizeof(Ipv6Fragment) == kIpv6FragmentSize && alignof(Ipv6Fragment) == 1);

}  // namespace testudo::wire
