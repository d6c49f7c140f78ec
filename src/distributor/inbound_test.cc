// SPDX-License-Identifier: Apache-2.0
// The owner's inbound path: what its truth table (inbound_truth_table_test.cc) cannot say in one line.
#include "distributor/inbound.h"

#include <gtest/gtest.h>

#include "distributor/forwarding.h"
#include "distributor/inbound_world_for_test.h"
#include "wire/gre.h"

namespace testudo::distributor {
namespace {

constexpr auto kForward = Verdict::Kind::kForward;
constexpr auto kLocal = Verdict::Kind::kLocal;
constexpr auto kDrop = Verdict::Kind::kDrop;
constexpr auto kIke = Verdict::Kind::kIke;
constexpr auto kIgnore = Verdict::Kind::kIgnore;

/// A SYN with number 1 has made the connection of client port 40000, at T1.
void connected(World& w) {
  ASSERT_EQ(w.udp_one(w.esp(syn(), 1)).kind, kForward);
  ASSERT_EQ(w.list().size(), 1u);
}
TEST(Inbound, ForwardsWhatCameInUdpUntouchedBehindGreAndAFreshHeader) {
  World w;
  connected(w);
  const Bytes esp = w.esp(ack(), 2);
  const Seen seen = w.udp_one(esp);
  EXPECT_EQ(seen.body, esp);
  const auto gre = wire::parse_gre(seen.head);
  ASSERT_TRUE(gre);
  EXPECT_EQ(gre->key, 0x334455u << 8);  // not filtered: the packet was only peeked at
  EXPECT_EQ(gre->sequence, 0u);
  Bytes ip_packet(gre->payload.begin(), gre->payload.end());
  ip_packet.insert(ip_packet.end(), seen.body.begin(), seen.body.end());
  const auto ip = wire::parse_ipv4(ip_packet);
  ASSERT_TRUE(ip);
  EXPECT_TRUE(ip->checksum_is_right());
  EXPECT_EQ(ip->source(), kPeers[0]);
  EXPECT_EQ(ip->destination(), kDvipa);
  EXPECT_EQ(ip->protocol(), wire::kProtocolEsp);
  EXPECT_EQ(ip->payload().size(), esp.size());
  EXPECT_EQ(seen.tunnel, w.factory.tunnels().intern(World::tunnel(0)));
}

TEST(Inbound, ForwardsASynUntouchedToo) {
  World w;
  const Bytes esp = w.esp(syn(), 1);
  const Seen seen = w.udp_one(esp);
  EXPECT_EQ(seen.body, esp);
  EXPECT_TRUE(ForwardKey{wire::parse_gre(seen.head)->key}.filtered());
  EXPECT_FALSE(ForwardKey{wire::parse_gre(seen.head)->key}.clear());
}

TEST(Inbound, ForwardsRawEspWithItsOwnHeader) {
  World w;
  connected(w);
  const Bytes packet = World::in_ip(w.esp(ack(), 2));
  Bytes padded = packet;
  padded.resize(padded.size() + 6);  // Ethernet padding
  const Seen seen = w.raw_one(padded);
  EXPECT_EQ(seen.head.size(), wire::kGreSize);
  EXPECT_EQ(seen.body, packet);
}

TEST(Inbound, ForwardsClearPacketsAsClear) {
  World w;
  const Bytes packet = packet_of({.flags = wire::kTcpSyn, .destination = kPlain});
  const Seen seen = w.raw_one(packet);
  EXPECT_EQ(seen.body, packet);
  const ForwardKey key{wire::parse_gre(seen.head)->key};
  EXPECT_TRUE(key.clear() && key.filtered() && key.matches(kEpoch));
  EXPECT_EQ(w.inbound->counters().forwarded_clear.value(), 1u);
}

TEST(Inbound, DeliversThePlainPacketWhetherDecryptedInPlaceOrNot) {
  World w;
  const Bytes icmp = packet_of({.protocol = wire::kProtocolIcmp});
  EXPECT_EQ(w.udp_one(w.esp(icmp, 1)).bytes, icmp);
  EXPECT_EQ(w.udp_one(w.esp(ack(), 2)).bytes, ack());  // decrypted beside, since it might have been forwarded
  EXPECT_EQ(w.udp_one({0, 0, 0, 0, 1, 2, 3, 4, 5}).bytes, (Bytes{1, 2, 3, 4, 5}));
}

TEST(Inbound, EveryMessageOnPort500IsIke) {
  World w;
  Bytes bytes{1, 2, 3};
  wire::Packet packet;
  packet.data = bytes.data();
  packet.size = 3;
  packet.destination = {kDvipa, 500};
  const auto verdicts = w.inbound->ike({&packet, 1});
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_EQ(verdicts[0].kind, kIke);
  EXPECT_EQ(verdicts[0].bytes.data(), bytes.data());
}

TEST(Inbound, CompletesAChecksumThatWasLeftToTheDevice) {
  World w;
  Bytes bytes = packet_of({.flags = wire::kTcpSyn, .destination = kPlain, .payload = 7});
  const std::uint64_t pseudo = wire::pseudo_header_sum(kClients[0], kPlain, wire::kProtocolTcp, bytes.size() - 20);
  const auto partial = static_cast<std::uint16_t>(~wire::fold(pseudo));
  bytes[36] = static_cast<std::uint8_t>(partial >> 8);
  bytes[37] = static_cast<std::uint8_t>(partial);
  wire::Packet packet;
  packet.data = bytes.data();
  packet.size = static_cast<std::uint32_t>(bytes.size());
  packet.checksum_missing = true;
  ASSERT_EQ(w.inbound->raw({&packet, 1}, w.now)[0].kind, kForward);
  EXPECT_EQ(wire::fold(wire::add(pseudo, std::span(bytes).subspan(20))), 0);
  packet.segment_size = 100;
  EXPECT_EQ(w.inbound->raw({&packet, 1}, w.now)[0].reason, Drop::kUnsupported);
}

// Spec C5 and the SA's 64-bit numbers: the owner completes the high half, and tells the target.
TEST(Inbound, CarriesTheHighHalfOfAnExtendedNumber) {
  World w({.esn = true});
  connected(w);
  const std::uint64_t last = 0xffffffff;
  for (std::uint64_t n = last - 1; n <= last + 2; ++n) {
    // Authenticated, since far ahead; and from then on the owner knows the half.
    const Seen seen = w.udp_one(w.esp(syn(static_cast<std::uint16_t>(n)), n));
    if (n == last - 1) {
      ASSERT_EQ(seen.kind, kForward);
    }
    ASSERT_EQ(seen.kind, kForward) << n;
    EXPECT_EQ(wire::parse_gre(seen.head)->sequence, n >> 32);
  }
}

TEST(Inbound, NewChoiceAfterTheClientClosedAndTheOldNumbersStayWhereTheyWere) {
  World w;
  connected(w);
  w.udp_one(w.esp(ack(), 2));
  w.udp_one(w.esp(packet_of({.flags = wire::kTcpFin | wire::kTcpAck}), 3));
  EXPECT_EQ(w.list().at(0).state, ConnectionState::kClosing);
  EXPECT_EQ(w.udp_one(w.esp(ack(), 4)).target, kT1);  // the server's last data is still acknowledged
  EXPECT_EQ(w.udp_one(w.esp(syn(), 5)).target, kT2);
  EXPECT_EQ(w.list().size(), 1u);
  // Not committed by T1, and the flow is at T2 now: a second copy is the replay.
  for (const std::uint64_t n : {2, 4}) {
    EXPECT_EQ(w.udp_one(w.esp(ack(), n)).reason, Drop::kReplay) << n;
  }
  EXPECT_EQ(w.inbound->counters().authenticated_first.value(), 2u);
}

TEST(Inbound, ForgedCopyDoesNotBlockTheGenuinePacket) {
  World w;
  connected(w);
  ASSERT_EQ(w.udp_one(w.esp(syn(40001), 2)).target, kT2);
  // A forger gives number 3 to the connection at T1; the genuine number 3 is of the one at T2.
  ASSERT_EQ(w.udp_one(changed(w.esp(ack(40000), 3), 1)).target, kT1);
  const Seen genuine = w.udp_one(w.esp(ack(40001), 3));
  EXPECT_EQ(genuine.kind, kForward);
  EXPECT_EQ(genuine.target, kT2);
  EXPECT_EQ(w.inbound->counters().established_full_decrypt.value(), 1u);
  // And another forgery of it goes nowhere.
  EXPECT_EQ(w.udp_one(changed(w.esp(ack(40000), 3), 1)).reason, Drop::kBadIcv);
}

// The owner does the work of the target then; and what it has passed on once, it knows.
TEST(Inbound, AuthenticatesWhatItHasNoRoomToNote) {
  World w({.config = {.connections = {.capacity = 64}, .pending_groups = 1}});
  connected(w);  // pending
  EXPECT_EQ(w.udp_one(changed(w.esp(ack(), 9), 1)).reason, Drop::kBadIcv);
  EXPECT_EQ(w.udp_one(w.esp(ack(), 9)).target, kT1);
  EXPECT_EQ(w.udp_one(w.esp(ack(), 9)).reason, Drop::kReplay);
  EXPECT_EQ(w.inbound->counters().authenticated_first.value(), 2u);
  w.commit(kT1, 1);
  EXPECT_EQ(w.udp_one(w.esp(ack(), 10)).target, kT1);
  EXPECT_EQ(w.inbound->counters().authenticated_first.value(), 2u);
}

// A forged number, however high, moves no window: what is genuine and near still passes unauthenticated.
TEST(Inbound, ForgedNumbersMoveNothing) {
  World w;
  connected(w);
  for (const std::uint64_t n : {600, 100'000, 4'000'000}) {
    EXPECT_EQ(w.udp_one(changed(w.esp(ack(), n), 1)).reason, Drop::kBadIcv) << n;
    EXPECT_EQ(w.udp_one(changed(w.esp(syn(40009), n), 1)).reason, Drop::kBadIcv) << n;
  }
  for (std::uint64_t n = 2; n < 500; ++n) ASSERT_EQ(w.udp_one(w.esp(ack(), n)).kind, kForward) << n;
  EXPECT_EQ(w.inbound->counters().established_full_decrypt.value(), 0u);
}

TEST(Inbound, AnotherTunnelMayTakeTheConnectionOverWhenTheFilterSaysSo) {
  World w;
  connected(w);
  std::vector<policy::Filter> list(1);
  list[0].action = policy::Action::kProtect;
  list[0].tunnel = World::tunnel(1);
  list[0].source = list[0].destination = IpPrefix{IpAddress(0), 0};
  const policy::FilterTable moved(list, w.factory.tunnels());
  w.inbound->set_filters(&moved);
  const Seen seen = w.udp_one(w.esp(ack(), 1, 1), 1);
  EXPECT_EQ(seen.kind, kForward);
  EXPECT_EQ(seen.target, kT1);
}

TEST(Inbound, TableFull) {
  World w({.config = {.connections = {.capacity = 2, .clear_max = 1}}});
  const Seen clear = w.raw_one(packet_of({.flags = wire::kTcpSyn, .destination = kPlain}));
  ASSERT_EQ(clear.kind, kForward);
  EXPECT_EQ(clear.tunnel, ipsec::TunnelId());
  EXPECT_EQ(w.raw_one(packet_of({.flags = wire::kTcpSyn, .client_port = 1, .destination = kPlain})).reason,
            Drop::kConnectionTableFull);
  EXPECT_EQ(w.udp_one(w.esp(syn(1), 1)).kind, kForward);
  EXPECT_EQ(w.udp_one(w.esp(syn(2), 2)).reason, Drop::kConnectionTableFull);
}

// Everything in one burst, verdicts in order; what is decided early in it counts for what comes later.
TEST(Inbound, OneBurst) {
  World w;
  connected(w);
  w.commit(kT1, 1);
  const auto seen = w.udp({
      w.esp(ack(), 2),
      w.esp(syn(40001), 3),
      {0xff},
      w.esp(packet_of({.protocol = wire::kProtocolIcmp}), 4),
      w.esp(syn(40001), 5),
      w.esp(packet_of({.protocol = wire::kProtocolIcmp}), 4),  // again
      w.esp(syn(40002), 6),
      w.esp(ack(), 7),
      w.esp(syn(), 1),  // again
  });
  ASSERT_EQ(seen.size(), 9u);
  const std::pair<Verdict::Kind, NodeId> expected[] = {{kForward, kT1}, {kForward, kT2}, {kIgnore, {}},
                                                       {kLocal, {}},    {kForward, kT2}, {kDrop, {}},
                                                       {kForward, kT3}, {kForward, kT1}, {kDrop, {}}};
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].kind, expected[i].first) << i;
    EXPECT_EQ(seen[i].target, expected[i].second) << i;
  }
  EXPECT_EQ(w.list().size(), 3u);
  EXPECT_EQ(w.inbound->forwarded_to(kT2), 2u);
  EXPECT_EQ(w.drops.value(Drop::kReplay), 2u);
}

