// SPDX-License-Identifier: Apache-2.0
// TCP segments for tests of the TUN port.
#pragma once

#include <cstdint>
#include <vector>

#include "wire/checksum.h"
#include "wire/packet.h"

namespace testudo::io {

inline void put_be(std::uint8_t* p, std::size_t size, std::uint64_t value) {
  for (std::size_t i = size; i-- > 0; value >>= 8) p[i] = static_cast<std::uint8_t>(value);
}

inline std::uint32_t get_be32(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

/// Of the pseudo header of an IPv4 packet; `size`: bytes after its 20 bytes of IP header.
inline wire::ChecksumSum pseudo_sum(const std::uint8_t* ip, std::size_t size) {
  return wire::pseudo_header_sum(IpAddress(get_be32(ip + 12)), IpAddress(get_be32(ip + 16)), ip[9], size);
}

/// Writes both checksums of an IPv4 TCP packet without IP options.
inline void complete_checksums(std::vector<std::uint8_t>& p) {
  put_be(&p[10], 2, 0);
  put_be(&p[10], 2, wire::checksum({p.data(), 20}));
  put_be(&p[36], 2, 0);
  const std::span<const std::uint8_t> tcp(p.data() + 20, p.size() - 20);
  put_be(&p[36], 2, wire::fold(wire::add(pseudo_sum(p.data(), tcp.size()), tcp)));
}

struct TcpSegment {
  std::uint32_t sequence = 1000;
  std::size_t payload = 100;
  std::uint8_t flags = 0x10;  // ACK
  std::uint16_t identification = 1;
  std::uint32_t acknowledgement = 5;
  std::uint16_t window = 9;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
  std::uint16_t fragment = 0x4000;  // DF
  std::uint16_t source_port = 1234;
  std::size_t options = 12;  // bytes
  std::uint8_t option = 1;   // what they are filled with

  [[nodiscard]] std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> p(40 + options + payload);
    p[0] = 0x45;
    p[1] = traffic_class;
    put_be(&p[2], 2, p.size());
    put_be(&p[4], 2, identification);
    put_be(&p[6], 2, fragment);
    p[8] = ttl;
    p[9] = 6;
    put_be(&p[12], 4, 0x0a000001);
    put_be(&p[16], 4, 0x0a000002);
    put_be(&p[20], 2, source_port);
    put_be(&p[22], 2, 80);
    put_be(&p[24], 4, sequence);
    put_be(&p[28], 4, acknowledgement);
    p[32] = static_cast<std::uint8_t>((20 + options) / 4 << 4);
    p[33] = flags;
    put_be(&p[34], 2, window);
    for (std::size_t i = 0; i < options; ++i) p[40 + i] = option;
    for (std::size_t i = 40 + options; i < p.size(); ++i) p[i] = static_cast<std::uint8_t>(sequence + i - options);
    complete_checksums(p);
    return p;
  }
};

inline wire::Outgoing outgoing(const std::vector<std::uint8_t>& bytes) {
  wire::Outgoing o;
  o.body = bytes.data();
  o.body_size = static_cast<std::uint32_t>(bytes.size());
  return o;
}

/// What the kernel's TSO makes of a super-segment.
inline std::vector<std::vector<std::uint8_t>> cut(std::span<const std::uint8_t> super, std::size_t segment_size) {
  const std::size_t header = 20 + super[32] / 16 * 4u;
  std::vector<std::vector<std::uint8_t>> out;
  std::uint64_t sequence = 0, identification = super[4] << 8 | super[5];
  for (std::size_t i = 24; i < 28; ++i) sequence = sequence << 8 | super[i];
  for (std::size_t at = header; at < super.size(); at += segment_size) {
    const auto payload = super.subspan(at, std::min(segment_size, super.size() - at));
    std::vector<std::uint8_t> p(super.begin(), super.begin() + static_cast<std::ptrdiff_t>(header));
    p.insert(p.end(), payload.begin(), payload.end());
    put_be(&p[2], 2, p.size());
    put_be(&p[4], 2, identification++);
    put_be(&p[24], 4, sequence + at - header);
    if (at + segment_size < super.size()) p[33] &= 0xf6;  // PSH and FIN are the last segment's
    complete_checksums(p);
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace testudo::io
