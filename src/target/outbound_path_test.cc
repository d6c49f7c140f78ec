// SPDX-License-Identifier: Apache-2.0
// Outbound, where packets and paths have different sizes: fragments, path MTUs, ICMP errors to the sender; every
// mode and family; and what the owner is asked to protect.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "distributor/forwarding.h"
#include "distributor/reassembler.h"
#include "ipsec/packet_for_test.h"
#include "target/outbound.h"
#include "target/outbound_world_for_test.h"
#include "wire/gre.h"
#include "wire/icmp.h"

namespace testudo::target {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

const IpAddress kDvipa6 = *IpAddress::parse("2001:db8::100"), kPeer6 = *IpAddress::parse("2001:db8:5::5"),
                kClient6 = *IpAddress::parse("2001:db8:a::1");

AppPacket udp(bool v6, std::size_t payload, bool dont_fragment = false) {
  const IpAddress source = v6 ? kDvipa6 : kDvipa, to = v6 ? kClient6 : kProtected;
  Bytes datagram(8 + payload);
  datagram[0] = 0x12, datagram[2] = 0x34;
  datagram[4] = static_cast<std::uint8_t>(datagram.size() >> 8);
  datagram[5] = static_cast<std::uint8_t>(datagram.size());
  for (std::size_t i = 0; i < payload; ++i) datagram[8 + i] = static_cast<std::uint8_t>(i * 7);
  const auto sum = wire::pseudo_header_sum(source, to, wire::kProtocolUdp, datagram.size());
  const Be<std::uint16_t> checksum(wire::fold(wire::add(sum, datagram)));
  std::memcpy(datagram.data() + 6, &checksum, 2);
  return {.bytes = ipsec::ip_packet({.source = source,
                                     .destination = to,
                                     .protocol = wire::kProtocolUdp,
                                     .id = static_cast<std::uint16_t>(dont_fragment ? 0 : 77),
                                     .dont_fragment = dont_fragment},
                                    datagram),
          .segment_size = 0,
          .checksum_missing = false};
}

/// A world whose one SA is of this mode and these families.
struct PathWorld {
  explicit PathWorld(ipsec::Mode mode = ipsec::Mode::kTunnel, bool outer_v6 = false, bool with_udp = false,
                     ipsec::Protocol protocol = ipsec::Protocol::kEsp) {
    std::vector<policy::Filter> list;
    for (const bool v6 : {false, true}) {
      policy::Filter f;
      f.id = v6 ? 2 : 1;
      f.direction = policy::Direction::kOutbound;
      f.action = policy::Action::kProtect;
      f.tunnel = "vpn";
      f.source = f.destination = policy::AddressRange::all(v6 ? kDvipa6 : kDvipa);
      list.push_back(f);
    }
    table = policy::FilterTable(list, w.factory.tunnels());
    w.outbound.set_filters(&table);
    w.udp = with_udp;
    w.adjust = [=](ipsec::SaParameters& p) {
      p.mode = mode;
      p.protocol = protocol;
      if (protocol == ipsec::Protocol::kAh) {
        p.suite = crypto::Suite{crypto::Cipher::kNone, crypto::Integrity::kHmacSha256};
        p.key = Secret(crypto::sizes(p.suite).key);
      }
      if (!outer_v6) return;
      p.local = kDvipa6;
      p.remote = mode == ipsec::Mode::kTransport ? kClient6 : kPeer6;
    };
    if (mode == ipsec::Mode::kTransport && !outer_v6) {
      w.adjust = [=, before = w.adjust](ipsec::SaParameters& p) { before(p), p.remote = kProtected; };
    }
    w.install(1);
    w.process(udp(outer_v6, 10));
    w.exchange();
    w.forget();
  }
  World w;
  policy::FilterTable table;
};

/// What the peer's kernel puts together.
Bytes joined(const std::vector<Bytes>& fragments) {
  distributor::Reassembler reassembler({});
  for (const Bytes& f : fragments) {
    const auto ip = wire::parse_ip(f);
    if (!ip || !ip->is_fragment()) return {};
    const auto result = reassembler.add(*ip, 0, Time{1h});
    if (!result.whole.empty()) return {result.whole.begin(), result.whole.end()};
  }
  return {};
}

std::vector<Bytes> opened(World& w) {
  std::vector<Bytes> all;
  for (const World::Sent& s : w.sent) all.push_back(w.open(s));
  return all;
}

struct ModeCase {
  ipsec::Mode mode;
  bool outer_v6, inner_v6, udp;
  ipsec::Protocol protocol;
};

TEST(OutboundPath, EveryModeAndFamily) {
  using enum ipsec::Mode;
  using enum ipsec::Protocol;
  const ModeCase cases[] = {
      {kTunnel, false, false, false, kEsp},    {kTunnel, false, true, false, kEsp},
      {kTunnel, true, false, false, kEsp},     {kTunnel, true, true, false, kEsp},
      {kTransport, false, false, false, kEsp}, {kTransport, true, true, false, kEsp},
      {kTunnel, false, false, true, kEsp},     {kTunnel, true, true, true, kEsp},
      {kTunnel, true, false, true, kEsp},      {kTransport, false, false, true, kEsp},
      {kTunnel, false, false, false, kAh},     {kTunnel, true, true, false, kAh},
      {kTransport, false, false, false, kAh},  {kTransport, true, true, false, kAh},
  };
  for (const ModeCase& c : cases) {
    SCOPED_TRACE(testing::Message() << "case " << &c - cases);
    PathWorld p(c.mode, c.outer_v6, c.udp, c.protocol);
    const AppPacket packet = udp(c.inner_v6, 500, true);
    p.w.process(packet);
    p.w.exchange();
    ASSERT_THAT(p.w.sent, SizeIs(1));
    EXPECT_EQ(p.w.open(p.w.sent[0]), packet.bytes);
    if (!c.udp) {
      const auto outer = wire::parse_ip(p.w.sent[0].whole);
      ASSERT_TRUE(outer);
      EXPECT_EQ(outer->source(), c.outer_v6 ? kDvipa6 : kDvipa);
      EXPECT_EQ(outer->protocol(), static_cast<std::uint8_t>(c.protocol));
      EXPECT_EQ(outer->total_size(), p.w.sent[0].whole.size());
    }
    // The largest packet that fits, and one byte more.
    const std::size_t headers = packet.bytes.size() - 500;
    std::size_t most = 1500;
    for (; most > 0; --most) {
      PathWorld again(c.mode, c.outer_v6, c.udp, c.protocol);
      again.w.process(udp(c.inner_v6, most - headers, true));
      again.w.exchange();
      if (again.w.sent.empty()) continue;
      const std::size_t outside = c.udp ? (c.outer_v6 ? 48u : 28u) : 0u;
      EXPECT_LE(again.w.sent[0].whole.size() + outside, 1500u);
      break;
    }
    EXPECT_GT(most, 1350u);
    p.w.forget();
    p.w.process(udp(c.inner_v6, most + 1 - headers, true));
    EXPECT_THAT(p.w.sent, IsEmpty());
    EXPECT_EQ(p.w.dropped(Drop::kTooBig), 1u);
    ASSERT_THAT(p.w.local, SizeIs(1));
    const auto error = wire::parse_icmp_error(*wire::parse_ip(p.w.local[0]));
    ASSERT_TRUE(error && error->too_big);
    EXPECT_EQ(error->mtu, most);
    EXPECT_EQ(error->enclosed.source(), c.inner_v6 ? kDvipa6 : kDvipa);
  }
}

TEST(OutboundPath, CutsWhatMayBeCut) {
  PathWorld p;
  const AppPacket packet = udp(false, 4000);
  p.w.process(packet);
  p.w.exchange();
  ASSERT_THAT(p.w.sent, SizeIs(3));
  EXPECT_EQ(joined(opened(p.w)), packet.bytes);
  EXPECT_THAT(p.w.trains, SizeIs(1));
  EXPECT_THAT(p.w.local, IsEmpty());
  EXPECT_EQ(p.w.outbound.counters().fragmented.value(), 1u);
  for (std::size_t i = 0; i + 1 < 3; ++i) EXPECT_LE(p.w.sent[i].whole.size(), 1500u);
}

TEST(OutboundPath, CompletesTheChecksumBeforeItCuts) {
  PathWorld p;
  AppPacket packet = udp(false, 4000);
  const Bytes right = packet.bytes;
  const auto pseudo = wire::pseudo_header_sum(kDvipa, kProtected, wire::kProtocolUdp, 4008);
  const Be<std::uint16_t> partial(wire::partial_checksum(pseudo));
  std::memcpy(packet.bytes.data() + 26, &partial, 2);
  packet.checksum_missing = true;
  p.w.process(packet);
  p.w.exchange();
  EXPECT_EQ(joined(opened(p.w)), right);
}

TEST(OutboundPath, WhatWaitsIsCutAsItWasBefore) {
  PathWorld p;
  p.w.pass(1h);  // the lease is over
  const AppPacket packet = udp(false, 4000);
  p.w.process(packet);
  EXPECT_THAT(p.w.sent, IsEmpty());
  p.w.exchange();
  EXPECT_THAT(p.w.sent, SizeIs(3));
  EXPECT_EQ(joined(opened(p.w)), packet.bytes);
}

// The kernel cuts large datagrams for the TUN. Filters see them whole; they are cut again for the path of the SA.
TEST(OutboundPath, PutsTheKernelsFragmentsTogether) {
  for (const bool v6 : {false, true}) {
    PathWorld p(ipsec::Mode::kTunnel, false);
    AppPacket packet = udp(v6, 3000);
    const auto cut = [&] {
      wire::Packet view;
      view.data = packet.bytes.data();
      view.size = static_cast<std::uint32_t>(packet.bytes.size());
      return *Segmenter::of(view)->fragments(1400, 9);
    }();
    SegmentHeader room;
    for (std::uint32_t i = cut.count(); i-- > 0;) {
      const Segment s = cut.segment(i, room);
      AppPacket piece{.bytes = Bytes(s.header.begin(), s.header.end()), .checksum_missing = false};
      piece.bytes.insert(piece.bytes.end(), s.payload.begin(), s.payload.end());
      EXPECT_THAT(p.w.sent, IsEmpty());
      p.w.process(piece);
    }
    p.w.exchange();
    EXPECT_EQ(joined(opened(p.w)), packet.bytes) << v6;
    EXPECT_EQ(p.w.outbound.counters().reassembled.value(), 1u);
    EXPECT_EQ(p.w.dropped(), 0u);
  }
}

TEST(OutboundPath, TransportModeDoesNotCut) {
  PathWorld p(ipsec::Mode::kTransport);
  p.w.process(udp(false, 4000));
  EXPECT_THAT(p.w.sent, IsEmpty());
  EXPECT_EQ(p.w.dropped(Drop::kTooBig), 1u);
  EXPECT_THAT(p.w.local, SizeIs(1));
}

// RFC 4301 section 8.2, RFC 1191: learned, used for the next packet, lowered, not raised, and forgotten after ten
// minutes.
TEST(OutboundPath, FollowsThePathMtu) {
  for (const bool v6 : {false, true}) {
    PathWorld p(ipsec::Mode::kTunnel, v6);
    const auto mtu_told = [&]() -> std::optional<std::uint32_t> {
      p.w.forget();
      p.w.process(udp(v6, 1380 - (v6 ? 48 : 28), true));
      p.w.exchange();
      if (p.w.local.empty()) return std::nullopt;
      EXPECT_THAT(p.w.sent, IsEmpty());
      return wire::parse_icmp_error(*wire::parse_ip(p.w.local[0]))->mtu;
    };
    EXPECT_EQ(mtu_told(), std::nullopt);
    EXPECT_FALSE(p.w.outbound.set_path_mtu(SaId(1), 1500, p.w.time()));  // the network's
    EXPECT_FALSE(p.w.outbound.set_path_mtu(SaId(9), 1400, p.w.time()));  // no such SA
    EXPECT_TRUE(p.w.outbound.set_path_mtu(SaId(1), 1400, p.w.time()));
    const auto at_1400 = mtu_told();
    ASSERT_TRUE(at_1400);
    EXPECT_GT(*at_1400, 1300u);
    EXPECT_LT(*at_1400, 1380u);
    EXPECT_FALSE(p.w.outbound.set_path_mtu(SaId(1), 1450, p.w.time()));  // not raised by hearsay
    EXPECT_FALSE(p.w.outbound.set_path_mtu(SaId(1), 1400, p.w.time()));  // no news
    EXPECT_EQ(mtu_told(), at_1400);
    EXPECT_TRUE(p.w.outbound.set_path_mtu(SaId(1), 68, p.w.time()));
    const std::uint32_t least = v6 ? 1280 : 576;
    EXPECT_GT(*mtu_told(), least - 100);
    EXPECT_LT(*mtu_told(), least);
    p.w.pass(10min - 1ns);
    EXPECT_TRUE(mtu_told());
    p.w.pass(1ns);
    EXPECT_EQ(mtu_told(), std::nullopt);
  }
}

// A packet that may be cut is cut for the path instead.
TEST(OutboundPath, CutsForThePathMtu) {
  PathWorld p;
  ASSERT_TRUE(p.w.outbound.set_path_mtu(SaId(1), 576, p.w.time()));
  const AppPacket packet = udp(false, 1400);
  p.w.process(packet);
  p.w.exchange();
  ASSERT_GE(p.w.sent.size(), 3u);
  for (const auto& s : p.w.sent) EXPECT_LE(s.whole.size(), 576u);
  EXPECT_EQ(joined(opened(p.w)), packet.bytes);
}

// Note 2 of the seed's table: a tunnel that this host has never had an SA of.
TEST(OutboundPath, AsksTheOwnerWhereItNeverHadAnSa) {
  World w;
  const auto member = [](std::uint16_t node) {
    return distributor::Member{
        NodeId(node), {IpAddress(0x0a4d0000u + node), 4754}, {IpAddress(0x0a4d0000u + node), 4755}};
  };
  const auto with_owner = [&](NodeId owner) {
    return distributor::Distribution(
        kSelf, {member(1), member(3)},
        {{.address = kDvipa, .epoch = kEpoch, .owner = owner, .ports = {}, .ready = {}}});
  };
  const auto distribution = with_owner(NodeId(1)), own = with_owner(kSelf), gone = with_owner(NodeId(2));
  w.outbound.set_distribution(&distribution);
  const AppPacket packet = tcp_packet(kNoSa, 3000, kTcpHeaders + 1000);
  w.process(packet);
  const auto segments = segments_of(packet);
  ASSERT_EQ(w.xcf.size(), segments.size());
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const auto gre = wire::parse_gre(w.xcf[i]);
    ASSERT_TRUE(gre);
    const distributor::ForwardKey key{gre->key};
    EXPECT_TRUE(key.reply() && key.clear() && key.matches(kEpoch));
    EXPECT_EQ(Bytes(gre->payload.begin(), gre->payload.end()), segments[i]);
    EXPECT_EQ(w.xcf_to[i], member(1).data);
  }
  EXPECT_EQ(w.dropped(), 0u);
  EXPECT_EQ(w.outbound.counters().via_owner.value(), segments.size());
  // The owner itself has nobody to ask, and an owner that is no member hears nothing. Nothing leaves in the clear.
  for (const auto* d : {&own, &gone}) {
    w.outbound.set_distribution(d);
    w.process(packet);
  }
  EXPECT_EQ(w.dropped(Drop::kNoOutboundSa), 2u);
  // A tunnel of this host whose SA is gone: fail closed, as ever.
  w.outbound.set_distribution(&distribution);
  w.install(1);
  w.remove(1);
  w.process(tcp_packet(kProtected, 100));
  EXPECT_EQ(w.dropped(Drop::kNoOutboundSa), 3u);
  EXPECT_EQ(w.xcf.size(), segments.size());
  EXPECT_THAT(w.clear, IsEmpty());
}

}  // namespace
}  // namespace testudo::target