// Packets larger than all of the arena together are authenticated in several rounds.
TEST(Inbound, ABurstOfLargePackets) {
  World w;
  std::vector<Bytes> burst;
  for (std::uint64_t n = 1; n <= wire::kBurst; ++n) burst.push_back(w.esp(packet_of({.payload = 9000}), n));
  for (const Seen& seen : w.udp(burst)) {
    ASSERT_EQ(seen.kind, kLocal);
    EXPECT_EQ(seen.bytes, packet_of({.payload = 9000}));
  }
  EXPECT_EQ(w.inbound->counters().fully_processed.value(), wire::kBurst);
}

// Spec D3: the rule that lets a connection in says whether it is logged, and nobody asks again for its packets.
std::string logged(World& w) {
  std::string text;
  for (policy::FlowRecord r; w.flow_log.take(r);) {
    using What = policy::FlowRecord::What;
    text += r.what == What::kBegins ? "begins " : r.what == What::kEnds ? "ends " : "dropped ";
    text += std::to_string(r.flow.source_port) + ">" + std::to_string(r.flow.destination_port) + " ";
  }
  return text;
}

TEST(Inbound, LogsConnectionsWhoseFilterAsksForIt) {
  World w;
  const auto seen = [&w] { return logged(w); };
  const auto plain = [&w](std::uint8_t flags, std::uint16_t port, std::uint16_t client = 40000) {
    w.raw_one(packet_of({.flags = flags, .client_port = client, .port = port, .destination = kPlain}));
  };
  connected(w);  // its filter does not ask
  EXPECT_EQ(seen(), "");
  plain(wire::kTcpSyn, kHttps);
  plain(wire::kTcpAck, kHttps);
  EXPECT_EQ(seen(), "begins 40000>443 ");
  plain(wire::kTcpFin | wire::kTcpAck, kHttps);
  plain(wire::kTcpSyn, kHttps);  // the same ports again
  EXPECT_EQ(seen(), "ends 40000>443 begins 40000>443 ");
  plain(wire::kTcpSyn, kDenied);
  w.udp_one(w.esp(packet_of({.flags = wire::kTcpSyn, .port = kDenied}), 2));
  EXPECT_EQ(seen(), "dropped 40000>25 dropped 40000>25 ");
  w.now += kConnectionTimeoutMax;
  w.inbound->tick(w.now);
  EXPECT_EQ(seen(), "ends 40000>443 ");
  EXPECT_TRUE(w.list().empty());
}

