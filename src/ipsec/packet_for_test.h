// SPDX-License-Identifier: Apache-2.0
// Plain IP packets of both families for tests, right to the last checksum.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "wire/checksum.h"
#include "wire/ip.h"
#include "wire/tcp.h"

namespace testudo::ipsec {

using Bytes = std::vector<std::uint8_t>;

/// A TCP segment with its checksum.
inline Bytes tcp_segment(IpAddress source, IpAddress destination, std::size_t payload) {
  Bytes bytes(wire::kTcpHeaderSize + payload);
  wire::TcpHeader tcp;
  tcp.source_port = Be<std::uint16_t>(40'000);
  tcp.destination_port = Be<std::uint16_t>(443);
  tcp.flags = wire::kTcpAck;
  std::memcpy(bytes.data(), &tcp, sizeof tcp);
  for (std::size_t i = 0; i < payload; ++i) bytes[sizeof tcp + i] = static_cast<std::uint8_t>(i * 7 + 1);
  const auto sum = wire::pseudo_header_sum(source, destination, wire::kProtocolTcp, bytes.size());
  const Be<std::uint16_t> checksum(wire::fold(wire::add(sum, bytes)));
  std::memcpy(bytes.data() + offsetof(wire::TcpHeader, checksum), &checksum, sizeof checksum);
  return bytes;
}

/// A packet of `fields` and what follows. `options`: of IPv4, a multiple of 4 bytes; of IPv6, whole extension
/// headers, the first of which has the number `first`, and whose last one names the protocol.
inline Bytes ip_packet(wire::IpFields fields, const Bytes& payload, const Bytes& options = {},
                       std::uint8_t first = 0) {
  if (fields.source.is_v6() && !options.empty()) fields.protocol = first;
  Bytes bytes(wire::ip_header_size(fields.source));
  wire::build_ip(bytes, fields, options.size() + payload.size());
  bytes.insert(bytes.end(), options.begin(), options.end());
  if (fields.source.is_v4() && !options.empty()) {
    bytes[0] = static_cast<std::uint8_t>(0x40 | bytes.size() / 4);
    auto& ip = *reinterpret_cast<wire::Ipv4Header*>(bytes.data());
    ip.checksum = Be<std::uint16_t>(0);
    ip.checksum = Be<std::uint16_t>(wire::checksum(bytes));
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

inline Bytes tcp_packet(IpAddress source, IpAddress destination, std::size_t payload, const Bytes& options = {},
                        std::uint8_t first = 0) {
  return ip_packet({.source = source, .destination = destination, .protocol = wire::kProtocolTcp},
                   tcp_segment(source, destination, payload), options, first);
}

}  // namespace testudo::ipsec
