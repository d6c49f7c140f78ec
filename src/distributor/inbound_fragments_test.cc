// SPDX-License-Identifier: Apache-2.0
// The owner's inbound path: fragments before and after IPsec, ICMP errors, peers that move, and lifesize.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distributor/forwarding.h"
#include "distributor/fragments_for_test.h"
#include "distributor/inbound_world_for_test.h"
#include "wire/gre.h"
#include "wire/icmp.h"

namespace testudo::distributor {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kForward = Verdict::Kind::kForward;
constexpr auto kLocal = Verdict::Kind::kLocal;
constexpr auto kDrop = Verdict::Kind::kDrop;
constexpr auto kHeld = Verdict::Kind::kHeld;
constexpr auto kIgnore = Verdict::Kind::kIgnore;

void connected(World& w) { ASSERT_EQ(w.udp_one(w.esp(syn(), 1)).kind, kForward); }
void connected_clear(World& w) {
  ASSERT_EQ(w.raw_one(packet_of({.flags = wire::kTcpSyn, .destination = kPlain})).kind, kForward);
}
ForwardKey key_of(const Seen& seen) { return {wire::parse_gre(seen.head)->key}; }

/// A packet with a right header, as fragment_of() wants it.
Bytes sound(Bytes bytes) {
  auto& ip = *reinterpret_cast<wire::Ipv4Header*>(bytes.data());
  ip.checksum = Be<std::uint16_t>(0);
  ip.checksum = Be<std::uint16_t>(wire::checksum(std::span(bytes).first(20)));
  return bytes;
}

// ---- before IPsec ----

TEST(InboundFragments, AProtectedPacketThatWasCutOnItsWay) {
  World w;
  connected(w);
  const Bytes whole = World::in_ip(w.esp(ack(), 2));
  EXPECT_EQ(w.raw_one(fragment_of(whole, 32, whole.size() - 20, 5)).kind, kHeld);
  const Seen seen = w.raw_one(fragment_of(whole, 0, 32, 5));
  EXPECT_EQ(seen.kind, kForward);
  EXPECT_EQ(seen.target, kT1);
  const auto ip = wire::parse_ip(seen.body);
  ASSERT_TRUE(ip);
  EXPECT_FALSE(ip->is_fragment());
  EXPECT_EQ(Bytes(seen.body.begin() + 20, seen.body.end()), Bytes(whole.begin() + 20, whole.end()));
  EXPECT_EQ(w.inbound->counters().reassembled.value(), 1u);
}

TEST(InboundFragments, AClearPacketThatWasCut) {
  World w;
  connected_clear(w);
  const Bytes whole = sound(packet_of({.destination = kPlain}));
  EXPECT_EQ(w.raw_one(fragment_of(whole, 0, 24, 5)).kind, kHeld);
  const Seen seen = w.raw_one(fragment_of(whole, 24, 60, 5));
  EXPECT_EQ(seen.kind, kForward);
  EXPECT_TRUE(key_of(seen).clear());
}

TEST(InboundFragments, WhatIsMissingIsCountedInTheEnd) {
  World w;
  const Bytes whole = World::in_ip(w.esp(ack(), 2));
  EXPECT_EQ(w.raw_one(fragment_of(whole, 0, 32, 5)).kind, kHeld);
  EXPECT_EQ(w.inbound->next_timer(), w.now + ReassemblerConfig{}.timeout);
  w.now += ReassemblerConfig{}.timeout;
  w.inbound->tick(w.now);
  EXPECT_EQ(w.drops.value(Drop::kFragmentLost), 1u);
  EXPECT_EQ(w.raw_one(fragment_of(whole, 0, 32, 6)).kind, kHeld);
  EXPECT_EQ(w.raw_one(fragment_of(whole, 24, 40, 6)).reason, Drop::kFragmentOverlap);
  EXPECT_EQ(w.drops.value(Drop::kFragmentLost), 2u);
}

TEST(InboundFragments, OfSocketsAreTheKernelsToPutTogether) {
  World w;
  Bytes whole = packet_of({.client_port = 4500, .port = 4500, .protocol = wire::kProtocolUdp});
  whole[24] = 0, whole[25] = 60;
  whole = sound(whole);
  EXPECT_EQ(w.raw_one(fragment_of(whole, 0, 24, 5)).kind, kHeld);
  EXPECT_EQ(w.raw_one(fragment_of(whole, 24, 60, 5)).kind, kIgnore);
}

TEST(InboundFragments, NotForUs) {
  World w;
  const Bytes whole = sound(packet_of({.destination = kForeign}));
  EXPECT_EQ(w.raw_one(fragment_of(whole, 0, 24, 5)).reason, Drop::kNotForDvipa);
}

// ---- after IPsec (RFC 4301 section 7) ----

TEST(InboundFragments, ASegmentThatWasCutBeforeItWasProtected) {
  World w;
  connected(w);
  const Bytes whole = sound(packet_of({.payload = 400}));
  EXPECT_EQ(w.udp_one(w.esp(fragment_of(whole, 0, 200, 5), 2)).kind, kHeld);
  const Seen seen = w.udp_one(w.esp(fragment_of(whole, 200, 420, 5), 3));
  ASSERT_EQ(seen.kind, kForward);  // decrypted and put together here, so it goes on in the clear
  EXPECT_EQ(seen.target, kT1);
  EXPECT_TRUE(key_of(seen).clear() && key_of(seen).filtered());
  EXPECT_EQ(wire::parse_ip(seen.body)->total_size(), whole.size());
  EXPECT_EQ(Bytes(seen.body.begin() + 20, seen.body.end()), Bytes(whole.begin() + 20, whole.end()));
  // Both numbers are used up, whatever became of the pieces.
  EXPECT_EQ(w.udp_one(w.esp(fragment_of(whole, 0, 200, 6), 2)).reason, Drop::kReplay);
  EXPECT_EQ(w.in(0).totals().packets.value(), 2u);
}

TEST(InboundFragments, ADatagramThatWasCutBeforeItWasProtected) {
  World w;
  const Bytes whole = sound(packet_of({.protocol = wire::kProtocolIcmp, .payload = 400}));
  EXPECT_EQ(w.udp_one(w.esp(fragment_of(whole, 200, 420, 5), 1)).kind, kHeld);
  const Seen seen = w.udp_one(w.esp(fragment_of(whole, 0, 200, 5), 2));
  EXPECT_EQ(seen.kind, kLocal);
  EXPECT_EQ(Bytes(seen.bytes.begin() + 20, seen.bytes.end()), Bytes(whole.begin() + 20, whole.end()));
}

// The filters see the ports of the whole packet.
TEST(InboundFragments, TheFilterSeesTheWhole) {
  World w;
  const Bytes whole = sound(packet_of({.flags = wire::kTcpSyn, .port = kDenied, .payload = 400}));
  EXPECT_EQ(w.udp_one(w.esp(fragment_of(whole, 200, 420, 5), 1)).kind, kHeld);
  EXPECT_EQ(w.udp_one(w.esp(fragment_of(whole, 0, 200, 5), 2)).reason, Drop::kFilterDenied);
}

// Pieces that came by different tunnels, or in the clear, are not one packet.
TEST(InboundFragments, TunnelsAreKeptApart) {
  World w;
  const Bytes whole = sound(packet_of({.payload = 400}));
  EXPECT_EQ(w.udp_one(w.esp(fragment_of(whole, 0, 200, 5), 1)).kind, kHeld);
  EXPECT_EQ(w.udp_one(w.esp(fragment_of(whole, 200, 420, 5), 1, 1), 1).kind, kHeld);
  EXPECT_EQ(w.raw_one(fragment_of(whole, 200, 420, 5)).kind, kHeld);
}

// ---- ICMP errors ----

/// An ICMP error about what `about` is the beginning of.
Bytes icmp_error(const Bytes& about, std::uint32_t mtu = 1300) {
  wire::IcmpRoom room;
  const std::size_t size = wire::build_too_big(room, *wire::parse_ip(about), mtu);
  return {room.begin(), room.begin() + static_cast<std::ptrdiff_t>(size)};
}
/// A packet of the server of the connection of client port 40000.
Bytes answer(IpAddress from = kDvipa, std::uint16_t client_port = 40000) {
  return packet_of({.client_port = kHttps, .port = client_port, .source = from, .destination = kClients[0]});
}

TEST(InboundIcmp, AnErrorInsideAnSaGoesToTheTargetOfItsConnection) {
  World w;
  connected(w);
  const Bytes error = icmp_error(answer());
  const Seen seen = w.udp_one(w.esp(error, 2));
  ASSERT_EQ(seen.kind, kForward);
  EXPECT_EQ(seen.target, kT1);
  EXPECT_EQ(seen.body, error);
  EXPECT_TRUE(key_of(seen).clear() && key_of(seen).filtered());
  EXPECT_EQ(w.inbound->counters().icmp_relayed.value(), 1u);
  // Of no connection: for this host.
  EXPECT_EQ(w.udp_one(w.esp(icmp_error(answer(kDvipa, 40001)), 3)).kind, kLocal);
  EXPECT_EQ(w.udp_one(w.esp(error, 2)).reason, Drop::kReplay);
}

// RFC 4301 section 6.2.
TEST(InboundIcmp, NoPeerComplainsOfAnothersConnection) {
  World w;
  connected(w);
  Bytes error = icmp_error(answer());
  reinterpret_cast<wire::Ipv4Header*>(error.data())->source = Be<std::uint32_t>(kClients[1].v4());
  EXPECT_EQ(w.udp_one(w.esp(error, 1, 1), 1).reason, Drop::kNotSelected);
  EXPECT_EQ(w.inbound->counters().icmp_relayed.value(), 0u);
}

TEST(InboundIcmp, AnErrorAboutAClearConnectionGoesToItsTarget) {
  World w;
  connected_clear(w);
  const Bytes error = icmp_error(answer(kPlain));
  const Seen seen = w.raw_one(error);
  ASSERT_EQ(seen.kind, kForward);
  EXPECT_EQ(seen.target, kT1);
  EXPECT_TRUE(key_of(seen).clear());
  EXPECT_EQ(w.raw_one(icmp_error(answer(kPlain, 40001))).kind, kLocal);
}

// Nothing from outside may meddle with a connection under IPsec.
TEST(InboundIcmp, AClearErrorAboutAProtectedConnectionIsRefused) {
  World w;
  connected(w);
  EXPECT_EQ(w.raw_one(icmp_error(answer())).kind, kDrop);
}

/// What a target has sent on an outbound SA with this SPI, in the clear to see for a router.
Bytes sent_esp(std::uint32_t spi, std::uint32_t number, bool in_udp = false, IpAddress to = kPeers[0]) {
  Bytes payload(in_udp ? 8 : 0);
  if (in_udp) payload[0] = 0x11, payload[1] = 0x94, payload[2] = 0xf0;  // from port 4500
  for (const std::uint32_t word : {spi, number}) {
    for (int shift = 24; shift >= 0; shift -= 8) payload.push_back(static_cast<std::uint8_t>(word >> shift));
  }
  payload.resize(200);
  Bytes bytes(20 + payload.size());
  wire::build_ip(
      bytes, {.source = kDvipa, .destination = to, .protocol = in_udp ? wire::kProtocolUdp : wire::kProtocolEsp},
      payload.size());
  std::copy(payload.begin(), payload.end(), bytes.begin() + 20);
  return bytes;
}

TEST(InboundIcmp, TooBigAboutAnOutboundSaIsAHint) {
  for (const bool in_udp : {false, true}) {
    World w;
    w.install_outbound(SaId(7), Spi(0x12345678));
    EXPECT_EQ(w.raw_one(icmp_error(sent_esp(0x12345678, 99, in_udp))).kind, kIgnore);
    ASSERT_THAT(w.inbound->path_mtus(), SizeIs(1));
    EXPECT_EQ(w.inbound->path_mtus()[0].sa, SaId(7));
    EXPECT_EQ(w.inbound->path_mtus()[0].sequence_low, 99u);
    EXPECT_EQ(w.inbound->path_mtus()[0].mtu, 1300);
    EXPECT_EQ(w.raw_one(icmp_error(sent_esp(0x12345678, 99, in_udp), 68)).kind, kIgnore);
    EXPECT_EQ(w.inbound->path_mtus()[0].mtu, 576);
    EXPECT_EQ(w.raw_one(icmp_error(sent_esp(0x12345678, 99, in_udp), 0)).kind, kIgnore);  // an old router
    EXPECT_EQ(w.inbound->path_mtus()[0].mtu, 576);
    // Another SPI, another peer, another kind of error, an SA that is gone.
    EXPECT_EQ(w.raw_one(icmp_error(sent_esp(0x12345679, 99, in_udp))).reason, Drop::kIcmpUnverified);
    EXPECT_EQ(w.raw_one(icmp_error(sent_esp(0x12345678, 99, in_udp, kPeers[1]))).reason, Drop::kIcmpUnverified);
    Bytes unreachable = icmp_error(sent_esp(0x12345678, 99, in_udp));
    unreachable[21] = 1;
    EXPECT_EQ(w.raw_one(unreachable).reason, Drop::kIcmpUnverified);
    w.inbound->sa_removed(SaId(7));
    EXPECT_EQ(w.raw_one(icmp_error(sent_esp(0x12345678, 99, in_udp))).reason, Drop::kIcmpUnverified);
    EXPECT_THAT(w.inbound->path_mtus(), IsEmpty());
  }
}

// SAs of another address than a DVIPA have paths, too.
TEST(InboundIcmp, TooBigAboutAnSaOfAGateway) {
  World w;
  w.install_outbound(SaId(7), Spi(0x12345678), kGateway);
  Bytes about = sent_esp(0x12345678, 99);
  reinterpret_cast<wire::Ipv4Header*>(about.data())->source = Be<std::uint32_t>(kGateway.v4());
  EXPECT_EQ(w.raw_one(icmp_error(about)).kind, kIgnore);
  ASSERT_THAT(w.inbound->path_mtus(), SizeIs(1));
  EXPECT_EQ(w.inbound->path_mtus()[0].sa, SaId(7));
  EXPECT_EQ(w.raw_one(packet_of({.destination = kGateway})).reason, Drop::kNotForDvipa);
  EXPECT_EQ(w.raw_one(icmp_error(packet_of({.source = kGateway, .destination = kClients[0]}))).reason,
            Drop::kNotForDvipa);
}

// ---- peers that move ----

TEST(InboundMoved, IsSaidOnceForEachPlaceAndOnlyOfWhatIsGenuineAndNew) {
  World w({.udp = true});
  connected(w);
  EXPECT_THAT(w.inbound->moved(), IsEmpty());
  // Forged, from elsewhere: nobody moves, and nothing is forwarded on trust.
  EXPECT_EQ(w.udp_from(4501, changed(w.esp(ack(), 2), 1)).reason, Drop::kBadIcv);
  EXPECT_THAT(w.inbound->moved(), IsEmpty());
  // Replayed, from elsewhere.
  const Bytes second = w.esp(ack(), 2);
  ASSERT_EQ(w.udp_one(second).kind, kForward);
  EXPECT_EQ(w.udp_from(4501, second).reason, Drop::kReplay);
  EXPECT_THAT(w.inbound->moved(), IsEmpty());
  // Genuine.
  EXPECT_EQ(w.udp_from(4501, w.esp(ack(), 3)).kind, kForward);
  ASSERT_THAT(w.inbound->moved(), SizeIs(1));
  EXPECT_EQ(w.inbound->moved()[0].sa, SaId(1));
  EXPECT_EQ(w.inbound->moved()[0].remote, (Endpoint{kPeers[0], 4501}));
  // Said once; from then on its packets are trusted as before.
  const auto authenticated = w.inbound->counters().authenticated_first.value();
  for (std::uint64_t n = 4; n < 10; ++n) {
    EXPECT_EQ(w.udp_from(4501, w.esp(ack(), n)).kind, kForward);
    EXPECT_THAT(w.inbound->moved(), IsEmpty());
  }
  EXPECT_EQ(w.inbound->counters().authenticated_first.value(), authenticated);
}

TEST(InboundMoved, AtMostOnceASecond) {
  World w({.udp = true});
  connected(w);
  std::uint64_t n = 1;
  std::size_t said = 0;
  for (int i = 0; i < 40; ++i) {  // to and fro, every 100 ms
    EXPECT_EQ(w.udp_from(static_cast<std::uint16_t>(4501 + i % 2), w.esp(ack(), ++n)).kind, kForward);
    said += w.inbound->moved().size();
    w.now += 100ms;
  }
  EXPECT_GE(said, 3u);
  EXPECT_LE(said, 5u);
}

TEST(InboundMoved, ControlHasFollowed) {
  World w({.udp = true});
  connected(w);
  ASSERT_EQ(w.udp_from(4501, w.esp(ack(), 2)).kind, kForward);
  w.in(0).set_remote_endpoint({kPeers[0], 4501});
  w.now += 2s;
  EXPECT_EQ(w.udp_from(4501, w.esp(ack(), 3)).kind, kForward);
  EXPECT_THAT(w.inbound->moved(), IsEmpty());
  EXPECT_EQ(w.udp_from(4500, w.esp(ack(), 4)).kind, kForward);  // and back
  EXPECT_THAT(w.inbound->moved(), SizeIs(1));
}

// ---- lifesize (spec D1, D2): what is accepted here ages the SA, once; what goes to a target is the target's to
// count

TEST(InboundLifesize, CountsWhatEndsHere) {
  World w;
  const auto& totals = w.in(0).totals();
  const Bytes icmp = packet_of({.protocol = wire::kProtocolIcmp});
  connected(w);
  EXPECT_EQ(totals.packets.value(), 0u);  // the SYN was authenticated, and goes to a target
  w.udp_one(w.esp(ack(), 2));
  w.udp_one(changed(w.esp(icmp, 3), 1));
  EXPECT_EQ(totals.packets.value(), 0u);
  w.udp_one(w.esp(icmp, 3));
  EXPECT_EQ(totals.packets.value(), 1u);
  EXPECT_EQ(totals.bytes.value(), icmp.size());
  w.udp_one(w.esp(icmp, 3));
  EXPECT_EQ(totals.packets.value(), 1u);  // replayed
  w.udp_one(w.esp(packet_of({.flags = wire::kTcpSyn, .port = kDenied}), 4));
  EXPECT_EQ(totals.packets.value(), 2u);  // genuine and new, whatever the filter says
}

// What goes to a target is the target's to stop.
TEST(InboundLifesize, AcceptsNoMoreThanTheOwnerMayCarry) {
  World w({.limits = {.hard_packets = 10}});
  w.in(0).allow({.bytes = 0, .packets = 1});
  const Bytes icmp = packet_of({.protocol = wire::kProtocolIcmp});
  connected(w);
  EXPECT_EQ(w.udp_one(w.esp(icmp, 2)).kind, kLocal);
  const Seen seen = w.udp_one(w.esp(icmp, 3));
  EXPECT_EQ(seen.kind, kDrop);
  EXPECT_EQ(seen.reason, Drop::kLifesize);
  EXPECT_EQ(w.udp_one(w.esp(ack(), 4)).kind, kForward);
  EXPECT_EQ(w.in(0).totals().packets.value(), 1u);
  EXPECT_TRUE(w.in(0).refused());
  w.in(0).allow({.bytes = 0, .packets = 2});
  EXPECT_EQ(w.udp_one(w.esp(icmp, 3)).reason, Drop::kReplay);  // its number is used
  EXPECT_EQ(w.udp_one(w.esp(icmp, 5)).kind, kLocal);
}

}  // namespace
}  // namespace testudo::distributor
