// SPDX-License-Identifier: Apache-2.0
// Packets of either family, and pieces of them as a router or a sending host makes them. Shared by tests.
//
//   const Bytes whole = packet_to_cut(v6, 3000, 1);
//   const Bytes first = fragment_of(whole, 0, 1000, id);     // of what follows the IP header
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "wire/checksum.h"
#include "wire/ip.h"

namespace testudo::distributor {

using Bytes = std::vector<std::uint8_t>;

/// Only headers with `options` bytes of options (IPv4) or destination options before a routing header (IPv6: a
/// multiple of 8, from 16 on) are more than an IP header.
inline Bytes packet_to_cut(bool v6, std::size_t payload, std::uint8_t seed, std::size_t options = 0,
                           std::uint32_t id = 7) {
  const IpAddress source = v6 ? *IpAddress::parse("2001:db8:1::1") : IpAddress(0x0a010001);
  const IpAddress destination = v6 ? *IpAddress::parse("2001:db8::100") : IpAddress(0xc0000264);
  const std::size_t head = wire::ip_header_size(source);
  Bytes bytes(head + options + payload);
  wire::build_ip(bytes,
                 {.source = source,
                  .destination = destination,
                  .protocol = 17,
                  .id = static_cast<std::uint16_t>(id),
                  .dont_fragment = false},
                 options + payload);
  for (std::size_t i = 0; i < payload; ++i) bytes[head + options + i] = static_cast<std::uint8_t>(i * 7 + seed);
  if (options == 0) return bytes;
  if (v6) {
    bytes[6] = wire::kProtocolHopByHop;
    bytes[40] = 17;
    bytes[41] = static_cast<std::uint8_t>(options / 8 - 1);
    bytes[42] = 1;  // PadN
    bytes[43] = static_cast<std::uint8_t>(options - 4);
  } else {
    std::memset(bytes.data() + 20, 1, options);  // no operation
    bytes[0] = static_cast<std::uint8_t>(0x40 | (20 + options) / 4);
    bytes[10] = bytes[11] = 0;
    const Be<std::uint16_t> sum(wire::checksum(std::span(bytes).first(20 + options)));
    std::memcpy(bytes.data() + 10, &sum, 2);
  }
  return bytes;
}

/// Bytes [from, to) of what follows the headers; the last one unless `to` is before the end.
inline Bytes fragment_of(const Bytes& whole, std::size_t from, std::size_t to, std::uint32_t id) {
  const auto ip = wire::parse_ip(whole);
  CHECK(ip && from % 8 == 0);
  const std::size_t head = ip->header_size(), size = to - from;
  const bool more = head + to < whole.size();
  Bytes out(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(head));
  if (ip->is_v4()) {
    auto& header = *reinterpret_cast<wire::Ipv4Header*>(out.data());
    header.total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(head + size));
    header.id = Be<std::uint16_t>(static_cast<std::uint16_t>(id));
    header.flags_offset =
        Be<std::uint16_t>(static_cast<std::uint16_t>(from / 8 | (more ? wire::kMoreFragments : 0)));
    header.checksum = Be<std::uint16_t>(0);
    header.checksum = Be<std::uint16_t>(wire::checksum(out));
  } else {
    reinterpret_cast<wire::Ipv6Header*>(out.data())->payload_length =
        Be<std::uint16_t>(static_cast<std::uint16_t>(head - 40 + 8 + size));
    wire::Ipv6Fragment fragment;
    fragment.next_header = out[ip->protocol_at()];
    fragment.offset_more = Be<std::uint16_t>(static_cast<std::uint16_t>(from | (more ? 1u : 0u)));
    fragment.id = Be<std::uint32_t>(id);
    out[ip->protocol_at()] = wire::kProtocolFragment;
    const auto* at = reinterpret_cast<const std::uint8_t*>(&fragment);
    out.insert(out.end(), at, at + sizeof fragment);
  }
  const auto data = whole.begin() + static_cast<std::ptrdiff_t>(head);
  out.insert(out.end(), data + static_cast<std::ptrdiff_t>(from), data + static_cast<std::ptrdiff_t>(to));
  return out;
}

/// Makes it the fragment at another offset, in bytes.
inline void shift(Bytes& fragment, std::size_t offset) {
  const auto ip = wire::parse_ip(fragment);
  CHECK(ip && ip->is_fragment());
  if (ip->is_v4()) {
    auto& header = *reinterpret_cast<wire::Ipv4Header*>(fragment.data());
    const bool more = ip->more_fragments();
    header.flags_offset =
        Be<std::uint16_t>(static_cast<std::uint16_t>(offset / 8 | (more ? wire::kMoreFragments : 0)));
  } else {
    const Be<std::uint16_t> field(static_cast<std::uint16_t>(offset | (ip->more_fragments() ? 1u : 0u)));
    std::memcpy(fragment.data() + ip->header_size() - 6, &field, 2);
  }
}

}  // namespace testudo::distributor
