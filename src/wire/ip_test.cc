// SPDX-License-Identifier: Apache-2.0
// The walk over IPv6's extension headers as a truth table, and that what is built parses.
#include "wire/ip.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "wire/checksum.h"
#include "wire/udp.h"

namespace testudo::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

const IpAddress kA = *IpAddress::parse("2001:db8::1");
const IpAddress kB = *IpAddress::parse("2001:db8::100");

/// An IPv6 packet with these headers, each (kind, size in bytes), then `payload` bytes of `last`.
struct Header {
  std::uint8_t kind;
  std::size_t size = 8;
  std::uint16_t offset_more = 0;  // of a fragment header
};
Bytes packet(const std::vector<Header>& headers, std::uint8_t last, std::size_t payload) {
  std::size_t extensions = 0;
  for (const Header& h : headers) extensions += h.size;
  Bytes bytes(kIpv6HeaderSize + extensions + payload, 0xee);
  build_ip(bytes, {.source = kA, .destination = kB, .protocol = headers.empty() ? last : headers[0].kind},
           extensions + payload);
  std::size_t at = kIpv6HeaderSize;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    bytes[at] = i + 1 < headers.size() ? headers[i + 1].kind : last;
    bytes[at + 1] = static_cast<std::uint8_t>(headers[i].size / 8 - 1);
    if (headers[i].kind == kProtocolFragment) {
      bytes[at + 2] = static_cast<std::uint8_t>(headers[i].offset_more >> 8);
      bytes[at + 3] = static_cast<std::uint8_t>(headers[i].offset_more);
    }
    at += headers[i].size;
  }
  return bytes;
}

TEST(Ip, WalksExtensionHeaders) {
  constexpr std::uint8_t kHop = kProtocolHopByHop, kRoute = kProtocolRouting, kFragment = kProtocolFragment,
                         kOptions = kProtocolDestinationOptions;
  struct Row {
    const char* what;
    Bytes bytes;
    std::uint8_t protocol;
    std::size_t header, protect;  // sizes; header 0: refused
    std::uint8_t protect_protocol = 0;
  };
  const Row rows[] = {
      {"no extension", packet({}, kProtocolTcp, 20), kProtocolTcp, 40, 40, kProtocolTcp},
      {"ESP", packet({}, kProtocolEsp, 40), kProtocolEsp, 40, 40, kProtocolEsp},
      {"AH is not walked over", packet({}, kProtocolAh, 40), kProtocolAh, 40, 40, kProtocolAh},
      {"hop-by-hop", packet({{kHop, 16}}, kProtocolTcp, 20), kProtocolTcp, 56, 56, kProtocolTcp},
      {"options for the destination are protected", packet({{kOptions, 16}}, kProtocolTcp, 20), kProtocolTcp, 56,
       40, kOptions},
      {"options before a routing header are not", packet({{kOptions}, {kRoute}}, kProtocolTcp, 20), kProtocolTcp,
       56, 56, kProtocolTcp},
      {"all of them", packet({{kHop}, {kOptions}, {kRoute, 24}, {kFragment, 8, 0}, {kOptions}}, kProtocolUdp, 8),
       kProtocolUdp, 96, 88, kOptions},
      {"no next header", packet({}, kProtocolNoNext, 0), kProtocolNoNext, 40, 40, kProtocolNoNext},
      {"hop-by-hop in second place", packet({{kOptions}, {kHop}}, kProtocolTcp, 20), 0, 0, 0},
      {"two fragment headers", packet({{kFragment}, {kFragment}}, kProtocolTcp, 20), 0, 0, 0},
      {"eight headers", packet(std::vector<Header>(8, {kOptions}), kProtocolTcp, 20), kProtocolTcp, 104, 40,
       kOptions},
      {"nine headers", packet(std::vector<Header>(9, {kOptions}), kProtocolTcp, 20), 0, 0, 0},
      {"the last header ends behind the packet", packet({{kHop}}, kOptions, 7), 0, 0, 0},
  };
  for (const Row& row : rows) {
    const auto ip = parse_ip(row.bytes);
    ASSERT_EQ(ip.has_value(), row.header != 0) << row.what;
    if (!ip) continue;
    EXPECT_EQ(ip->protocol(), row.protocol) << row.what;
    EXPECT_EQ(ip->header_size(), row.header) << row.what;
    EXPECT_EQ(ip->protect_offset(), row.protect) << row.what;
    EXPECT_EQ(ip->protect_protocol(), row.protect_protocol) << row.what;
    EXPECT_EQ(row.bytes[ip->protocol_at()], row.protocol) << row.what;
    EXPECT_FALSE(ip->is_fragment()) << row.what;
    EXPECT_EQ(ip->payload().size(), row.bytes.size() - row.header) << row.what;
  }
}

