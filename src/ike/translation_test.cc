// SPDX-License-Identifier: Apache-2.0
#include "ike/translation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "bridge.pb.h"
#include "ike/filter_message.h"

namespace testudo::ike {
namespace {

using crypto::Suite;
using testing::HasSubstr;

bridge::AddSa add_sa() {
  bridge::AddSa m;
  m.mutable_id()->mutable_source()->set_address(IpAddress(0xc6336401).to_bytes());  // 198.51.100.1
  m.mutable_id()->mutable_source()->set_port(40000);
  m.mutable_id()->mutable_destination()->set_address(IpAddress(0xc0000264).to_bytes());  // 192.0.2.100
  m.mutable_id()->mutable_destination()->set_port(4500);
  m.mutable_id()->set_spi(0xc1234567);
  m.mutable_id()->set_protocol(50);
  m.set_inbound(true);
  m.set_reqid(7);
  m.set_connection("clients");
  m.set_mode(2);
  m.set_encryption(12);
  m.set_encryption_key(std::string(16, 'e'));
  m.set_integrity(12);
  m.set_integrity_key(std::string(32, 'i'));
  m.set_replay_window(32);
  m.set_encapsulation(true);
  m.mutable_seconds()->set_rekey(3000);
  m.mutable_seconds()->set_life(3600);
  return m;
}

TEST(Translation, InboundSa) {
  const auto sa = translate(add_sa(), 0);
  ASSERT_TRUE(sa) << sa.error().message;
  EXPECT_EQ(sa->local.to_string(), "192.0.2.100");
  EXPECT_EQ(sa->remote.to_string(), "198.51.100.1");
  EXPECT_EQ(sa->local_port, 4500);
  EXPECT_EQ(sa->remote_port, 40000);
  EXPECT_EQ(sa->tunnel, "clients{7}");
  EXPECT_EQ(sa->suite, Suite::kAesCbc128HmacSha256);
  ASSERT_EQ(sa->key.size(), 48U);
  EXPECT_EQ(sa->key.bytes()[15], 'e');
  EXPECT_EQ(sa->key.bytes()[16], 'i');
  EXPECT_EQ(sa->limits.soft_seconds, 3000U);
  EXPECT_EQ(name_of(*sa), (SaName{Spi(0xc1234567), sa->local}));
  EXPECT_EQ(sa->protocol, ipsec::Protocol::kEsp);
  EXPECT_EQ(sa->mode, ipsec::Mode::kTunnel);
  EXPECT_EQ(sa->dont_fragment, ipsec::DontFragment::kCopy);
  EXPECT_TRUE(sa->copy_dscp);
}

TEST(Translation, AhInTransportModeOverIpv6) {
  bridge::AddSa m = add_sa();
  m.mutable_id()->set_protocol(51);
  m.mutable_id()->mutable_source()->set_address(IpAddress::parse("2001:db8:1::1")->to_bytes());
  m.mutable_id()->mutable_destination()->set_address(IpAddress::parse("2001:db8::100")->to_bytes());
  m.set_mode(1);
  m.set_encryption(1024);
  m.clear_encryption_key();
  m.set_encapsulation(false);
  m.set_clear_df(true);
  m.set_zero_dscp(true);
  const auto sa = translate(m, 0);
  ASSERT_TRUE(sa) << sa.error().message;
  EXPECT_EQ(sa->protocol, ipsec::Protocol::kAh);
  EXPECT_EQ(sa->mode, ipsec::Mode::kTransport);
  EXPECT_EQ(sa->suite, (Suite{crypto::Cipher::kNone, crypto::Integrity::kHmacSha256}));
  EXPECT_EQ(sa->remote.to_string(), "2001:db8:1::1");
  EXPECT_EQ(sa->dont_fragment, ipsec::DontFragment::kClear);
  EXPECT_FALSE(sa->copy_dscp);
  EXPECT_EQ(name_of(*sa), (SaName{Spi(0xc1234567), sa->local, ipsec::Protocol::kAh}));
}

TEST(Translation, OutboundSaHasItsEndsTheOtherWayRound) {
  bridge::AddSa m = add_sa();
  m.mutable_id()->mutable_source()->Swap(m.mutable_id()->mutable_destination());
  m.set_inbound(false);
  const auto sa = translate(m, 2);
  ASSERT_TRUE(sa) << sa.error().message;
  EXPECT_EQ(sa->local.to_string(), "192.0.2.100");
  EXPECT_EQ(sa->remote_port, 40000);
  EXPECT_EQ(sa->tunnel, "clients{7}@2");
  EXPECT_EQ(connection_of(sa->tunnel), "clients");
  EXPECT_EQ(connection_of("a{b{7}"), "a{b");
  EXPECT_EQ(name_of(*sa), (SaName{Spi(0xc1234567), sa->remote}));
}

TEST(Translation, PortsWithoutEncapsulationSayNothing) {
  bridge::AddSa m = add_sa();
  m.set_encapsulation(false);
  const auto sa = translate(m, 0);
  ASSERT_TRUE(sa);
  EXPECT_FALSE(sa->udp_encapsulation);
  EXPECT_EQ(sa->remote_port, 4500);
}

TEST(Translation, UnderflowedSoftLimitIsNone) {
  bridge::AddSa m = add_sa();
  m.mutable_bytes()->set_rekey(~std::uint64_t{0} - 5);
  m.mutable_bytes()->set_life(1000);
  m.mutable_packets()->set_rekey(10);  // a soft limit alone counts
  const auto sa = translate(m, 0);
  ASSERT_TRUE(sa);
  EXPECT_EQ(sa->limits.soft_bytes, 0U);
  EXPECT_EQ(sa->limits.hard_bytes, 1000U);
  EXPECT_EQ(sa->limits.soft_packets, 10U);
}

struct RefusedSa {
  const char* what;
  void (*spoil)(bridge::AddSa&);
  const char* says;
};
const RefusedSa kRefusedSas[] = {
    {"another protocol", [](bridge::AddSa& m) { m.mutable_id()->set_protocol(108); }, "only ESP (50) and AH (51)"},
    {"AH with ESP's algorithms and a NAT", [](bridge::AddSa& m) { m.mutable_id()->set_protocol(51); },
     "does not pass a NAT"},
    {"BEET", [](bridge::AddSa& m) { m.set_mode(3); }, "mode beet is not supported: set mode = tunnel or transport"},
    {"no mode", [](bridge::AddSa& m) { m.set_mode(0); }, "mode 0 is not supported"},
    {"algorithms", [](bridge::AddSa& m) { m.set_encryption(3); }, "ESP proposal 3DES_CBC(3)"},
    {"DSCP inwards", [](bridge::AddSa& m) { m.set_dscp_in(true); }, "copy_dscp = out or no"},
    {"no ECN", [](bridge::AddSa& m) { m.set_no_ecn(true); }, "copy_ecn = yes"},
    {"two families",
     [](bridge::AddSa& m) {
       m.mutable_id()->mutable_source()->set_address(IpAddress::parse("2001:db8::1")->to_bytes());
     },
     "are of two families"},
    {"malformed address", [](bridge::AddSa& m) { m.mutable_id()->mutable_source()->set_address("12345"); },
     "source address: an IP address of 5 bytes"},
    {"IPComp", [](bridge::AddSa& m) { m.set_ipcomp(2); }, "ipcomp = no"},
    {"reserved SPI", [](bridge::AddSa& m) { m.mutable_id()->set_spi(255); }, "reserved"},
    {"no remote", [](bridge::AddSa& m) { m.mutable_id()->mutable_source()->clear_address(); },
     "source address is missing"},
    {"port", [](bridge::AddSa& m) { m.mutable_id()->mutable_source()->set_port(70000); }, "above 65535"},
    {"no port", [](bridge::AddSa& m) { m.mutable_id()->mutable_source()->set_port(0); }, "without ports"},
    {"huge window", [](bridge::AddSa& m) { m.set_replay_window(1U << 30); }, "replay window"},
    {"long name", [](bridge::AddSa& m) { m.set_connection(std::string(300, 'x')); }, "tunnel name"},
    {"no reqid", [](bridge::AddSa& m) { m.set_reqid(0); }, "reqid"},
};

TEST(Translation, RefusedSas) {
  for (const RefusedSa& c : kRefusedSas) {
    bridge::AddSa m = add_sa();
    c.spoil(m);
    const auto sa = translate(m, 0);
    ASSERT_FALSE(sa) << c.what;
    EXPECT_THAT(sa.error().message, HasSubstr(c.says)) << c.what;
  }
}

bridge::Policy policy(bridge::Policy::Direction direction) {
  bridge::Policy m;
  m.set_direction(direction);
  m.set_kind(bridge::Policy::IPSEC);
  m.set_class_(1);
  m.set_reqid(7);
  m.set_mode(2);
  m.set_connection("clients");
  bridge::Selector* dvipa = direction == bridge::Policy::OUT ? m.mutable_source() : m.mutable_destination();
  bridge::Selector* peer = direction == bridge::Policy::OUT ? m.mutable_destination() : m.mutable_source();
  dvipa->set_first(IpAddress(0xc0000264).to_bytes());
  dvipa->set_last(IpAddress(0xc0000264).to_bytes());
  peer->set_first(IpAddress(0xc6336401).to_bytes());
  peer->set_last(IpAddress(0xc6336401).to_bytes());
  dvipa->set_last_port(65535);
  peer->set_last_port(65535);
  (direction == bridge::Policy::OUT ? m.mutable_sa_source() : m.mutable_sa_destination())
      ->set_address(IpAddress(0xc0000264).to_bytes());
  (direction == bridge::Policy::OUT ? m.mutable_sa_destination() : m.mutable_sa_source())
      ->set_address(IpAddress(0xc6336401).to_bytes());
  return m;
}

TEST(Translation, OutboundPolicyNamesTheTunnel) {
  const auto translated = translate(policy(bridge::Policy::OUT), 0);
  ASSERT_TRUE(translated) << translated.error().message;
  EXPECT_EQ(translated->dvipa.to_string(), "192.0.2.100");
  ASSERT_EQ(translated->filters.size(), 1U);
  const xcf::v1::Filter& f = translated->filters[0];
  EXPECT_TRUE(f.outbound());
  EXPECT_EQ(f.action(), xcf::v1::Filter::PROTECT);
  EXPECT_EQ(f.tunnel(), "clients{7}");
  EXPECT_EQ(f.source_first(), IpAddress(0xc0000264).to_bytes());
  EXPECT_EQ(f.source_last(), f.source_first());
  EXPECT_EQ(f.destination_port_last(), 65535U);
}

TEST(Translation, InboundPolicyHasItsDvipaAtTheDestination) {
  const auto translated = translate(policy(bridge::Policy::IN), 0);
  ASSERT_TRUE(translated);
  EXPECT_EQ(translated->dvipa.to_string(), "192.0.2.100");
  EXPECT_FALSE(translated->filters.at(0).outbound());
}

TEST(Translation, ForwardAndTrapPoliciesMakeNoFilter) {
  EXPECT_TRUE(translate(policy(bridge::Policy::FWD), 0)->filters.empty());
  bridge::Policy trap = policy(bridge::Policy::OUT);
  trap.set_class_(2);
  EXPECT_TRUE(translate(trap, 0)->filters.empty());
}

TEST(Translation, PassAndDropPolicies) {
  bridge::Policy m = policy(bridge::Policy::OUT);
  m.set_kind(bridge::Policy::PASS);
  EXPECT_EQ(translate(m, 0)->filters.at(0).action(), xcf::v1::Filter::PERMIT);
  EXPECT_EQ(translate(m, 0)->filters.at(0).tunnel(), "");
  m.set_kind(bridge::Policy::DROP);
  EXPECT_EQ(translate(m, 0)->filters.at(0).action(), xcf::v1::Filter::DENY);
  m.set_kind(bridge::Policy::UNKNOWN);
  EXPECT_FALSE(translate(m, 0));
}

TEST(Translation, MoreSpecificAndMoreImportantPoliciesComeFirst) {
  bridge::Policy host = policy(bridge::Policy::OUT), network = host, port = host, pass = host, manual = host;
  network.mutable_destination()->set_first(IpAddress(0xc6336400).to_bytes());
  network.mutable_destination()->set_last(IpAddress(0xc63364ff).to_bytes());
  port.mutable_source()->set_protocol(6);
  port.mutable_source()->set_first_port(80);
  port.mutable_source()->set_last_port(80);
  pass.set_class_(0);
  pass.mutable_destination()->set_first(IpAddress(0).to_bytes());
  pass.mutable_destination()->set_last(IpAddress(0xffffffff).to_bytes());
  manual.set_manual_priority(1);
  const auto priority = [](const bridge::Policy& m) { return translate(m, 0)->filters.at(0).priority(); };
  EXPECT_LT(priority(host), priority(network));
  EXPECT_LT(priority(port), priority(host));
  EXPECT_LT(priority(pass), priority(manual));
  EXPECT_LT(priority(manual), priority(port));
  EXPECT_LT(priority(network), 1'000'000U);
}

std::string text(const bridge::Policy& m) {
  const auto translated = translate(m, 0);
  if (!translated) return translated.error().message;
  return selectors_text(filter_from_message(translated->filters.at(0)).value());
}

TEST(Translation, RangesStayRanges) {
  bridge::Policy m = policy(bridge::Policy::OUT);
  m.mutable_destination()->set_first(IpAddress(1).to_bytes());
  m.mutable_destination()->set_last(IpAddress(0xfffffffe).to_bytes());
  EXPECT_EQ(text(m), "out any 192.0.2.100/32 > 0.0.0.1-255.255.255.254");
  m.mutable_destination()->set_first(IpAddress(5).to_bytes());
  m.mutable_destination()->set_last(IpAddress(4).to_bytes());
  EXPECT_THAT(text(m), HasSubstr("wrong way round"));
}

// RFC 4301 section 4.4.1.1, RFC 4718 section 4.9.
TEST(Translation, PortsOpaqueAndIcmpTypes) {
  const auto with = [](std::uint32_t protocol, policy::PortRange source, policy::PortRange destination) {
    bridge::Policy m = policy(bridge::Policy::OUT);
    m.mutable_source()->set_protocol(protocol);
    m.mutable_source()->set_first_port(source.first);
    m.mutable_source()->set_last_port(source.last);
    m.mutable_destination()->set_first_port(destination.first);
    m.mutable_destination()->set_last_port(destination.last);
    const std::string all = text(m);
    return all.substr(all.find(' ') + 1);
  };
  const policy::PortRange any, opaque = policy::PortRange::opaque(), unreachable{0x300, 0x3ff}, echo{0x800, 0x800};
  EXPECT_EQ(with(6, {80, 90}, any), "tcp 192.0.2.100/32:80-90 > 198.51.100.1/32");
  EXPECT_EQ(with(17, opaque, {53, 53}), "udp 192.0.2.100/32:opaque > 198.51.100.1/32:53");
  EXPECT_EQ(with(1, any, any), "icmp 192.0.2.100/32 > 198.51.100.1/32");
  EXPECT_EQ(with(1, unreachable, opaque), "icmp 192.0.2.100/32:3 > 198.51.100.1/32");
  EXPECT_EQ(with(1, opaque, unreachable), "icmp 192.0.2.100/32:opaque > 198.51.100.1/32");
  EXPECT_EQ(with(1, any, echo), "icmp 192.0.2.100/32:8/0 > 198.51.100.1/32");
  EXPECT_THAT(with(6, {90, 80}, any), HasSubstr("90–80 is no range"));
}

}  // namespace
}  // namespace testudo::ike
