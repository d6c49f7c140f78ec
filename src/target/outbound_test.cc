// SPDX-License-Identifier: Apache-2.0
#include "target/outbound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "target/outbound_world_for_test.h"

namespace testudo::target {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint16_t kMss = 1348;

TEST(Outbound, DecidesByFilter) {
  struct Row {
    const char* what;
    AppPacket packet;
    std::optional<Drop> drop;
    std::size_t is_protected, is_clear;
  };
  AppPacket cut_short = tcp_packet(kProtected, 100);
  cut_short.bytes.resize(60);
  AppPacket tiny = tcp_packet(kProtected, 0);
  tiny.bytes.resize(19);
  AppPacket fragment = tcp_packet(kProtected, 100);
  fragment.bytes[6] = 0x20;
  AppPacket bad_tcp = tcp_packet(kProtected, 100, 50);
  bad_tcp.bytes[32] = 0x10;  // a TCP header of 4 bytes
  AppPacket bad_clear = tcp_packet(kPermitted, 100, 50);
  bad_clear.bytes[32] = 0x10;
  const Row rows[] = {
      {"protected", tcp_packet(kProtected, 100), std::nullopt, 1, 0},
      {"permitted", tcp_packet(kPermitted, 100), std::nullopt, 0, 1},
      {"permitted, three segments", tcp_packet(kPermitted, 250, 100), std::nullopt, 0, 3},
      {"denied", tcp_packet(kDenied, 100), Drop::kFilterDenied, 0, 0},
      {"no filter", tcp_packet(kUnknown, 100), Drop::kNoFilter, 0, 0},
      {"no SA", tcp_packet(kNoSa, 100), Drop::kNoOutboundSa, 0, 0},
      {"shorter than it says", cut_short, Drop::kTruncated, 0, 0},
      {"no header", tiny, Drop::kTruncated, 0, 0},
      {"fragment of an impossible size", fragment, Drop::kMalformed, 0, 0},
      {"TCP header too short to cut", bad_tcp, Drop::kMalformed, 0, 0},
      {"the same, clear", bad_clear, Drop::kMalformed, 0, 0},
      {"segments too big to protect", tcp_packet(kProtected, 5000, 1460), Drop::kTooBig, 0, 0},
      {"whole packet too big to protect", tcp_packet(kProtected, 1448), Drop::kTooBig, 0, 0},
      {"too big for the network", tcp_packet(kPermitted, 1449), Drop::kTooBig, 0, 0},
      {"just fits the network", tcp_packet(kPermitted, 1448), std::nullopt, 0, 1},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    World world;
    world.install(1);
    world.warm_up();
    world.process(row.packet);
    EXPECT_THAT(world.sent, SizeIs(row.is_protected));
    EXPECT_THAT(world.clear, SizeIs(row.is_clear));
    EXPECT_EQ(world.dropped(), row.drop ? 1u : 0u);
    if (row.drop) {
      EXPECT_EQ(world.dropped(*row.drop), 1u);
    }
  }
}

TEST(Outbound, DropsEverythingWithoutFilters) {
  World world;
  world.install(1);
  world.outbound.set_filters(nullptr);
  world.process({tcp_packet(kProtected, 100), tcp_packet(kPermitted, 100)});
  EXPECT_EQ(world.dropped(Drop::kNoFilter), 2u);
  EXPECT_EQ(world.send_calls, 0u);
}

// Blocks 163, 164: one super-segment, trains of ESP packets, each of which is what a network card would have sent.
TEST(Outbound, MakesTrainsOfASuperSegment) {
  for (const crypto::Suite suite : ipsec::kAllSuites) {
    SCOPED_TRACE(crypto::sizes(suite).name);
    World world({}, suite);
    world.install(1);
    const AppPacket packet = tcp_packet(kProtected, 65'000, kMss);
    world.process(packet);
    EXPECT_THAT(world.sent, IsEmpty());
    world.exchange();
    const auto expected = segments_of(packet);
    ASSERT_EQ(expected.size(), 49u);
    EXPECT_THAT(world.trains, ElementsAre(49));  // one send call
    for (std::size_t i = 0; i < world.sent.size(); ++i) {
      const World::Sent& s = world.sent[i];
      ASSERT_EQ(s.number(), i + 1);
      EXPECT_EQ(s.source, (Endpoint{kDvipa, 4500}));
      EXPECT_EQ(s.destination, (Endpoint{kPeer, 61'234}));
      EXPECT_THAT(s.head, IsEmpty());
      if (i > 0 && i + 1 < world.sent.size()) {
        EXPECT_EQ(s.esp.size(), world.sent[0].esp.size());
      }
    }
    expect_opened(world, expected);
    for (const Bytes& inner : expected) {  // what it was compared with is right itself
      const auto ip = wire::parse_ipv4(inner);
      ASSERT_TRUE(ip && ip->checksum_is_right() && ip->total_size() == inner.size());
      const auto sum = wire::pseudo_header_sum(ip->source(), ip->destination(), 6, ip->payload().size());
      ASSERT_EQ(wire::fold(wire::add(sum, ip->payload())), 0);
    }
    EXPECT_EQ(world.dropped(), 0u);
  }
}

TEST(Outbound, CutsTrainsAtABurst) {
  World world;
  world.install(1);
  world.warm_up();
  const AppPacket packet = tcp_packet(kProtected, 15'000, 100);
  world.process(packet);
  world.exchange();
  EXPECT_EQ(std::accumulate(world.trains.begin(), world.trains.end(), std::size_t{0}), 150u);
  for (const std::size_t size : world.trains) EXPECT_LE(size, wire::kBurst);
  expect_opened(world, segments_of(packet));
}

TEST(Outbound, GathersABurstInOneTrain) {
  World world;
  world.install(1);
  world.warm_up();
  const std::vector packets = {tcp_packet(kProtected, 300, 100, 1), tcp_packet(kProtected, 10, 0, 301),
                               tcp_packet(kProtected, 200, 100, 311)};
  world.process(packets);
  EXPECT_THAT(world.trains, ElementsAre(6));
  EXPECT_THAT(numbers_of(world.sent), ElementsAre(2, 3, 4, 5, 6, 7));
  expect_opened(world, segments_of_all(packets));
}

// Clear packets are cut in the memory in which a train is gathered: neither spoils the other.
TEST(Outbound, KeepsClearAndProtectedPacketsApart) {
  World world;
  world.install(1);
  world.warm_up();
  const AppPacket first = tcp_packet(kProtected, 300, 100, 1), clear = tcp_packet(kPermitted, 12'000, 150, 7),
                  second = tcp_packet(kProtected, 300, 100, 301);
  world.process({first, clear, second});
  EXPECT_EQ(world.clear, segments_of(clear));
  EXPECT_EQ(world.outbound.counters().clear_packets.value(), 80u);
  expect_opened(world, segments_of_all({first, second}));
}

// Spec E3: a number is never sent after its lease, however long the encryption was held up.
TEST(Outbound, NeverSendsAfterTheLease) {
  World world;
  world.install(1);
  world.warm_up();
  world.encryption_takes = 100ms;
  world.process(tcp_packet(kProtected, 250, 100));
  EXPECT_EQ(world.dropped(Drop::kLeaseExpired), 3u);
  EXPECT_EQ(world.send_calls, 1u);  // the warm-up's
  EXPECT_THAT(world.sent, IsEmpty());
  world.encryption_takes = {};
  world.pass(100ms);
  world.process(tcp_packet(kProtected, 10));
  world.exchange();
  ASSERT_THAT(world.sent, SizeIs(1));
  EXPECT_GT(world.sent[0].number(), 4u);  // what was dropped is not used again
}

// Spec E4: a node's share of the hard limit is never exceeded, and what leaves is what is counted.
TEST(Outbound, SendsNoMoreThanItMayCarry) {
  World world;
  world.adjust = [](ipsec::SaParameters& p) { p.limits = {.hard_bytes = 1'000'000, .hard_packets = 100}; };
  world.install(1);
  world.warm_up();
  ipsec::Sa& sa = *world.sad.find(SaId(1));
  sa.allow({.bytes = 1'000'000, .packets = sa.totals().packets.value() + 2});
  const AppPacket packet = tcp_packet(kProtected, 500, 100);
  world.process(packet);
  EXPECT_THAT(world.trains, ElementsAre(2));
  EXPECT_EQ(world.dropped(Drop::kLifesize), 3u);
  auto expected = segments_of(packet);
  expected.resize(2);
  expect_opened(world, expected);
  EXPECT_TRUE(sa.refused());
  world.process(packet);
  EXPECT_EQ(world.dropped(Drop::kLifesize), 8u);
  EXPECT_EQ(world.send_calls, 2u);  // the warm-up's as well
  sa.allow({.bytes = sa.totals().bytes.value() + expected[0].size() - 1, .packets = 100});
  world.process({packet, tcp_packet(kProtected, 99)});  // the packet is one byte too big, five times
  EXPECT_EQ(world.dropped(Drop::kLifesize), 13u);
  EXPECT_THAT(world.trains, ElementsAre(2, 1));
  EXPECT_EQ(sa.totals().packets.value(), 4u);
}

TEST(Outbound, StopsWhereTheNumbersEnd) {
  World world;
  world.install(1, SeqNo(0xfffffffe), SeqNo(0xffffffff));
  world.process(tcp_packet(kProtected, 400, 100));
  world.exchange();
  EXPECT_THAT(numbers_of(world.sent), ElementsAre(0xfffffffe, 0xffffffff));
  for (int i = 0; i < 3; ++i) {
    world.pass(1ms);
    world.exchange();
  }
  EXPECT_EQ(world.dropped(Drop::kSequenceExhausted), 2u);
  world.process(tcp_packet(kProtected, 250, 100));  // known by now: not held
  EXPECT_EQ(world.dropped(Drop::kSequenceExhausted), 5u);
  EXPECT_EQ(world.outbound.next_timer(), Time::max());
  EXPECT_THAT(world.sent, SizeIs(2));
}

TEST(Outbound, WritesAnOuterHeaderForRawEsp) {
  World world;
  world.udp = false;
  world.install(1);
  world.warm_up();
  world.process(tcp_packet(kProtected, 250, 100, 1, 0xbb));  // DSCP EF, ECN CE
  ASSERT_THAT(world.sent, SizeIs(3));
  std::uint16_t id = 0;
  for (const auto& s : world.sent) {
    Bytes packet = s.head;
    packet.insert(packet.end(), s.esp.begin(), s.esp.end());
    const auto ip = wire::parse_ipv4(packet);
    ASSERT_TRUE(ip);
    EXPECT_TRUE(ip->checksum_is_right());
    EXPECT_EQ(ip->total_size(), packet.size());
    EXPECT_EQ(ip->protocol(), wire::kProtocolEsp);
    EXPECT_EQ(ip->source(), kDvipa);
    EXPECT_EQ(ip->destination(), kPeer);
    EXPECT_EQ(ip->header().traffic_class, 0xbb);  // DSCP and ECN are copied
    EXPECT_EQ(s.traffic_class, 0xbb);
    EXPECT_NE(ip->header().id.host(), id);
    id = ip->header().id.host();
  }
  expect_opened(world, segments_of(tcp_packet(kProtected, 250, 100, 1, 0xbb)));
}

// A network of jumbo frames: what does not fit the train's memory is dropped, not written behind it.
TEST(Outbound, StaysInItsMemoryOnJumboNetworks) {
  World world({.network_mtu = 9000});
  world.install(1);
  world.warm_up();
  world.process({tcp_packet(kProtected, 60'000, 4000), tcp_packet(kPermitted, 60'000, 4000)});
  EXPECT_EQ(world.dropped(Drop::kTooBig), 2u);
  EXPECT_THAT(world.sent, IsEmpty());
  EXPECT_THAT(world.clear, IsEmpty());
}

/// Bursts, grants, lost exchanges, SAs and jumps of time in any order.
class Random {
 public:
  explicit Random(std::uint64_t seed) : rng_(seed), world_({.hold_packets = 12, .hold_time = 20ms}, kSuite, few()) {
    world_.install(++sas_);
  }
  void step() {
    switch (below(10)) {
      case 0:
        world_.pass(std::chrono::microseconds(below(40'000)));
        world_.outbound.tick(world_.time());
        break;
      case 1:
        if (below(4) == 0) world_.install(++sas_);
        break;
      case 2:
        world_.encryption_takes = std::chrono::microseconds(below(8) == 0 ? 60'000 : 5);
        break;
      case 3:
      case 4:
      case 5:
        world_.exchange();
        break;
      default:
        burst();
    }
  }
  /// TCP sequence numbers rise within the flow, each number of an SA is used once and in order, and the peer finds
  /// every packet whole.
  void check() {
    std::uint64_t last_tcp = 0;
    std::map<SaId, std::uint32_t> last;
    for (const auto& s : world_.sent) {
      ASSERT_GT(s.number(), last[s.sa]);
      last[s.sa] = s.number();
      const Bytes inner = world_.open(s);
      ASSERT_FALSE(inner.empty());
      const auto tcp = wire::parse_tcp(wire::parse_ipv4(inner)->payload());
      ASSERT_GT(tcp->header().sequence.host(), last_tcp);
      last_tcp = tcp->header().sequence.host();
    }
    // Each segment was sent or its drop counted, or it still waits.
    world_.pass(10s);
    world_.outbound.tick(world_.time());
    EXPECT_EQ(world_.sent.size() + world_.dropped(), segments_);
  }
  [[nodiscard]] std::size_t sent() const { return world_.sent.size(); }

 private:
  static constexpr auto kSuite = crypto::Suite::kAesGcm128Icv16;
  static sequence::SequencerConfig few() {
    sequence::SequencerConfig config;
    config.exclusive_least = 3;
    config.exclusive_most = 9;
    return config;
  }
  std::uint32_t below(std::uint32_t n) {
    std::array<std::uint8_t, 4> b;
    rng_.fill(b);
    return static_cast<std::uint32_t>(b[0] | b[1] << 8 | b[2] << 16) % n;
  }
  void burst() {
    std::vector<AppPacket> packets;
    for (std::uint32_t n = below(4) + 1; n > 0; --n) {
      const std::uint32_t payload = 1 + below(700);
      packets.push_back(tcp_packet(kProtected, payload, below(3) == 0 ? 0 : 100, tcp_));
      segments_ += segments_of(packets.back()).size();
      tcp_ += payload;
    }
    world_.process(packets);
  }

  SeededRng rng_;
  World world_;
  std::uint64_t sas_ = 0;
  std::uint32_t tcp_ = 1;
  std::size_t segments_ = 0;
};

TEST(OutboundProperty, NoNumberTwiceAndNothingOvertakes) {
  std::size_t sent = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    for (int i = 0; i < 120; ++i) random.step();
    random.check();
    if (testing::Test::HasFatalFailure()) return;
    sent += random.sent();
  }
  EXPECT_GT(sent, 2000u);  // it has tried something
}

}  // namespace
}  // namespace testudo::target
