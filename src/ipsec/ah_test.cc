// SPDX-License-Identifier: Apache-2.0
// AH's mutable fields (RFC 4302 section 3.3.3.1 and appendix A), as truth tables: what is zeroed for the ICV may
// change on the way, what is not may not.
#include "ipsec/ah.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ipsec/packet_for_test.h"
#include "ipsec/sa_for_test.h"
#include "wire/ah.h"

namespace testudo::ipsec {
namespace {

using crypto::Cipher;
using crypto::Integrity;

constexpr IpAddress kFrom(0xc0000264), kTo(0xc0000201);
const IpAddress kFrom6 = *IpAddress::parse("2001:db8::1");
const IpAddress kTo6 = *IpAddress::parse("2001:db8::2");

Bytes zeroed(Bytes head, std::optional<Drop> wanted = std::nullopt) {
  EXPECT_EQ(zero_mutable(head), wanted);
  return head;
}

Bytes head_v4(const Bytes& options) {
  return ip_packet({.source = kFrom, .destination = kTo, .protocol = 51, .id = 0x1234, .traffic_class = 0xbb}, {},
                   options);
}

Bytes head_v6(const Bytes& extensions, std::uint8_t first) {
  return ip_packet(
      {.source = kFrom6, .destination = kTo6, .protocol = 51, .traffic_class = 0xbb, .flow_label = 0xabcde}, {},
      extensions, first);
}

TEST(AhMutable, Ipv4Header) {
  const Bytes head = head_v4({});
  Bytes wanted = head;
  for (const std::size_t at : {1, 6, 7, 8, 10, 11}) wanted[at] = 0;
  EXPECT_EQ(zeroed(head), wanted);
}

TEST(AhMutable, Ipv4Options) {
  struct Row {
    const char* what;
    std::uint8_t option;
    bool kept;
  };
  const Row rows[] = {
      {"security", 130, true},
      {"extended security", 133, true},
      {"commercial security", 134, true},
      {"router alert", 148, true},
      {"sender directed multi-destination delivery", 149, true},
      {"record route", 7, false},
      {"timestamp", 68, false},
      {"loose source route, done", 131, false},
      {"strict source route, done", 137, false},
      {"stream id", 136, false},
      {"MTU probe", 11, false},
      {"MTU reply", 12, false},
      {"traceroute", 82, false},
      {"address extension", 147, false},
      {"unknown", 200, false},
  };
  for (const Row& row : rows) {
    const Bytes options = {1, row.option, 6, 9, 8, 7, 6, 0};  // no operation, the option, end
    const Bytes got = zeroed(head_v4(options));
    const Bytes wanted = row.kept ? options : Bytes{1, 0, 0, 0, 0, 0, 0, 0};
    EXPECT_EQ(Bytes(got.begin() + 20, got.end()), wanted) << row.what;
  }
}

TEST(AhMutable, Ipv4OptionsThatAreWrongOrOnTheirWay) {
  (void)zeroed(head_v4({7, 1, 0, 0}), Drop::kMalformed);
  (void)zeroed(head_v4({7, 5, 0, 0}), Drop::kMalformed);
  (void)zeroed(head_v4({1, 1, 1, 7}), Drop::kMalformed);
  (void)zeroed(head_v4({131, 7, 4, 1, 2, 3, 4, 0}), Drop::kUnsupported);
  (void)zeroed(head_v4({137, 7, 4, 1, 2, 3, 4, 0}), Drop::kUnsupported);
  // What follows the end of the list is no option.
  EXPECT_EQ(zeroed(head_v4({0, 7, 1, 9}))[23], 9);
}

TEST(AhMutable, Ipv6Header) {
  const Bytes head = head_v6({}, 51);
  Bytes wanted = head;
  wanted[0] = 0x60;
  wanted[1] = wanted[2] = wanted[3] = wanted[7] = 0;
  EXPECT_EQ(zeroed(head), wanted);
}

TEST(AhMutable, Ipv6OptionsByTheirThirdHighestBit) {
  for (const std::uint8_t kind : std::initializer_list<std::uint8_t>{0, 60}) {
    for (const std::uint8_t option : std::initializer_list<std::uint8_t>{0x05, 0x25, 0xc9, 0xe3, 0x1e, 0x3e}) {
      const Bytes header = {51, 0, 0, option, 3, 7, 8, 9};  // Pad1, then the option
      const Bytes got = zeroed(head_v6(header, kind));
      const Bytes wanted = (option & 0x20) != 0 ? Bytes{51, 0, 0, option, 3, 0, 0, 0} : header;
      EXPECT_EQ(Bytes(got.begin() + 40, got.end()), wanted) << int{option};
    }
    (void)zeroed(head_v6({51, 0, 0x05, 5, 0, 0, 0, 0}, kind), Drop::kMalformed);
    (void)zeroed(head_v6({51, 1, 0x05, 4, 0, 0, 0, 0}, kind), Drop::kMalformed);
  }
}

// Appendix A2: as the final destination gets it, after each hop has swapped its address with the header's.
TEST(AhMutable, Ipv6RoutingHeaderAsAtItsEnd) {
  const auto address = [](std::uint8_t last) {
    Bytes bytes(16, 0);
    bytes[0] = 0x20;
    bytes[15] = last;
    return bytes;
  };
  const auto packet = [&](std::uint8_t type, std::uint8_t left, std::vector<std::uint8_t> list, std::uint8_t to) {
    Bytes routing = {51, static_cast<std::uint8_t>(2 * list.size()), type, left, 0, 0, 0, 0};
    for (const std::uint8_t last : list) {
      const Bytes a = address(last);
      routing.insert(routing.end(), a.begin(), a.end());
    }
    Bytes head = head_v6(routing, 43);
    const Bytes destination = address(to);
    std::copy(destination.begin(), destination.end(), head.begin() + 24);
    return head;
  };
  // Sent to 1, then 2, 3, 4. Wherever it is: to 4, and 1, 2, 3 have been visited.
  const Bytes at_end = zeroed(packet(0, 0, {1, 2, 3}, 4));
  EXPECT_EQ(zeroed(packet(0, 3, {2, 3, 4}, 1)), at_end);
  EXPECT_EQ(zeroed(packet(0, 2, {1, 3, 4}, 2)), at_end);
  EXPECT_EQ(zeroed(packet(0, 1, {1, 2, 4}, 3)), at_end);
  EXPECT_EQ(zeroed(packet(2, 1, {9}, 5)), zeroed(packet(2, 0, {5}, 9)));  // a home address
  (void)zeroed(packet(0, 4, {2, 3, 4}, 1), Drop::kMalformed);
  (void)zeroed(packet(4, 1, {2}, 1), Drop::kUnsupported);
}

TEST(AhMutable, RefusesFragments) { (void)zeroed(head_v6({51, 0, 0, 0, 0, 0, 0, 1}, 44), Drop::kUnsupported); }

struct Pair : SaPair {
  explicit Pair(bool v6) : SaPair(parameters(v6)) {}
  static SaParameters parameters(bool v6) {
    SaParameters p = parameters_for_test(Direction::kOutbound, {Cipher::kNone, Integrity::kHmacSha1});
    p.protocol = Protocol::kAh;
    p.mode = Mode::kTransport;
    p.local = v6 ? kFrom6 : kFrom;
    p.remote = v6 ? kTo6 : kTo;
    return p;
  }
  DecapRequest open(Bytes packet) {
    DecapRequest request = decap_of(*in, packet, SeqNo(1));
    transforms->decap({&request, 1});
    return request;
  }
};

// A router on the way fills in a record route option, and another changes an alert.
TEST(AhTransport, OptionsOnTheWay) {
  Pair four(false);
  const Bytes sealed = protect(*four.transforms, *four.out,
                               tcp_packet(kFrom, kTo, 60, {148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0}), SeqNo(1));
  Bytes recorded = sealed;
  recorded[26] = 8;
  recorded[28] = 77;
  EXPECT_TRUE(four.open(recorded).authentic);
  Bytes alert = sealed;
  alert[23] = 1;
  EXPECT_EQ(four.open(alert).drop, Drop::kBadIcv);

  Pair six(true);
  const Bytes sealed6 =
      protect(*six.transforms, *six.out, tcp_packet(kFrom6, kTo6, 60, {6, 0, 0x3e, 4, 1, 2, 3, 4}, 0), SeqNo(1));
  Bytes changed = sealed6;
  changed[44] = 99;  // the option's data
  EXPECT_TRUE(six.open(changed).authentic);
  changed = sealed6;
  changed[43] = 3;  // its length
  EXPECT_FALSE(six.open(changed).authentic);
}

// Sections 2.6 and 3.3.3.2.1: a multiple of 4 bytes in IPv4, of 8 in IPv6, and not a byte more.
TEST(AhSize, IsPaddedByFamily) {
  struct Row {
    Integrity integrity;
    std::size_t v4, v6;
  };
  const Row rows[] = {{Integrity::kHmacSha1, 24, 24},   {Integrity::kHmacSha256, 28, 32},
                      {Integrity::kHmacSha384, 36, 40}, {Integrity::kHmacSha512, 44, 48},
                      {Integrity::kAesXcbc, 24, 24},    {Integrity::kAesCmac, 24, 24},
                      {Integrity::kAesGmac128, 36, 40}};
  SaFactory factory(1);
  SeededRng rng(1);
  const auto transforms = transforms_for_test(rng);
  for (const Row& row : rows) {
    for (const bool v6 : {false, true}) {
      SaParameters p = parameters_for_test(Direction::kOutbound, {Cipher::kNone, row.integrity});
      p.protocol = Protocol::kAh;
      if (v6) p.local = kFrom6;
      if (v6) p.remote = kTo6;
      const auto sa = std::move(*factory.create(p));
      EXPECT_EQ(sa->shape().ah, v6 ? row.v6 : row.v4);
      const Bytes packet = protect(*transforms, *sa, tcp_packet(kFrom, kTo, 10), SeqNo(1));
      const auto* ah = wire::parse_ah(std::span(packet).subspan(v6 ? 40 : 20));
      ASSERT_NE(ah, nullptr);
      EXPECT_EQ(ah->size(), v6 ? row.v6 : row.v4);
      EXPECT_EQ(ah->next_header, 4);
      EXPECT_EQ(ah->reserved.host(), 0);
    }
  }
}

TEST(AhParse, RefusesWhatCannotBe) {
  Bytes bytes(24, 0);
  bytes[1] = 4;
  bytes[6] = 1;  // SPI 256
  EXPECT_NE(wire::parse_ah(bytes), nullptr);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(wire::parse_ah(std::span(bytes).first(size)), nullptr);
  bytes[1] = 0;  // 8 bytes: not even the fixed part
  EXPECT_EQ(wire::parse_ah(bytes), nullptr);
  bytes[1] = 4;
  bytes[6] = 0;
  EXPECT_EQ(wire::parse_ah(bytes), nullptr);
}

}  // namespace
}  // namespace testudo::ipsec
