// SPDX-License-Identifier: Apache-2.0
// TCP segments over IPv4 and IPv6 for tests of the TUN and raw ports.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "wire/checksum.h"
#include "wire/packet.h"

namespace testudo::io {

inline void put_be(std::uint8_t* p, std::size_t size, std::uint64_t value) {
  for (std::size_t i = size; i-- > 0; value >>= 8) p[i] = static_cast<std::uint8_t>(value);
}

inline std::uint32_t get_be(const std::uint8_t* p, std::size_t size) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | p[i];
  return value;
}

inline bool is_v4(const std::uint8_t* ip) { return ip[0] >> 4 == 4; }
/// Bytes of the IP header, without options or extension headers.
inline std::size_t ip_size(const std::uint8_t* ip) { return is_v4(ip) ? 20 : 40; }
/// Bytes of IP and TCP header.
inline std::size_t headers_size(const std::uint8_t* ip) { return ip_size(ip) + ip[ip_size(ip) + 12] / 16 * 4u; }
inline std::uint8_t protocol(const std::uint8_t* ip) { return is_v4(ip) ? ip[9] : ip[6]; }

/// Of the pseudo header of a packet; `size`: bytes after its IP header.
inline wire::ChecksumSum pseudo_sum(const std::uint8_t* ip, std::size_t size) {
  const auto v6 = [ip](std::size_t at) { return IpAddress(std::span<const std::uint8_t, 16>(ip + at, 16)); };
  const IpAddress source = is_v4(ip) ? IpAddress(get_be(ip + 12, 4)) : v6(8);
  const IpAddress destination = is_v4(ip) ? IpAddress(get_be(ip + 16, 4)) : v6(24);
  return wire::pseudo_header_sum(source, destination, protocol(ip), size);
}

/// Writes the length of an IP packet.
inline void set_length(std::vector<std::uint8_t>& p) {
  if (is_v4(p.data()))
    put_be(&p[2], 2, p.size());
  else
    put_be(&p[4], 2, p.size() - 40);
}

/// Writes the checksums of a TCP packet without IP options.
inline void complete_checksums(std::vector<std::uint8_t>& p) {
  if (is_v4(p.data())) {
    put_be(&p[10], 2, 0);
    put_be(&p[10], 2, wire::checksum({p.data(), 20}));
  }
  const std::size_t at = ip_size(p.data());
  put_be(&p[at + 16], 2, 0);
  const std::span<const std::uint8_t> tcp(p.data() + at, p.size() - at);
  put_be(&p[at + 16], 2, wire::fold(wire::add(pseudo_sum(p.data(), tcp.size()), tcp)));
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
  bool v6 = false;
  std::uint32_t flow_label = 7;   // IPv6
  std::uint8_t next_header = 6;   // IPv6
  std::uint8_t last_address = 2;  // the last byte of the destination

  [[nodiscard]] std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> p = v6 ? v6_header() : v4_header();
    const std::size_t tcp = p.size(), data = tcp + 20 + options;
    p.resize(data + payload);
    set_length(p);
    put_be(&p[tcp], 2, source_port);
    put_be(&p[tcp + 2], 2, 80);
    put_be(&p[tcp + 4], 4, sequence);
    put_be(&p[tcp + 8], 4, acknowledgement);
    p[tcp + 12] = static_cast<std::uint8_t>((20 + options) / 4 << 4);
    p[tcp + 13] = flags;
    put_be(&p[tcp + 14], 2, window);
    for (std::size_t i = tcp + 20; i < data; ++i) p[i] = option;
    for (std::size_t i = data; i < p.size(); ++i) p[i] = static_cast<std::uint8_t>(sequence + i - data);
    complete_checksums(p);
    return p;
  }

 private:
  [[nodiscard]] std::vector<std::uint8_t> v4_header() const {
    std::vector<std::uint8_t> p(20);
    p[0] = 0x45;
    p[1] = traffic_class;
    put_be(&p[4], 2, identification);
    put_be(&p[6], 2, fragment);
    p[8] = ttl;
    p[9] = 6;
    put_be(&p[12], 4, 0x0a000001);
    put_be(&p[16], 4, 0x0a000000 + last_address);
    return p;
  }
  [[nodiscard]] std::vector<std::uint8_t> v6_header() const {
    std::vector<std::uint8_t> p(40);
    put_be(&p[0], 4, 6u << 28 | std::uint32_t{traffic_class} << 20 | flow_label);
    p[6] = next_header;
    p[7] = ttl;
    put_be(&p[8], 2, 0xfd00);
    p[23] = 1;
    put_be(&p[24], 2, 0xfd00);
    p[39] = last_address;
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
  const std::size_t tcp = ip_size(super.data()), header = headers_size(super.data());
  std::vector<std::vector<std::uint8_t>> out;
  const std::uint32_t sequence = get_be(&super[tcp + 4], 4);
  std::uint32_t identification = get_be(&super[4], 2);
  for (std::size_t at = header; at < super.size(); at += segment_size) {
    const auto payload = super.subspan(at, std::min(segment_size, super.size() - at));
    std::vector<std::uint8_t> p(super.begin(), super.begin() + static_cast<std::ptrdiff_t>(header));
    p.insert(p.end(), payload.begin(), payload.end());
    set_length(p);
    if (is_v4(p.data())) put_be(&p[4], 2, identification++);
    put_be(&p[tcp + 4], 4, sequence + at - header);
    if (at + segment_size < super.size()) p[tcp + 13] &= 0xf6;  // PSH and FIN are the last segment's
    complete_checksums(p);
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace testudo::io
