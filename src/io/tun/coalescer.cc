// SPDX-License-Identifier: Apache-2.0
#include "io/tun/coalescer.h"

#include <cstring>
#include <optional>

#include "wire/checksum.h"

namespace testudo::io {
namespace {

constexpr std::size_t kIpSize = 20;        // bytes; with options nothing is joined
constexpr std::size_t kJoinedMax = 65535;  // bytes, an IPv4 total length
constexpr std::uint8_t kAck = 0x10, kPsh = 0x08;

std::uint16_t be16(const std::uint8_t* p) { return static_cast<std::uint16_t>(p[0] << 8 | p[1]); }
std::uint32_t be32(const std::uint8_t* p) { return std::uint32_t{be16(p)} << 16 | be16(p + 2); }
void put16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}

/// A segment that is fit to be joined to others.
struct Segment {
  const std::uint8_t* ip = nullptr;
  std::size_t header = 0;   // bytes, IP and TCP
  std::size_t payload = 0;  // bytes
  [[nodiscard]] const std::uint8_t* tcp() const { return ip + kIpSize; }
  [[nodiscard]] std::uint32_t sequence() const { return be32(tcp() + 4); }
  [[nodiscard]] bool push() const { return (tcp()[13] & kPsh) != 0; }
  [[nodiscard]] bool may_not_fragment() const { return (ip[6] & 0x40) != 0; }
};

/// Of the pseudo header; `size`: bytes of TCP header and payload.
wire::ChecksumSum pseudo_sum(const std::uint8_t* ip, std::size_t size) {
  return wire::pseudo_header_sum(IpAddress(be32(ip + 12)), IpAddress(be32(ip + 16)), ip[9], size);
}

bool checksum_correct(const Segment& s) {
  const std::size_t size = s.header - kIpSize + s.payload;
  return wire::fold(wire::add(pseudo_sum(s.ip, size), {s.tcp(), size})) == 0;
}

std::optional<Segment> segment_of(const wire::Outgoing& o) {
  if (o.head_size != 0 || o.segment_size != 0 || o.body_size < kIpSize + 20) return std::nullopt;
  const std::uint8_t* ip = o.body;
  const bool plain_ip = ip[0] == 0x45 && be16(ip + 2) == o.body_size && ip[9] == 6;
  const bool whole = (be16(ip + 6) & 0xbfff) == 0;  // neither MF nor an offset nor the reserved bit
  if (!plain_ip || !whole) return std::nullopt;
  const std::uint8_t* tcp = ip + kIpSize;
  const std::size_t header = kIpSize + std::size_t{tcp[12]} / 16 * 4;
  const bool flags = (tcp[12] & 0x0f) == 0 && (tcp[13] & ~kPsh) == kAck;
  if (!flags || header < kIpSize + 20 || header >= o.body_size) return std::nullopt;
  const Segment s{.ip = ip, .header = header, .payload = o.body_size - header};
  if (wire::checksum({ip, kIpSize}) != 0 || !checksum_correct(s)) return std::nullopt;
  return s;
}

bool same_flow(const Segment& a, const Segment& b) {
  const bool ip = std::memcmp(a.ip, b.ip, 2) == 0 &&          // version, header length, traffic class
                  std::memcmp(a.ip + 6, b.ip + 6, 4) == 0 &&  // DF, TTL, protocol
                  std::memcmp(a.ip + 12, b.ip + 12, 8) == 0;  // addresses
  const bool tcp =
      a.header == b.header && std::memcmp(a.tcp(), b.tcp(), 4) == 0 &&        // ports
      std::memcmp(a.tcp() + 8, b.tcp() + 8, 5) == 0 &&                        // acknowledgement, header length
      std::memcmp(a.tcp() + 14, b.tcp() + 14, 2) == 0 &&                      // window
      std::memcmp(a.tcp() + 18, b.tcp() + 18, a.header - kIpSize - 18) == 0;  // urgent pointer, options
  return ip && tcp;
}

bool follows(const Segment& a, const Segment& b) {
  const bool identification =
      a.may_not_fragment() || static_cast<std::uint16_t>(be16(a.ip + 4) + 1) == be16(b.ip + 4);
  return identification && a.sequence() + static_cast<std::uint32_t>(a.payload) == b.sequence();
}

}  // namespace

std::size_t joinable(std::span<const wire::Outgoing> burst) {
  const std::optional<Segment> first = segment_of(burst.front());
  if (!first) return 1;
  Segment last = *first;
  std::size_t total = first->header + first->payload;
  std::size_t n = 1;
  while (n < burst.size() && n < kJoinedSegmentsMax && last.payload == first->payload && !last.push()) {
    const std::optional<Segment> next = segment_of(burst[n]);
    if (!next || next->payload > first->payload || total + next->payload > kJoinedMax) break;
    if (!same_flow(*first, *next) || !follows(last, *next)) break;
    total += next->payload;
    last = *next;
    ++n;
  }
  return n;
}

JoinedHeader::JoinedHeader(std::span<const wire::Outgoing> run) {
  const std::uint8_t* first = run.front().body;
  size_ = kIpSize + std::size_t{first[kIpSize + 12]} / 16 * 4;
  segment_size_ = static_cast<std::uint16_t>(run.front().body_size - size_);
  std::memcpy(bytes_.data(), first, size_);
  std::size_t total = size_;
  for (const wire::Outgoing& o : run) total += o.body_size - size_;
  std::uint8_t* ip = bytes_.data();
  put16(ip + 2, static_cast<std::uint16_t>(total));
  put16(ip + 10, 0);
  put16(ip + 10, wire::checksum({ip, kIpSize}));
  std::uint8_t* tcp = ip + kIpSize;
  tcp[13] |= run.back().body[kIpSize + 13];  // PSH of the last
  put16(tcp + 16, wire::partial_checksum(pseudo_sum(ip, total - kIpSize)));
}

}  // namespace testudo::io
