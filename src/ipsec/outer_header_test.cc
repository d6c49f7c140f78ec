// SPDX-License-Identifier: Apache-2.0
// What gets from the inner into the outer header and back (RFC 4301 section 5.1.2, RFC 6040), as truth tables; and
// what the modes demand of what they carry.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>

#include "ipsec/ecn.h"
#include "ipsec/outer_header.h"
#include "ipsec/packet_for_test.h"
#include "ipsec/sa_for_test.h"

namespace testudo::ipsec {
namespace {

using crypto::Suite;

const IpAddress kV6 = *IpAddress::parse("2001:db8::9");
constexpr IpAddress kV4(0x0a000001);

/// One SA between the test addresses of either family, both ends.
struct Tunnel : SaPair {
  explicit Tunnel(bool v6, Mode mode = Mode::kTunnel, DontFragment df = DontFragment::kCopy, bool dscp = true)
      : SaPair(parameters(v6, mode, df, dscp)) {}
  static SaParameters parameters(bool v6, Mode mode, DontFragment df, bool dscp) {
    SaParameters p = parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16);
    if (v6) p.local = *IpAddress::parse("2001:db8::1");
    if (v6) p.remote = *IpAddress::parse("2001:db8::2");
    p.mode = mode;
    p.dont_fragment = df;
    p.copy_dscp = dscp;
    return p;
  }
  Bytes protect(const Bytes& inner, std::uint16_t id = 0) {
    Bytes bytes(encap_size(*out, inner, inner.size()));
    EncapRequest request{.sa = out.get(), .seq = SeqNo(1), .header = inner, .out = bytes.data(), .ip_id = id};
    transforms->encap({&request, 1});
    drop = request.drop;
    traffic_class = request.traffic_class;
    return bytes;
  }
  DecapRequest open(Bytes& packet) {
    DecapRequest request = decap_of(*in, packet, SeqNo(1));
    transforms->decap({&request, 1});
    return request;
  }

