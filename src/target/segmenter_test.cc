// SPDX-License-Identifier: Apache-2.0
#include "target/segmenter.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "crypto/engine.h"
#include "wire/checksum.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::target {
namespace {

constexpr std::size_t kHeaders = 20 + 32;

/// A TCP segment with 12 bytes of options, flags FIN, PSH, CWR, and a payload that counts up.
std::vector<std::uint8_t> super_segment(std::size_t payload) {
  std::vector<std::uint8_t> bytes(kHeaders + payload);
  wire::build_ipv4(
      std::span(bytes).first<20>(),
      {.source = IpAddress(0xc0000264), .destination = IpAddress(0xc000020a), .protocol = 6, .id = 0xfffe},
      32 + payload);
  auto* tcp = new (bytes.data() + 20) wire::TcpHeader;
  tcp->sequence = Be<std::uint32_t>(0xfffffff0);
  tcp->offset_reserved = 0x80;
  tcp->flags = wire::kTcpAck | wire::kTcpPsh | wire::kTcpFin | wire::kTcpCwr;
  for (std::size_t i = 0; i < payload; ++i) bytes[kHeaders + i] = static_cast<std::uint8_t>(i * 7);
  return bytes;
}

wire::Packet packet_of(std::vector<std::uint8_t>& bytes, std::uint16_t segment_size) {
  wire::Packet packet;
  packet.data = bytes.data();
  packet.size = static_cast<std::uint32_t>(bytes.size());
  packet.segment_size = segment_size;
  packet.checksum_missing = true;
  return packet;
}

std::vector<std::uint8_t> whole(const Segment& segment) {
  std::vector<std::uint8_t> bytes(segment.header.begin(), segment.header.end());
  bytes.insert(bytes.end(), segment.payload.begin(), segment.payload.end());
  return bytes;
}

/// Both checksums of a cut segment are right.
void expect_checksums(const std::vector<std::uint8_t>& bytes) {
  const auto ip = wire::parse_ipv4(bytes);
  ASSERT_TRUE(ip);
  EXPECT_EQ(wire::checksum(std::span(bytes).first(20)), 0);
  const auto sum = wire::pseudo_header_sum(ip->source(), ip->destination(), 6, ip->payload().size());
  EXPECT_EQ(wire::fold(wire::add(sum, ip->payload())), 0);
}

TEST(Segmenter, CutsAsANetworkCardWould) {
  auto bytes = super_segment(2500);
  const auto cut = Segmenter::of(packet_of(bytes, 1000));
  ASSERT_TRUE(cut);
  ASSERT_EQ(cut->count(), 3u);
  EXPECT_EQ(cut->largest(), kHeaders + 1000);
  struct Row {
    std::size_t payload;
    std::uint16_t id;
    std::uint32_t sequence;
    std::uint8_t flags;
  };
  const Row rows[] = {{1000, 0xfffe, 0xfffffff0, wire::kTcpAck | wire::kTcpCwr},
                      {1000, 0xffff, 0x000003d8, wire::kTcpAck},
                      {500, 0x0000, 0x000007c0, wire::kTcpAck | wire::kTcpPsh | wire::kTcpFin}};
  SegmentHeader room;
  for (std::uint32_t i = 0; i < 3; ++i) {
    const auto segment = whole(cut->segment(i, room));
    SCOPED_TRACE(i);
    ASSERT_EQ(segment.size(), kHeaders + rows[i].payload);
    expect_checksums(segment);
    const auto ip = wire::parse_ipv4(segment);
    EXPECT_EQ(ip->header().id.host(), rows[i].id);
    const auto tcp = wire::parse_tcp(ip->payload());
    EXPECT_EQ(tcp->header().sequence.host(), rows[i].sequence);
    EXPECT_EQ(tcp->flags(), rows[i].flags);
    EXPECT_EQ(0, std::memcmp(segment.data() + kHeaders, bytes.data() + kHeaders + i * 1000, rows[i].payload));
  }
}

/// A super-segment of either family and protocol, whose payload counts up.
std::vector<std::uint8_t> datagrams(IpAddress source, IpAddress destination, std::uint8_t protocol,
                                    std::size_t payload) {
  const std::size_t ip = wire::ip_header_size(source), transport = protocol == wire::kProtocolTcp ? 20 : 8;
  std::vector<std::uint8_t> bytes(ip + transport + payload);
  wire::build_ip(bytes, {.source = source, .destination = destination, .protocol = protocol, .id = 7},
                 transport + payload);
  if (protocol == wire::kProtocolTcp) {
    bytes[ip + 12] = 0x50;
  } else {
    auto* udp = reinterpret_cast<wire::UdpHeader*>(&bytes[ip]);
    udp->length = Be<std::uint16_t>(static_cast<std::uint16_t>(transport + payload));
  }
  for (std::size_t i = 0; i < payload; ++i) bytes[ip + transport + i] = static_cast<std::uint8_t>(i * 7);
  return bytes;
}

// Memory around a payload is lent to the engine where it is the packet's own.
TEST(Segmenter, LendsOnlyWhatLiesInThePacket) {
  SegmentHeader room;
  for (std::size_t rest = 1; rest < 1000; ++rest) {
    auto bytes = super_segment(2000 + rest);
    const auto cut = Segmenter::of(packet_of(bytes, 1000));
    ASSERT_TRUE(cut);
    ASSERT_EQ(cut->count(), 3u);
    EXPECT_TRUE(cut->segment(0, room).lent);
    EXPECT_EQ(cut->segment(1, room).lent, rest >= crypto::kLentBehind) << rest;
    EXPECT_FALSE(cut->segment(2, room).lent);
  }
  auto bytes = super_segment(800);
  EXPECT_FALSE(Segmenter::of(packet_of(bytes, 0))->segment(0, room).lent);
}

TEST(Segmenter, CutsBothFamiliesAndProtocols) {
  const auto address = [](const char* text) { return *IpAddress::parse(text); };
  for (const auto& [source, destination] : {std::pair{address("192.0.2.100"), address("192.0.2.10")},
                                            std::pair{address("2001:db8::100"), address("2001:db8::10")}}) {
    for (const std::uint8_t protocol : {wire::kProtocolTcp, wire::kProtocolUdp}) {
      SCOPED_TRACE(source.to_string() + " protocol " + std::to_string(protocol));
      auto bytes = datagrams(source, destination, protocol, 2500);
      const auto cut = Segmenter::of(packet_of(bytes, 1000));
      ASSERT_TRUE(cut);
      ASSERT_EQ(cut->count(), 3u);
      SegmentHeader room;
      std::vector<std::uint8_t> payload;
      for (std::uint32_t i = 0; i < 3; ++i) {
        const auto segment = whole(cut->segment(i, room));
        const auto ip = wire::parse_ip(segment);
        ASSERT_TRUE(ip);
        EXPECT_EQ(ip->total_size(), segment.size());
        EXPECT_TRUE(!ip->is_v4() || wire::checksum(std::span(segment).first(20)) == 0);
        const auto sum = wire::pseudo_header_sum(source, destination, protocol, ip->payload().size());
        EXPECT_EQ(wire::fold(wire::add(sum, ip->payload())), 0);
        const auto data = protocol == wire::kProtocolTcp ? wire::parse_tcp(ip->payload())->payload()
                                                         : wire::parse_udp(ip->payload())->payload();
        EXPECT_EQ(data.size(), i < 2 ? 1000u : 500u);
        payload.insert(payload.end(), data.begin(), data.end());
      }
      EXPECT_EQ(payload, std::vector<std::uint8_t>(bytes.end() - 2500, bytes.end()));
    }
  }
}

TEST(Segmenter, RefusesWhatItCannotCut) {
  auto icmp = datagrams(IpAddress(1), IpAddress(2), wire::kProtocolUdp, 2500);
  icmp[9] = wire::kProtocolIcmp;
  EXPECT_FALSE(Segmenter::of(packet_of(icmp, 1000)));
  auto fragment = datagrams(IpAddress(1), IpAddress(2), wire::kProtocolUdp, 2500);
  fragment[6] = 0x20;
  EXPECT_FALSE(Segmenter::of(packet_of(fragment, 1000)));
}

TEST(Segmenter, CompletesTheChecksumOfASinglePacket) {
  auto bytes = super_segment(101);
  const auto cut = Segmenter::of(packet_of(bytes, 1000));
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->count(), 1u);
  SegmentHeader room;
  const auto segment = whole(cut->segment(0, room));
  EXPECT_EQ(segment.size(), bytes.size());
  expect_checksums(segment);
}

TEST(Segmenter, LeavesACompletePacketAlone) {
  auto bytes = super_segment(10);
  auto packet = packet_of(bytes, 0);
  packet.checksum_missing = false;
  const auto cut = Segmenter::of(packet);
  ASSERT_TRUE(cut);
  SegmentHeader room;
  const auto segment = cut->segment(0, room);
  EXPECT_EQ(segment.header.data(), bytes.data());
  EXPECT_EQ(segment.header.size(), bytes.size());
}

TEST(Segmenter, RefusesEveryTruncation) {
  auto bytes = super_segment(10);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    auto packet = packet_of(bytes, 4);
    packet.size = static_cast<std::uint32_t>(size);
    EXPECT_FALSE(Segmenter::of(packet)) << size;
  }
  bytes[20 + 12] = 0xf0;  // the TCP header says 60 bytes, the packet has fewer
  EXPECT_FALSE(Segmenter::of(packet_of(bytes, 4)));
}

}  // namespace
}  // namespace testudo::target