TEST(Ip, TellsIpv6Fragments) {
  const auto of = [](std::uint16_t offset_more) {
    return packet({{kProtocolFragment, 8, offset_more}}, kProtocolDestinationOptions, 24);
  };
  EXPECT_FALSE(parse_ip(packet({{kProtocolFragment, 8, 0}}, kProtocolTcp, 20))->is_fragment());  // RFC 6946
  EXPECT_TRUE(parse_ip(packet({{kProtocolFragment, 8, 1}}, kProtocolTcp, 20))->is_fragment());
  const auto later = parse_ip(of(0x0008));
  ASSERT_TRUE(later);  // what follows is not looked at: it is the middle of something
  EXPECT_EQ(later->fragment_offset(), 8u);
  EXPECT_EQ(later->protocol(), kProtocolDestinationOptions);
  EXPECT_EQ(later->header_size(), 48u);
}

TEST(Ip, RefusesMappedAddressesOnTheWire) {
  Bytes bytes = packet({}, kProtocolTcp, 20);
  ASSERT_TRUE(parse_ip(bytes));
  const auto mapped = IpAddress(0xc0000201).bytes();
  for (const std::size_t at : {offsetof(Ipv6Header, source_bytes), offsetof(Ipv6Header, destination_bytes)}) {
    Bytes spoofed = bytes;
    std::copy(mapped.begin(), mapped.end(), spoofed.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_FALSE(parse_ip(spoofed));
  }
}

// An iterative peek asks for more until it has the whole chain, and never for more than there is.
TEST(Ip, AsksForWhatIsMissing) {
  const Bytes bytes = packet({{kProtocolHopByHop, 64}, {kProtocolRouting, 24}, {kProtocolDestinationOptions, 16}},
                             kProtocolTcp, 20);
  std::size_t have = 1, steps = 0;
  for (;; ++steps) {
    const IpPrefixView prefix = parse_ip_prefix(std::span(bytes).first(have));
    if (prefix.view) break;
    ASSERT_GT(prefix.needed, have);
    ASSERT_LE(prefix.needed, bytes.size() - 20);
    have = prefix.needed;
  }
  EXPECT_EQ(have, bytes.size() - 20);
  EXPECT_EQ(steps, 7u);  // the fixed header; then beginning and rest of each extension
}

TEST(Ip, KnowsIpv4) {
  Bytes bytes(40);
  build_ip(bytes,
           {.source = IpAddress(1), .destination = IpAddress(2), .protocol = kProtocolTcp, .traffic_class = 0xb9},
           20);
  const auto ip = parse_ip(bytes);
  ASSERT_TRUE(ip);
  EXPECT_TRUE(ip->is_v4());
  EXPECT_EQ(ip->source(), IpAddress(1));
  EXPECT_EQ(ip->traffic_class(), 0xb9);
  EXPECT_EQ(ip->protect_offset(), 20u);
  EXPECT_EQ(ip->protect_protocol(), kProtocolTcp);
  EXPECT_TRUE(ip->dont_fragment());
  EXPECT_EQ(parse_ip_prefix(std::span(bytes).first(10)).needed, 20u);
  bytes[0] = 0x55;
  EXPECT_FALSE(parse_ip(bytes));
}

RC_GTEST_PROP(Ip, BuiltHeadersParse, ()) {
  const bool v4 = *rc::gen::arbitrary<bool>();
  const auto address = [v4] {
    if (v4) return IpAddress(*rc::gen::arbitrary<std::uint32_t>());
    auto raw = *rc::gen::container<std::vector<std::uint8_t>>(16, rc::gen::arbitrary<std::uint8_t>());
    raw[0] = 0x20;
    return IpAddress(std::span<const std::uint8_t, 16>(raw.data(), 16));
  };
  const IpFields fields{.source = address(),
                        .destination = address(),
                        .protocol = kProtocolUdp,
                        .traffic_class = *rc::gen::arbitrary<std::uint8_t>(),
                        .hop_limit = *rc::gen::arbitrary<std::uint8_t>(),
                        .flow_label = *rc::gen::inRange(0u, 1u << 20)};
  const std::size_t payload = *rc::gen::inRange<std::size_t>(0, 100);
  Bytes bytes(kIpHeaderSizeMax + payload);
  const std::size_t header = build_ip(bytes, fields, payload);
  const auto ip = parse_ip(std::span(bytes).first(header + payload));
  RC_ASSERT(ip.has_value());
  RC_ASSERT(ip->source() == fields.source && ip->destination() == fields.destination);
  RC_ASSERT(ip->traffic_class() == fields.traffic_class && ip->hop_limit() == fields.hop_limit);
  RC_ASSERT(ip->header_size() == header && ip->payload().size() == payload);
}

// The sum over both addresses as 16-bit words, length and protocol, however wide it is added.
TEST(Ip, PseudoHeaderOfBothVersions) {
  for (const IpAddress& a : {IpAddress(0xfffefdfc), *IpAddress::parse("2001:db8:ffff:1:fffe:ffff:8000:1")}) {
    const auto raw = a.to_bytes();
    Bytes pseudo(raw.begin(), raw.end());
    pseudo.insert(pseudo.end(), raw.begin(), raw.end());
    pseudo.insert(pseudo.end(), {0, 0, 0x12, 0x34, 0, 0, 0, kProtocolUdp});
    EXPECT_EQ(fold(pseudo_header_sum(a, a, kProtocolUdp, 0x1234)), checksum(pseudo));
  }
}

}  // namespace
}  // namespace testudo::wire
