// SPDX-License-Identifier: Apache-2.0
#include "policy/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace testudo::policy {
namespace {

using Bytes = std::vector<std::uint8_t>;

IpAddress address(const char* text) { return *IpAddress::parse(text); }

Bytes packet(const char* source, const char* destination, std::uint8_t protocol, const Bytes& payload) {
  const IpAddress from = address(source);
  Bytes bytes(wire::ip_header_size(from));
  wire::build_ip(bytes, {.source = from, .destination = address(destination), .protocol = protocol},
                 payload.size());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

/// IPv4: as a fragment with these flags and offset (in units of 8 bytes). Its checksum is not looked at.
Bytes fragment(Bytes v4, std::uint16_t flags_offset) {
  v4[6] = static_cast<std::uint8_t>(flags_offset >> 8);
  v4[7] = static_cast<std::uint8_t>(flags_offset);
  return v4;
}

Bytes fragment6(std::uint8_t protocol, std::uint16_t offset_more, const Bytes& payload) {
  Bytes with{protocol, 0, static_cast<std::uint8_t>(offset_more >> 8), static_cast<std::uint8_t>(offset_more), 0, 0,
             0,        1};
  with.insert(with.end(), payload.begin(), payload.end());
  return packet("2001:db8::1", "2001:db8::2", wire::kProtocolFragment, with);
}

std::optional<Flow> flow(const Bytes& bytes) { return flow_of(wire::parse_ip(bytes).value()); }

const Bytes kPorts = {0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0};

TEST(FlowOf, Ports) {
  const IpAddress a = address("192.0.2.1"), b = address("192.0.2.2");
  for (const int protocol : {6, 17, 33, 132, 136}) {
    const auto p = static_cast<std::uint8_t>(protocol);
    EXPECT_EQ(flow(packet("192.0.2.1", "192.0.2.2", p, kPorts)), (Flow{a, b, p, true, 0x1234, 0x5678}));
    EXPECT_EQ(flow(packet("192.0.2.1", "192.0.2.2", p, {1, 2, 3})), std::nullopt);
  }
  EXPECT_EQ(flow(packet("192.0.2.1", "192.0.2.2", 47, kPorts)), (Flow{a, b, 47, false, 0, 0}));
  const Flow v6{address("2001:db8::1"), address("2001:db8::2"), 17, true, 0x1234, 0x5678};
  EXPECT_EQ(flow(packet("2001:db8::1", "2001:db8::2", 17, kPorts)), v6);
}

TEST(FlowOf, TypeAndCodeOfTheFamilysOwnIcmp) {
  const Bytes unreachable = {3, 4, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(flow(packet("192.0.2.1", "192.0.2.2", 1, unreachable))->source_port, 0x304);
  EXPECT_EQ(flow(packet("192.0.2.1", "192.0.2.2", 1, unreachable))->destination_port, 0x304);
  EXPECT_EQ(flow(packet("2001:db8::1", "2001:db8::2", 58, unreachable))->source_port, 0x304);
  EXPECT_EQ(flow(packet("192.0.2.1", "192.0.2.2", 1, {3})), std::nullopt);
  EXPECT_FALSE(flow(packet("192.0.2.1", "192.0.2.2", 58, unreachable))->has_ports);
  EXPECT_FALSE(flow(packet("2001:db8::1", "2001:db8::2", 1, unreachable))->has_ports);
}

// RFC 4301 section 7: the first fragment shows its ports, the others are opaque.
TEST(FlowOf, Fragments) {
  const Bytes udp = packet("192.0.2.1", "192.0.2.2", 17, kPorts);
  EXPECT_TRUE(flow(fragment(udp, wire::kMoreFragments))->has_ports);
  EXPECT_FALSE(flow(fragment(udp, 1))->has_ports);
  EXPECT_EQ(flow(fragment(udp, 1))->source_port, 0);
  const Bytes tcp = packet("192.0.2.1", "192.0.2.2", 6, kPorts);
  EXPECT_EQ(flow(fragment(tcp, 1)), std::nullopt);  // would write over the flags: RFC 3128
  EXPECT_EQ(flow(fragment(tcp, 2)), std::nullopt);
  EXPECT_NE(flow(fragment(tcp, 3)), std::nullopt);
  EXPECT_EQ(flow(fragment(packet("192.0.2.1", "192.0.2.2", 6, {1, 2, 3}), wire::kMoreFragments)), std::nullopt);
  EXPECT_TRUE(flow(fragment6(17, 1, kPorts))->has_ports);
  EXPECT_FALSE(flow(fragment6(17, 8 | 1, kPorts))->has_ports);
  EXPECT_EQ(flow(fragment6(6, 8, kPorts)), std::nullopt);
  EXPECT_EQ(flow_of(*wire::parse_ipv4(fragment(udp, wire::kMoreFragments))), std::nullopt);
  EXPECT_TRUE(flow_of(*wire::parse_ipv4(udp))->has_ports);
}

std::optional<Flow> answer(const Bytes& bytes) { return answer_to_enclosed(wire::parse_ip(bytes).value()); }

Bytes icmp(std::uint8_t type, const Bytes& enclosed) {
  Bytes payload{type, 4, 0, 0, 0, 0, 0, 0};
  payload.insert(payload.end(), enclosed.begin(), enclosed.end());
  return payload;
}

TEST(AnswerToEnclosed, IsTheEnclosedPacketTheOtherWayRound) {
  Bytes sent = packet("192.0.2.100", "10.0.0.1", 6, Bytes(1000));
  std::ranges::copy(kPorts, sent.begin() + 20);
  sent.resize(28);  // RFC 792: header and 8 bytes
  const Flow expected{address("10.0.0.1"), address("192.0.2.100"), 6, true, 0x5678, 0x1234};
  for (const int type : {3, 4, 5, 11, 12}) {
    EXPECT_EQ(answer(packet("10.9.9.9", "192.0.2.100", 1, icmp(static_cast<std::uint8_t>(type), sent))), expected);
  }
  EXPECT_EQ(answer(packet("10.9.9.9", "192.0.2.100", 1, icmp(8, sent))), std::nullopt);   // echo
  EXPECT_EQ(answer(packet("10.9.9.9", "192.0.2.100", 17, icmp(3, sent))), std::nullopt);  // no ICMP
  EXPECT_EQ(answer(packet("10.9.9.9", "192.0.2.100", 58, icmp(3, sent))), std::nullopt);
  EXPECT_EQ(answer(fragment(packet("10.9.9.9", "192.0.2.100", 1, icmp(3, sent)), wire::kMoreFragments)),
            std::nullopt);
  sent.resize(23);
  EXPECT_EQ(answer(packet("10.9.9.9", "192.0.2.100", 1, icmp(3, sent))), std::nullopt);
  EXPECT_EQ(answer(packet("10.9.9.9", "192.0.2.100", 1, {3, 4, 0, 0, 0, 0})), std::nullopt);
}

TEST(AnswerToEnclosed, Ipv6AndIcmpInside) {
  const Bytes sent = packet("2001:db8::64", "2001:db8::1", 17, kPorts);
  const Flow expected{address("2001:db8::1"), address("2001:db8::64"), 17, true, 0x5678, 0x1234};
  EXPECT_EQ(answer(packet("2001:db8::9", "2001:db8::64", 58, icmp(2, sent))), expected);
  EXPECT_EQ(answer(packet("2001:db8::9", "2001:db8::64", 58, icmp(129, sent))), std::nullopt);
  EXPECT_EQ(answer(packet("10.9.9.9", "192.0.2.100", 1, icmp(3, sent))), std::nullopt);  // of the other family
  const Bytes echo = packet("2001:db8::64", "2001:db8::1", 58, {128, 0, 0, 0, 0, 0, 0, 0});
  const Flow opaque{address("2001:db8::1"), address("2001:db8::64"), 58, false, 0, 0};
  EXPECT_EQ(answer(packet("2001:db8::9", "2001:db8::64", 58, icmp(3, echo))), opaque);
}

TEST(AddressRange, TextAndBack) {
  const auto text = [](const char* t) {
    const auto range = AddressRange::parse(t);
    return range ? range->to_string() : "error: " + range.error().message;
  };
  EXPECT_EQ(text("192.0.2.1"), "192.0.2.1/32");
  EXPECT_EQ(text("192.0.2.0/24"), "192.0.2.0/24");
  EXPECT_EQ(text("192.0.2.0-192.0.2.255"), "192.0.2.0/24");
  EXPECT_EQ(text("192.0.2.1-192.0.2.2"), "192.0.2.1-192.0.2.2");
  EXPECT_EQ(text("0.0.0.0-255.255.255.255"), "0.0.0.0/0");
  EXPECT_EQ(text("2001:db8::-2001:db8::ffff"), "2001:db8::/112");
  EXPECT_EQ(text("2001:db8::1-2001:db8:1::"), "2001:db8::1-2001:db8:1::");
  EXPECT_EQ(text("::/0"), "::/0");
  for (const char* wrong : {"", "192.0.2.1/24", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.1-",
                            "192.0.2.0/24-192.0.3.0", "::ffff:192.0.2.1"}) {
    EXPECT_THAT(text(wrong), testing::StartsWith("error: ")) << wrong;
  }
}

TEST(AddressRange, HoldsOneFamily) {
  EXPECT_FALSE(AddressRange::parse("::/0")->contains(address("192.0.2.1")));
  EXPECT_TRUE(AddressRange::parse("::/0")->contains(address("2001:db8::1")));
  EXPECT_FALSE(AddressRange::parse("0.0.0.0/0")->contains(address("::1")));
  EXPECT_TRUE(AddressRange::parse("::/0")->is_all());
  EXPECT_FALSE(AddressRange().contains(address("192.0.2.1")));
}

}  // namespace
}  // namespace testudo::policy
