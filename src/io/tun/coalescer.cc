// SPDX-License-Identifier: Apache-2.0
#include "io/tun/coalescer.h"

#include <cstring>
#include <optional>

#include "wire/checksum.h"

namespace testudo::io {
namespace {

constexpr std::size_t kV4Size = 20;        // bytes; with options nothing is joined
constexpr std::size_t kV6Size = 40;        // bytes; with extension headers nothing is joined
constexpr std::size_t kTcpSize = 20;       // bytes, without options
constexpr std::size_t kJoinedMax = 65535;  // bytes, headers included
constexpr std::uint8_t kTcp = 6;           // protocol
constexpr std::uint8_t kAck = 0x10, kPsh = 0x08;

std::uint16_t be16(const std::uint8_t* p) { return static_cast<std::uint16_t>(p[0] << 8 | p[1]); }
std::uint32_t be32(const std::uint8_t* p) { return std::uint32_t{be16(p)} << 16 | be16(p + 2); }
void put16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}

bool is_v4(const std::uint8_t* ip) { return ip[0] >> 4 == 4; }
std::size_t ip_size_of(const std::uint8_t* ip) { return is_v4(ip) ? kV4Size : kV6Size; }

/// A segment that is fit to be joined to others.
struct Segment {
  const std::uint8_t* ip = nullptr;
  std::size_t ip_size = 0;  // bytes
  std::size_t header = 0;   // bytes, IP and TCP
  std::size_t payload = 0;  // bytes
  [[nodiscard]] const std::uint8_t* tcp() const { return ip + ip_size; }
  [[nodiscard]] std::uint32_t sequence() const { return be32(tcp() + 4); }
  [[nodiscard]] bool push() const { return (tcp()[13] & kPsh) != 0; }
};

/// Of the pseudo header; `size`: bytes of TCP header and payload.
wire::ChecksumSum pseudo_sum(const std::uint8_t* ip, std::size_t size) {
  // Both addresses, wherever the version has them: words of a sum, whatever they mean.
  const auto addresses = is_v4(ip) ? std::span(ip + 12, 8) : std::span(ip + 8, 32);
  return wire::add(wire::ChecksumSum{kTcp} + size, addresses);
}

bool checksum_correct(const Segment& s) {
  const std::size_t size = s.header - s.ip_size + s.payload;
  return wire::fold(wire::add(pseudo_sum(s.ip, size), {s.tcp(), size})) == 0;
}

bool plain_v4(const std::uint8_t* ip, std::size_t size) {
  const bool whole = (be16(ip + 6) & 0xbfff) == 0;  // neither MF nor an offset nor the reserved bit
  return ip[0] == 0x45 && be16(ip + 2) == size && ip[9] == kTcp && whole && wire::checksum({ip, kV4Size}) == 0;
}

bool plain_v6(const std::uint8_t* ip, std::size_t size) {
  return ip[0] >> 4 == 6 && kV6Size + be16(ip + 4) == size && ip[6] == kTcp;
}

std::optional<Segment> segment_of(const wire::Outgoing& o) {
  if (o.head_size != 0 || o.segment_size != 0 || o.body_size < kV4Size + kTcpSize) return std::nullopt;
  const std::uint8_t* ip = o.body;
  const std::size_t ip_size = ip_size_of(ip);
  if (o.body_size < ip_size + kTcpSize) return std::nullopt;
  if (!(is_v4(ip) ? plain_v4(ip, o.body_size) : plain_v6(ip, o.body_size))) return std::nullopt;
  const std::uint8_t* tcp = ip + ip_size;
  const std::size_t header = ip_size + std::size_t{tcp[12]} / 16 * 4;
  const bool flags = (tcp[12] & 0x0f) == 0 && (tcp[13] & ~kPsh) == kAck;
  if (!flags || header < ip_size + kTcpSize || header >= o.body_size) return std::nullopt;
  const Segment s{.ip = ip, .ip_size = ip_size, .header = header, .payload = o.body_size - header};
  return checksum_correct(s) ? std::optional(s) : std::nullopt;
}

bool same_ip(const std::uint8_t* a, const std::uint8_t* b) {
  if (is_v4(a) != is_v4(b)) return false;
  if (is_v4(a)) {
    return std::memcmp(a, b, 2) == 0 &&          // version, header length, traffic class
           std::memcmp(a + 6, b + 6, 4) == 0 &&  // DF, TTL, protocol
           std::memcmp(a + 12, b + 12, 8) == 0;  // addresses
  }
  return std::memcmp(a, b, 4) == 0 &&             // version, traffic class, flow label
         std::memcmp(a + 6, b + 6, 2 + 32) == 0;  // next header, hop limit, addresses
}

bool same_flow(const Segment& a, const Segment& b) {
  return same_ip(a.ip, b.ip) && a.header == b.header && std::memcmp(a.tcp(), b.tcp(), 4) == 0 &&  // ports
         std::memcmp(a.tcp() + 8, b.tcp() + 8, 5) == 0 &&                          // acknowledgement, header length
         std::memcmp(a.tcp() + 14, b.tcp() + 14, 2) == 0 &&                        // window
         std::memcmp(a.tcp() + 18, b.tcp() + 18, a.header - a.ip_size - 18) == 0;  // urgent pointer, options
}

/// IPv4 without DF: what may be fragmented on its way must be told apart by its identification.
bool identified(const std::uint8_t* a, const std::uint8_t* b) {
  const bool any = !is_v4(a) || (a[6] & 0x40) != 0;
  return any || static_cast<std::uint16_t>(be16(a + 4) + 1) == be16(b + 4);
}

bool follows(const Segment& a, const Segment& b) {
  return identified(a.ip, b.ip) && a.sequence() + static_cast<std::uint32_t>(a.payload) == b.sequence();
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
  ip_size_ = ip_size_of(first);
  size_ = ip_size_ + std::size_t{first[ip_size_ + 12]} / 16 * 4;
  segment_size_ = static_cast<std::uint16_t>(run.front().body_size - size_);
  std::memcpy(bytes_.data(), first, size_);
  std::size_t total = size_;
  for (const wire::Outgoing& o : run) total += o.body_size - size_;
  std::uint8_t* ip = bytes_.data();
  if (is_v4(ip)) {
    put16(ip + 2, static_cast<std::uint16_t>(total));
    put16(ip + 10, 0);
    put16(ip + 10, wire::checksum({ip, kV4Size}));
  } else {
    put16(ip + 4, static_cast<std::uint16_t>(total - kV6Size));
  }
  std::uint8_t* tcp = ip + ip_size_;
  tcp[13] |= run.back().body[ip_size_ + 13];  // PSH of the last
  put16(tcp + 16, wire::partial_checksum(pseudo_sum(ip, total - ip_size_)));
}

}  // namespace testudo::io
