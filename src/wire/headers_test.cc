// SPDX-License-Identifier: Apache-2.0
// Truth tables of the header parsers, and that what is built parses.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "wire/checksum.h"
#include "wire/esp.h"
#include "wire/gre.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr IpAddress kA(0xc0000201);
constexpr IpAddress kB(0xc0000264);

Bytes ipv4(std::uint8_t version_ihl, std::uint16_t total, std::size_t present, std::uint16_t flags_offset = 0) {
  Bytes bytes(std::max<std::size_t>(present, kIpv4HeaderSize));
  build_ipv4(std::span(bytes).first<kIpv4HeaderSize>(), {.source = kA, .destination = kB, .protocol = kProtocolTcp},
             0);
  auto* header = reinterpret_cast<Ipv4Header*>(bytes.data());
  header->version_ihl = version_ihl;
  header->total_length = Be<std::uint16_t>(total);
  header->flags_offset = Be<std::uint16_t>(flags_offset);
  bytes.resize(present);
  return bytes;
}

TEST(Ipv4, ChecksEveryLength) {
  struct Row {
    const char* what;
    Bytes bytes;
    bool whole, prefix;  // parse_ipv4(), parse_ipv4_prefix()
    std::size_t payload = 0;
  };
  const Row rows[] = {
      {"nothing", {}, false, false},
      {"19 bytes", ipv4(0x45, 19, 19), false, false},
      {"a bare header", ipv4(0x45, 20, 20), true, true, 0},
      {"version 6", ipv4(0x65, 20, 20), false, false},
      {"version 0", ipv4(0x05, 20, 20), false, false},
      {"header of 16 bytes", ipv4(0x44, 20, 20), false, false},
      {"header of 0 bytes", ipv4(0x40, 20, 20), false, false},
      {"header of 24 bytes, of which 20 are there", ipv4(0x46, 24, 20), false, false},
      {"header of 24 bytes", ipv4(0x46, 24, 24), true, true, 0},
      {"header of 60 bytes", ipv4(0x4f, 64, 64), true, true, 4},
      {"total length less than the header", ipv4(0x46, 23, 64), false, false},
      {"total length 0", ipv4(0x45, 0, 64), false, false},
      {"total length is one more than there is", ipv4(0x45, 41, 40), false, true, 20},
      {"one byte after the total length", ipv4(0x45, 39, 40), true, true, 19},
  };
  for (const Row& row : rows) {
    const auto whole = parse_ipv4(row.bytes);
    const auto prefix = parse_ipv4_prefix(row.bytes);
    ASSERT_EQ(whole.has_value(), row.whole) << row.what;
    ASSERT_EQ(prefix.has_value(), row.prefix) << row.what;
    if (prefix) {
      EXPECT_EQ(prefix->payload().size(), row.payload) << row.what;
    }
  }
}

TEST(Ipv4, TellsFragments) {
  struct Row {
    std::uint16_t flags_offset;
    bool fragment, first, dont_fragment;
  };
  for (const Row& row :
       {Row{0, false, false, false}, Row{0x4000, false, false, true}, Row{0x2000, true, true, false},
        Row{0x2001, true, false, false}, Row{0x0001, true, false, false}, Row{0x1fff, true, false, false},
        Row{0x8000, false, false, false}}) {
    const Bytes bytes = ipv4(0x45, 20, 20, row.flags_offset);
    const auto ip = parse_ipv4(bytes);
    ASSERT_TRUE(ip.has_value());
    EXPECT_EQ(ip->is_fragment(), row.fragment) << row.flags_offset;
    EXPECT_EQ(ip->is_first_fragment(), row.first) << row.flags_offset;
    EXPECT_EQ(ip->dont_fragment(), row.dont_fragment) << row.flags_offset;
  }
}

RC_GTEST_PROP(Ipv4, BuiltHeadersParse, (std::uint16_t id, std::uint8_t traffic_class, bool dont_fragment)) {
  const auto payload = *rc::gen::inRange<std::size_t>(0, 1500);
  Bytes bytes(kIpv4HeaderSize + payload);
  build_ipv4(std::span(bytes).first<kIpv4HeaderSize>(),
             {.source = kA,
              .destination = kB,
              .protocol = kProtocolEsp,
              .id = id,
              .traffic_class = traffic_class,
              .dont_fragment = dont_fragment,
              .ttl = 63},
             payload);
  const auto ip = parse_ipv4(bytes);
  RC_ASSERT(ip.has_value());
  RC_ASSERT(ip->checksum_is_right());
  RC_ASSERT(ip->source() == kA && ip->destination() == kB && ip->protocol() == kProtocolEsp);
  RC_ASSERT(ip->header().id.host() == id && ip->header().traffic_class == traffic_class && ip->header().ttl == 63);
  RC_ASSERT(ip->dont_fragment() == dont_fragment && !ip->is_fragment());
  RC_ASSERT(ip->payload().size() == payload);
  const auto at = *rc::gen::inRange<std::size_t>(0, kIpv4HeaderSize);
  bytes[at] ^= 1;
  if (at > 0) RC_ASSERT(!ip->checksum_is_right());
}