// What is no connection of the table: for this host itself, once per flow.
TEST(Inbound, LogsWhatEndsHere) {
  World w;
  const Bytes clear = packet_of({.port = 53, .destination = kPlain, .protocol = wire::kProtocolUdp});
  w.raw_one(clear), w.raw_one(clear);
  EXPECT_EQ(logged(w), "begins 40000>53 ");
  const auto protected_one = [&w](const Segment& s, std::uint64_t number) {
    Segment own = s;
    own.source = kClients[1];
    return w.udp_one(w.esp(packet_of(own), number, 1), 1).kind;
  };
  EXPECT_EQ(protected_one({.port = 53, .protocol = wire::kProtocolUdp}, 1), Verdict::Kind::kLocal);
  EXPECT_EQ(protected_one({.port = 53, .protocol = wire::kProtocolUdp}, 2), Verdict::Kind::kLocal);
  EXPECT_EQ(protected_one({.flags = wire::kTcpSyn, .port = kNotDistributed}, 3), Verdict::Kind::kLocal);
  EXPECT_EQ(protected_one({.port = kNotDistributed}, 4), Verdict::Kind::kLocal);
  EXPECT_EQ(logged(w), "begins 40000>53 begins 40000>22 ");
  EXPECT_EQ(protected_one({.flags = wire::kTcpSyn}, 5), Verdict::Kind::kForward);
  EXPECT_EQ(protected_one({}, 6), Verdict::Kind::kForward);
  EXPECT_EQ(logged(w), "begins 40000>443 ");
  // By another tunnel than the rule demands: also when nothing was decrypted but the peek.
  Segment foreign;
  foreign.source = kClients[1];
  EXPECT_EQ(w.udp_one(w.esp(packet_of(foreign), 1)).reason, Drop::kNotSelected);
  EXPECT_EQ(logged(w), "dropped 40000>443 ");
}

}  // namespace
}  // namespace testudo::distributor