  std::optional<Drop> drop;
  std::uint8_t traffic_class = 0;
};

Bytes packet_of(bool v6, std::uint8_t traffic_class, bool df = false) {
  return ip_packet({.source = v6 ? kV6 : kV4,
                    .destination = v6 ? kV6 : kV4,
                    .protocol = wire::kProtocolTcp,
                    .traffic_class = traffic_class,
                    .dont_fragment = df},
                   tcp_segment(v6 ? kV6 : kV4, v6 ? kV6 : kV4, 60));
}

void set_traffic_class(Bytes& packet, std::uint8_t value) {
  if (packet[0] >> 4 == 4) {
    packet[1] = value;
    packet[10] = packet[11] = 0;
    const std::uint16_t sum = wire::checksum(std::span(packet).first(20));
    packet[10] = static_cast<std::uint8_t>(sum >> 8);
    packet[11] = static_cast<std::uint8_t>(sum);
    return;
  }
  packet[0] = static_cast<std::uint8_t>(0x60 | value >> 4);
  packet[1] = static_cast<std::uint8_t>(value << 4 | (packet[1] & 0xf));
}

// RFC 6040 figure 4. Rows: inner; columns: outer Not-ECT, ECT(0), ECT(1), CE. -1: drop.
TEST(Ecn, DecapsulationTable) {
  constexpr std::array<std::uint8_t, 4> kOuter = {kNotEct, kEct0, kEct1, kCe};
  struct Row {
    std::uint8_t inner;
    std::array<int, 4> got;
  };
  constexpr Row kTable[] = {
      {kNotEct, {kNotEct, kNotEct, kNotEct, -1}},
      {kEct0, {kEct0, kEct0, kEct1, kCe}},
      {kEct1, {kEct1, kEct1, kEct1, kCe}},
      {kCe, {kCe, kCe, kCe, kCe}},
  };
  for (const bool outer_v6 : {false, true}) {
    for (const bool inner_v6 : {false, true}) {
      Tunnel tunnel(outer_v6);
      for (const Row& row : kTable) {
        for (std::size_t column = 0; column < 4; ++column) {
          const std::string what = std::to_string(row.inner) + " in " + std::to_string(kOuter[column]);
          const Bytes inner = packet_of(inner_v6, 0xb8 | row.inner);
          Bytes packet = tunnel.protect(inner);
          ASSERT_EQ(wire::parse_ip(packet)->traffic_class(), 0xb8 | row.inner) << what;  // section 4.1
          set_traffic_class(packet, static_cast<std::uint8_t>(0x40 | kOuter[column]));
          const DecapRequest got = tunnel.open(packet);
          ASSERT_TRUE(got.authentic);
          if (row.got[column] < 0) {
            ASSERT_EQ(got.drop, Drop::kEcn) << what;
            ASSERT_TRUE(got.inner.empty());
            continue;
          }
          ASSERT_FALSE(got.drop.has_value()) << what;
          Bytes wanted = inner;
          set_traffic_class(wanted, static_cast<std::uint8_t>(0xb8 | row.got[column]));
          ASSERT_EQ(Bytes(got.inner.begin(), got.inner.end()), wanted) << what;  // DSCP kept, checksum right
        }
      }
    }
  }
}

// The outer header of what came in UDP is an argument.
TEST(Ecn, OfBareEspIsTheCallers) {
  Tunnel tunnel(false);
  Bytes packet = tunnel.protect(packet_of(false, kEct0));
  DecapRequest request;
  request.sa = tunnel.in.get();
  request.seq = SeqNo(1);
  request.data = packet.data() + 20;
  request.size = static_cast<std::uint32_t>(packet.size() - 20);
  request.traffic_class = 0xfc | kCe;
  tunnel.transforms->decap({&request, 1});
  ASSERT_FALSE(request.drop.has_value());
  EXPECT_EQ(wire::parse_ip(request.inner)->traffic_class(), kCe);
}

TEST(OuterHeader, DscpAndDontFragment) {
  using enum DontFragment;
  struct Row {
    bool inner_v6, inner_df;
    DontFragment policy;
    bool copy_dscp;
    bool df;
    std::uint8_t traffic_class;
  };
  const Row rows[] = {
      {false, false, kCopy, true, false, 0xba},  {false, true, kCopy, true, true, 0xba},
      {false, false, kSet, true, true, 0xba},    {false, true, kSet, false, true, 0x02},
      {false, false, kClear, true, false, 0xba}, {false, true, kClear, false, false, 0x02},
      {true, false, kCopy, true, true, 0xba},  // IPv6 is never fragmented on its way
      {true, false, kSet, false, true, 0x02},    {true, false, kClear, true, false, 0xba},
  };
  for (const Row& row : rows) {
    Tunnel tunnel(false, Mode::kTunnel, row.policy, row.copy_dscp);
    const Bytes packet = tunnel.protect(packet_of(row.inner_v6, 0xba, row.inner_df), 0x1234);
    const auto ip = wire::parse_ipv4(packet);
    ASSERT_TRUE(ip && ip->checksum_is_right());
    EXPECT_EQ(ip->dont_fragment(), row.df);
    EXPECT_EQ(ip->header().traffic_class, row.traffic_class);
    EXPECT_EQ(tunnel.traffic_class, row.traffic_class);
    EXPECT_EQ(ip->header().id.host(), 0x1234);
    EXPECT_EQ(ip->header().ttl, 64);
    EXPECT_EQ(ip->total_size(), packet.size());
    EXPECT_EQ(ip->protocol(), wire::kProtocolEsp);
  }
  Tunnel six(true);
  const Bytes packet = six.protect(packet_of(false, 0xba));
  const auto& header = *reinterpret_cast<const wire::Ipv6Header*>(packet.data());
  EXPECT_EQ(header.flow_label(), 0u);
  EXPECT_EQ(header.hop_limit, 64);
  EXPECT_EQ(header.payload_length.host(), packet.size() - 40);
}

// The endpoints are hosts, not routers: the inner TTL stays.
TEST(OuterHeader, LeavesTheInnerTtl) {
  Tunnel tunnel(false);
  Bytes inner = packet_of(false, 0);
  inner[8] = 1;
  Bytes packet = tunnel.protect(inner);
  packet[8] = 3;
  const DecapRequest got = tunnel.open(packet);
  ASSERT_FALSE(got.drop.has_value());
  EXPECT_EQ(got.inner[8], 1);
}

TEST(Modes, TransportRefusesWhatItCannotCarry) {
  Tunnel tunnel(false, Mode::kTransport);
  const IpAddress from = tunnel.out->local();
  const IpAddress to = tunnel.out->remote();
  const Bytes good = tcp_packet(from, to, 60);
  (void)tunnel.protect(good);
  EXPECT_FALSE(tunnel.drop.has_value());
  Bytes fragment = good;
  fragment[6] = 0x20;
  (void)tunnel.protect(fragment);
  EXPECT_EQ(tunnel.drop, Drop::kFragment);
  (void)tunnel.protect(tcp_packet(from, kV4, 60));
  EXPECT_EQ(tunnel.drop, Drop::kNotSelected);
  (void)tunnel.protect(tcp_packet(kV6, kV6, 60));
  EXPECT_EQ(tunnel.drop, Drop::kNotSelected);
  Bytes longer = good;
  longer.push_back(0);
  (void)tunnel.protect(longer);
  EXPECT_EQ(tunnel.drop, Drop::kMalformed);

  Tunnel six(true, Mode::kTransport);
  const Bytes atomic = tcp_packet(six.out->local(), six.out->remote(), 60, {6, 0, 0, 0, 0, 0, 0, 1}, 44);
  (void)six.protect(atomic);
  EXPECT_EQ(six.drop, Drop::kFragment);
}

// A tunnel that says IP-in-IP in transport mode, or a segment in tunnel mode: the two ends do not agree.
TEST(Modes, AreNotMixed) {
  for (const bool v6 : {false, true}) {
    Tunnel tunnel(v6);
    Tunnel transport(v6, Mode::kTransport);
    Bytes tunnelled = tunnel.protect(packet_of(v6, 0));
    EXPECT_EQ(transport.open(tunnelled).drop, Drop::kWrongMode);
    Bytes transported = transport.protect(tcp_packet(transport.out->local(), transport.out->remote(), 60));
    EXPECT_EQ(tunnel.open(transported).drop, Drop::kWrongMode);
  }
}

// Transport mode keeps the packet's own header: options, extension headers, TTL and all.
TEST(Modes, TransportInsertsBehindHeadersThatAreReadOnTheWay) {
  Tunnel four(false, Mode::kTransport);
  const Bytes options = {148, 4, 0, 0, 1, 1, 1, 0};  // router alert
  const Bytes inner = tcp_packet(four.out->local(), four.out->remote(), 60, options);
  Bytes packet = four.protect(inner);
  ASSERT_FALSE(four.drop.has_value());
  EXPECT_EQ(packet[0], 0x47);
  EXPECT_EQ(Bytes(packet.begin() + 20, packet.begin() + 28), options);
  const DecapRequest got = four.open(packet);
  ASSERT_FALSE(got.drop.has_value());
  EXPECT_EQ(Bytes(got.inner.begin(), got.inner.end()), inner);

  Tunnel six(true, Mode::kTransport);
  const Bytes hop_by_hop = {60, 0, 5, 2, 0, 0, 1, 0};  // router alert; next: destination options
  const Bytes destination = {6, 0, 1, 4, 0, 0, 0, 0};  // the final destination's: protected
  Bytes both = hop_by_hop;
  both.insert(both.end(), destination.begin(), destination.end());
  const Bytes inner6 = tcp_packet(six.out->local(), six.out->remote(), 60, both, 0);
  Bytes packet6 = six.protect(inner6);
  ASSERT_FALSE(six.drop.has_value());
  EXPECT_EQ(packet6[40], wire::kProtocolEsp);  // the hop-by-hop header names ESP
  EXPECT_EQ(wire::parse_ip(packet6)->header_size(), 48u);
  const DecapRequest got6 = six.open(packet6);
  ASSERT_FALSE(got6.drop.has_value());
  EXPECT_EQ(Bytes(got6.inner.begin(), got6.inner.end()), inner6);
}

TEST(OuterHeader, IsWhatTheGeneralBuilderWrites) {
  SeededRng rng(5);
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t a = rng.next(), b = rng.next();
    wire::IpFields fields{.source = IpAddress(static_cast<std::uint32_t>(a)),
                          .destination = IpAddress(static_cast<std::uint32_t>(a >> 32)),
                          .protocol = static_cast<std::uint8_t>(b),
                          .id = static_cast<std::uint16_t>(b >> 8),
                          .traffic_class = static_cast<std::uint8_t>(b >> 24),
                          .dont_fragment = (b >> 32 & 1) != 0,
                          .hop_limit = static_cast<std::uint8_t>(b >> 40)};
    const std::size_t size = 20 + (b >> 48) % (0x10000 - 20);
    std::array<std::uint8_t, 20> expected, got;
    wire::build_ip(expected, fields, size - 20);
    write_outer_v4(got.data(), fields, size);
    ASSERT_EQ(got, expected) << i;
  }
}

}  // namespace
}  // namespace testudo::ipsec