TEST(Tcp, ChecksTheDataOffset) {
  struct Row {
    std::size_t present;
    std::uint8_t offset_reserved;
    bool parses;
  };
  for (const Row& row :
       {Row{0, 0x50, false}, Row{19, 0x50, false}, Row{20, 0x50, true}, Row{20, 0x4f, false}, Row{20, 0x00, false},
        Row{20, 0x60, false}, Row{24, 0x60, true}, Row{60, 0xf0, true}, Row{59, 0xf0, false}}) {
    Bytes bytes(60);
    bytes[12] = row.offset_reserved;
    bytes.resize(row.present);
    EXPECT_EQ(parse_tcp(bytes).has_value(), row.parses) << row.present << ' ' << int{row.offset_reserved};
  }
}

TEST(Tcp, OnlyABareSynBeginsAConnection) {
  for (unsigned flags = 0; flags < 256; ++flags) {
    Bytes bytes(20);
    bytes[12] = 0x50;
    bytes[13] = static_cast<std::uint8_t>(flags);
    EXPECT_EQ(parse_tcp(bytes)->is_initial_syn(), (flags & 0x17) == 0x02) << flags;
  }
}

TEST(Udp, ChecksTheLength) {
  struct Row {
    std::size_t present;
    std::uint16_t length;
    int payload;  // -1: refused
  };
  for (const Row& row : {Row{0, 8, -1}, Row{7, 8, -1}, Row{8, 8, 0}, Row{8, 7, -1}, Row{8, 0, -1}, Row{8, 9, -1},
                         Row{20, 12, 4}, Row{20, 20, 12}, Row{20, 21, -1}}) {
    Bytes bytes(20);
    bytes[4] = static_cast<std::uint8_t>(row.length >> 8);
    bytes[5] = static_cast<std::uint8_t>(row.length);
    bytes.resize(row.present);
    const auto udp = parse_udp(bytes);
    EXPECT_EQ(udp ? static_cast<int>(udp->payload().size()) : -1, row.payload) << row.present << ' ' << row.length;
  }
}

TEST(Esp, KnowsReservedSpis) {
  EXPECT_EQ(parse_esp(Bytes{0, 0, 1, 0, 0, 0, 0}), nullptr);       // 7 bytes
  EXPECT_EQ(parse_esp(Bytes{0, 0, 0, 255, 0, 0, 0, 1}), nullptr);  // SPI 255
  const Bytes good{0, 0, 1, 0, 0, 0, 2, 1};
  ASSERT_NE(parse_esp(good), nullptr);
  EXPECT_EQ(parse_esp(good)->spi(), Spi(256));
  EXPECT_EQ(parse_esp(good)->sequence_low(), 0x201u);
}

TEST(Esp, SharesUdp4500) {
  EXPECT_EQ(classify_udp_4500(Bytes{0xff}), Udp4500::kKeepalive);
  EXPECT_EQ(classify_udp_4500(Bytes{}), Udp4500::kMalformed);
  EXPECT_EQ(classify_udp_4500(Bytes{0xfe}), Udp4500::kMalformed);
  EXPECT_EQ(classify_udp_4500(Bytes(7, 0)), Udp4500::kMalformed);
  EXPECT_EQ(classify_udp_4500(Bytes(8, 0)), Udp4500::kIke);
  EXPECT_EQ(classify_udp_4500(Bytes{0, 0, 0, 1, 0, 0, 0, 0}), Udp4500::kEsp);
  EXPECT_EQ(classify_udp_4500(Bytes{0x80, 0, 0, 0, 0, 0, 0, 0}), Udp4500::kEsp);
}

RC_GTEST_PROP(Gre, BuiltHeadersParse, (std::uint32_t key, std::uint32_t sequence)) {
  Bytes bytes(kGreSize + 5, 0xaa);
  build_gre(std::span(bytes).first<kGreSize>(), {.key = key, .sequence = sequence});
  const auto gre = parse_gre(bytes);
  RC_ASSERT(gre.has_value());
  RC_ASSERT(gre->key == key && gre->sequence == sequence && gre->protocol == kGreProtocolIpv4);
  RC_ASSERT(gre->payload.size() == 5u && gre->payload.data() == bytes.data() + kGreSize);
}

// RFC 2890 section 2: the bytes themselves.
TEST(Gre, HasTheRfcsLayout) {
  std::array<std::uint8_t, kGreSize> bytes;
  build_gre(bytes, {.key = 0x01020304, .sequence = 0x05060708});
  const std::array<std::uint8_t, kGreSize> expected = {0x30, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(bytes, expected);
}

TEST(Gre, RefusesEveryOtherFlag) {
  for (unsigned flags = 0; flags < 0x10000; ++flags) {
    Bytes bytes(kGreSize);
    bytes[0] = static_cast<std::uint8_t>(flags >> 8);
    bytes[1] = static_cast<std::uint8_t>(flags);
    ASSERT_EQ(parse_gre(bytes).has_value(), flags == 0x3000) << flags;
  }
  EXPECT_FALSE(parse_gre(Bytes{0x30, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7}).has_value());
}

}  // namespace
}  // namespace testudo::wire
