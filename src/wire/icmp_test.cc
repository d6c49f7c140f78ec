// SPDX-License-Identifier: Apache-2.0
#include "wire/icmp.h"

#include <gtest/gtest.h>

#include <vector>

#include "wire/checksum.h"

namespace testudo::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Pair {
  IpAddress a, b;
};
const Pair kPairs[] = {{*IpAddress::parse("192.0.2.100"), *IpAddress::parse("10.0.0.1")},
                       {*IpAddress::parse("2001:db8::100"), *IpAddress::parse("2001:db8:1::1")}};

Bytes packet(const Pair& pair, std::size_t payload) {
  Bytes bytes(ip_header_size(pair.a) + payload, 0x5a);
  build_ip(bytes, {.source = pair.a, .destination = pair.b, .protocol = kProtocolUdp}, payload);
  return bytes;
}

TEST(Icmp, WhatIsBuiltIsParsed) {
  for (const Pair& pair : kPairs) {
    for (const std::size_t payload : {8u, 100u, 3000u}) {
      const Bytes about = packet(pair, payload);
      IcmpRoom room;
      const std::size_t size = build_too_big(room, *parse_ip(about), 1380);
      EXPECT_LE(size, pair.a.is_v4() ? 576u : 1280u);
      const auto ip = parse_ip(std::span(room).first(size));
      ASSERT_TRUE(ip);
      EXPECT_EQ(ip->source(), pair.b);
      EXPECT_EQ(ip->destination(), pair.a);
      const ChecksumSum pseudo =
          pair.a.is_v4() ? 0 : pseudo_header_sum(pair.b, pair.a, kProtocolIcmpv6, ip->payload().size());
      EXPECT_EQ(fold(add(pseudo, ip->payload())), 0);
      const auto error = parse_icmp_error(*ip);
      ASSERT_TRUE(error);
      EXPECT_TRUE(error->too_big);
      EXPECT_EQ(error->mtu, 1380u);
      EXPECT_EQ(error->enclosed.source(), pair.a);
      EXPECT_EQ(error->enclosed.total_size(), about.size());
      EXPECT_GE(error->enclosed.payload().size(), 8u);
    }
  }
}

TEST(Icmp, OnlyErrorsWithAWholeHeaderInside) {
  for (const Pair& pair : kPairs) {
    IcmpRoom room;
    const std::size_t size = build_too_big(room, *parse_ip(packet(pair, 100)), 1380);
    const std::size_t at = ip_header_size(pair.a);
    const auto parsed = [&](std::size_t bytes) {
      Bytes copy(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(size));
      copy.resize(bytes);
      build_ip(copy, {.source = pair.b, .destination = pair.a, .protocol = parse_ip(room)->protocol()}, bytes - at);
      return parse_icmp_error(*parse_ip(copy));
    };
    EXPECT_TRUE(parsed(size));
    EXPECT_FALSE(parsed(at + 7));
    EXPECT_FALSE(parsed(at + 8 + at - 1));
    EXPECT_TRUE(parsed(at + 8 + at));
    room[at] = pair.a.is_v4() ? 11 : 3;
    ASSERT_TRUE(parsed(size));
    EXPECT_FALSE(parsed(size)->too_big);
    room[at] = pair.a.is_v4() ? 8 : 128;  // echo
    EXPECT_FALSE(parsed(size));
  }
}

}  // namespace
}  // namespace testudo::wire
