// SPDX-License-Identifier: Apache-2.0
#include "target/inbound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "target/inbound_world_for_test.h"

namespace testudo::target {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Report = InboundWorld::Report;

constexpr IpAddress kPermittedNet(0x0a000101), kDeniedNet(0x0a000201), kOtherTunnelNet(0x0a000301),
    kNoFilterNet(0x0a000401);

/// One packet in, one verdict out.
struct Fixture {
  std::string what;
  Bytes packet;
  Endpoint from = kOwnerData;
  std::optional<Drop> drop;       // nothing: delivered
  std::vector<Report> reports{};  // to the owner
};

void expect_verdicts(InboundWorld& world, const std::vector<Fixture>& fixtures) {
  for (const Fixture& f : fixtures) {
    SCOPED_TRACE(f.what);
    world.delivered.clear();
    const std::uint64_t all = world.dropped(), before = f.drop ? world.drops.value(*f.drop) : 0;
    world.process(f.packet, f.from);
    EXPECT_THAT(world.delivered, SizeIs(f.drop ? 0 : 1));
    EXPECT_EQ(world.dropped() - all, f.drop ? 1u : 0u);
    if (f.drop) {
      EXPECT_EQ(world.drops.value(*f.drop) - before, 1u);
    }
    EXPECT_EQ(world.reports(), f.reports);
  }
}

Bytes truncated(Bytes packet, std::size_t size) {
  packet.resize(size);
  return packet;
}

Bytes with_byte(Bytes packet, std::size_t at, std::uint8_t value) {
  packet[at] = value;
  return packet;
}

// Spec C6, G5: only the owner, only under its present epoch, only for its DVIPA.
TEST(Inbound, TakesNothingButFromTheOwner) {
  InboundWorld world;
  world.install();
  const auto good = [&](std::uint32_t n) { return world.forwarded(n); };
  const auto as = [&](const Forwarding& how) { return forward(world.esp(1, world.inner(1)), how); };
  const Endpoint stranger{IpAddress(0x0a4d0063), 4754};
  expect_verdicts(
      world,
      {{"not a member", good(1), stranger, Drop::kNotXcf},
       {"a member that does not own it", good(1), kOtherData, Drop::kStaleEpoch},
       {"an epoch that is over", as({.epoch = Epoch(kInboundEpoch.value() - 1)}), kOwnerData, Drop::kStaleEpoch},
       {"another epoch, filtered", as({.flags = ForwardKey::kFiltered, .epoch = Epoch(kInboundEpoch.value() + 1)}),
        kOwnerData, Drop::kStaleEpoch},
       {"not a DVIPA", as({.destination = IpAddress(0xc0000265)}), kOwnerData, Drop::kNotForDvipa},
       {"neither ESP nor AH", as({.protocol = wire::kProtocolUdp}), kOwnerData, Drop::kUnsupported},
       {"AH that is none", as({.protocol = wire::kProtocolAh}), kOwnerData, Drop::kTruncated},
       {"GRE of the other family", as({.gre_protocol = wire::kGreProtocolIpv6}), kOwnerData, Drop::kMalformed},
       {"GRE of something else", as({.gre_protocol = 0x6558}), kOwnerData, Drop::kUnsupported},
       {"nothing", {}, kOwnerData, Drop::kMalformed},
       {"half a GRE header", truncated(good(1), 11), kOwnerData, Drop::kMalformed},
       {"GRE without a key", with_byte(good(1), 0, 0x10), kOwnerData, Drop::kMalformed},
       {"GRE alone", truncated(good(1), 12), kOwnerData, Drop::kTruncated},
       {"cut short", truncated(good(1), 100), kOwnerData, Drop::kTruncated},
       {"a fragment", with_byte(good(1), wire::kGreSize + 6, 0x20), kOwnerData, Drop::kFragment},
       {"a later fragment", with_byte(good(1), wire::kGreSize + 7, 0x01), kOwnerData, Drop::kFragment},
       {"no ESP header", forward({0, 0, 16, 1}, {}), kOwnerData, Drop::kTruncated},
       {"and it is still good", good(1), kOwnerData, std::nullopt, {{1, true}}}});
  EXPECT_THAT(world.delivered, ElementsAre(InboundWorld::inner(1)));
}

// RFC 4303 section 3.4; blocks 151–154. What was not authentic is told as rejected, what was not new not at all.
TEST(Inbound, OpensAndChecks) {
  InboundWorld world;
  world.install();
  const auto seal = [&](std::uint64_t n, const Bytes& inner) { return forward(world.esp(n, inner), {}); };
  const auto from = [](std::uint32_t n, IpAddress address) { return InboundWorld::inner(n, address); };
  const auto flip = [&](std::uint32_t n, std::size_t from_end) {
    Bytes packet = world.forwarded(n);
    packet[packet.size() - from_end] ^= 1;
    return packet;
  };
  Bytes fragment = world.inner(9);
  fragment[6] = 0x20;
  Bytes not_ip = world.inner(10);
  not_ip[0] = 0x65;
  Bytes other_port = world.inner(11);
  other_port[23] = 80;
  expect_verdicts(
      world,
      {{"first", world.forwarded(100), kOwnerData, std::nullopt, {{100, true}}},
       {"again", world.forwarded(100), kOwnerData, Drop::kReplay, {}},
       {"a forgery of a number that was seen: the owner is not told", flip(100, 1), kOwnerData, Drop::kReplay, {}},
       {"behind the window", world.forwarded(36), kOwnerData, Drop::kReplayTooOld, {}},
       {"last of the window", world.forwarded(37), kOwnerData, std::nullopt, {{37, true}}},
       {"wrong ICV", flip(101, 1), kOwnerData, Drop::kBadIcv, {{101, false}}},
       {"changed text", flip(101, 60), kOwnerData, Drop::kBadIcv, {{101, false}}},
       {"the genuine one after the forged ones", world.forwarded(101), kOwnerData, std::nullopt, {{101, true}}},
       {"far ahead, forged", flip(1'000'000, 1), kOwnerData, Drop::kBadIcv, {{1'000'000, false}}},
       {"the window has not moved", world.forwarded(102), kOwnerData, std::nullopt, {{102, true}}},
       {"no peer has the high half without ESN",
        forward(world.esp(103, world.inner(1)), {.sequence_high = 1}),
        kOwnerData,
        Drop::kMalformed,
        {{(1ull << 32) + 103, false}}},
       {"inner destination is not the DVIPA",
        seal(104, InboundWorld::inner(1, IpAddress(0x0a000001), IpAddress(9))),
        kOwnerData,
        Drop::kNotForDvipa,
        {{104, true}}},
       {"selectors: another tunnel's",
        seal(105, from(1, kOtherTunnelNet)),
        kOwnerData,
        Drop::kNotSelected,
        {{105, true}}},
       {"selectors: clear only", seal(106, from(1, kPermittedNet)), kOwnerData, Drop::kNotSelected, {{106, true}}},
       {"selectors: nobody's", seal(107, from(1, kNoFilterNet)), kOwnerData, Drop::kNotSelected, {{107, true}}},
       {"denied", seal(108, from(1, kDeniedNet)), kOwnerData, Drop::kFilterDenied, {{108, true}}},
       {"another port", seal(109, other_port), kOwnerData, Drop::kNotSelected, {{109, true}}},
       {"inner fragment", seal(110, fragment), kOwnerData, Drop::kFragment, {{110, true}}},
       {"IPv6 by its first half byte", seal(111, not_ip), kOwnerData, Drop::kNotForDvipa, {{111, true}}}});
}

/// An ESP packet that seals exactly this text: what a peer with the right key and a wrong mind sends.
Bytes sealed(InboundWorld& world, std::uint32_t number, const Bytes& text) {
  return ipsec::seal_text(world.transforms->engine(), *world.peer, text, SeqNo(number));
}

TEST(Inbound, ChecksThePadding) {
  InboundWorld world;
  world.install();
  const auto text = [](std::vector<std::uint8_t> trailer) {
    Bytes t = InboundWorld::inner(1);
    t.insert(t.end(), trailer.begin(), trailer.end());
    return t;
  };
  const auto packet = [&](std::uint32_t n, const Bytes& t) { return forward(sealed(world, n, t), {}); };
  expect_verdicts(world,
                  {{"right", packet(1, text({1, 2, 2, 4})), kOwnerData, std::nullopt, {{1, true}}},
                   {"not 1, 2", packet(2, text({1, 1, 2, 4})), kOwnerData, Drop::kBadPadding, {{2, true}}},
                   {"longer than all", packet(3, text({1, 2, 255, 4})), kOwnerData, Drop::kBadPadding, {{3, true}}},
                   {"dummy", packet(4, text({1, 2, 2, 59})), kOwnerData, Drop::kDummy, {{4, true}}}});
}

TEST(Inbound, TakesTheHighHalfFromTheOwner) {
  InboundWorld world({}, true);
  world.install();
  const std::uint64_t number = (7ull << 32) + 5;
  const Bytes esp = world.esp(number, world.inner(1));
  expect_verdicts(world,
                  {{"not told", forward(esp, {}), kOwnerData, Drop::kBadIcv, {{5, false}}},
                   {"told", forward(esp, {.sequence_high = 7}), kOwnerData, std::nullopt, {{number, true}}}});
}

// Both are checked before either is: the window has to be looked at again after the ICV.
TEST(Inbound, TakesOneOfTwoCopiesInABurst) {
  InboundWorld world;
  world.install();
  const Bytes packet = world.forwarded(1), next = world.forwarded(2);
  world.process({packet, packet, next, packet});
  EXPECT_THAT(world.delivered, ElementsAre(InboundWorld::inner(1), InboundWorld::inner(2)));
  EXPECT_EQ(world.drops.value(Drop::kReplay), 2u);
  EXPECT_THAT(world.reports(), ElementsAre(Report{1, true}, Report{2, true}));
}

TEST(Inbound, TakesAFullBurst) {
  InboundWorld world;
  world.install();
  std::vector<Bytes> burst, expected;
  for (std::uint32_t i = 1; i <= wire::kBurst; ++i) {
    burst.push_back(world.forwarded(i));
    expected.push_back(InboundWorld::inner(i));
  }
  world.process(burst);
  EXPECT_EQ(world.delivered, expected);
  EXPECT_EQ(world.inbound.counters().forwarded_packets.value(), wire::kBurst);
  EXPECT_EQ(world.inbound.counters().decrypted_bytes.value(), wire::kBurst * 200);
}

// Spec A7, block 140: connections in the clear.
TEST(Inbound, TakesClearPackets) {
  InboundWorld world;
  const auto clear = [](IpAddress from, std::uint8_t flags) {
    return forward_clear(InboundWorld::inner(1, from), flags);
  };
  Bytes fragment = InboundWorld::inner(1, kPermittedNet);
  fragment[6] = 0x20;
  const IpAddress protected_net(0x0a000001);
  const std::uint8_t filtered = ForwardKey::kFiltered;
  expect_verdicts(world, {{"permitted", clear(kPermittedNet, 0), kOwnerData, std::nullopt},
                          {"denied", clear(kDeniedNet, 0), kOwnerData, Drop::kFilterDenied},
                          {"to be protected", clear(protected_net, 0), kOwnerData, Drop::kClearButProtected},
                          {"no filter", clear(kNoFilterNet, 0), kOwnerData, Drop::kNoFilter},
                          {"the owner has filtered it", clear(kNoFilterNet, filtered), kOwnerData, std::nullopt},
                          {"fragment", forward_clear(fragment, 0), kOwnerData, Drop::kFragment},
                          {"fragment, filtered", forward_clear(fragment, filtered), kOwnerData, Drop::kFragment},
                          {"not from the owner", clear(kPermittedNet, filtered), kOtherData, Drop::kStaleEpoch}});
  EXPECT_EQ(world.inbound.counters().clear_packets.value(), 2u);
  world.inbound.set_tables(&world.distribution, nullptr);
  expect_verdicts(world, {{"no filters yet", clear(kPermittedNet, 0), kOwnerData, Drop::kNoFilter}});
  world.inbound.set_tables(nullptr, &world.table);
  expect_verdicts(world, {{"no members yet", clear(kPermittedNet, 0), kOwnerData, Drop::kNotXcf}});
}

// Spec C6, D1: what the owner has filtered is not filtered again. That it is the owner who says so is checked
// before.
TEST(Inbound, DoesNotFilterWhatTheOwnerHasFiltered) {
  InboundWorld world;
  world.install();
  const Bytes inner = InboundWorld::inner(1, IpAddress(0x0a000201));  // the target's own filter denies it
  world.process(forward(world.esp(1, inner), {}));
  EXPECT_EQ(world.drops.value(Drop::kFilterDenied), 1u);
  world.process(forward(world.esp(2, inner), {.flags = ForwardKey::kFiltered}));
  ASSERT_THAT(world.delivered, SizeIs(1));
  EXPECT_EQ(world.delivered[0], inner);
  EXPECT_EQ(world.inbound.counters().filtered.value(), 1u);
  world.process(forward(world.esp(3, inner), {.flags = ForwardKey::kFiltered}), kOtherData);
  EXPECT_THAT(world.delivered, SizeIs(1));
}

// Spec D1: an SA ages by what is new and authentic, and once.
TEST(Inbound, CountsEachPacketOnce) {
  InboundWorld world;
  world.install();
  const auto& totals = world.sad.find(SaId(1))->totals();
  const Bytes packet = world.forwarded(1);
  Bytes forged = world.forwarded(2);
  forged.back() ^= 1;
  world.process({packet, packet, forged});
  world.process(packet);
  EXPECT_EQ(totals.packets.value(), 1u);
  EXPECT_EQ(totals.bytes.value(), InboundWorld::inner(1).size());
}

// Spec D2: nor by more than this node's share of the hard limit, whatever comes.
TEST(Inbound, AcceptsNoMoreThanItMayCarry) {
  InboundWorld world;
  world.adjust = [](ipsec::SaParameters& p) { p.limits = {.hard_packets = 10}; };
  world.install();
  ipsec::Sa& sa = *world.sad.find(SaId(1));
  sa.allow({.bytes = 0, .packets = 2});
  Bytes forged = world.forwarded(9);
  forged.back() ^= 1;
  world.process({forged, world.forwarded(1)});
  world.process({world.forwarded(1), world.forwarded(2), world.forwarded(3)});
  EXPECT_THAT(world.delivered, SizeIs(2));
  EXPECT_EQ(world.drops.value(Drop::kLifesize), 1u);
  EXPECT_TRUE(sa.refused());
  sa.allow({.bytes = 0, .packets = 3});
  world.process({world.forwarded(3), world.forwarded(4), world.forwarded(5)});
  EXPECT_EQ(world.drops.value(Drop::kReplay), 2u);  // of 1, and of 3, whose number is used
  EXPECT_EQ(sa.totals().packets.value(), 3u);
  EXPECT_EQ(world.drops.value(Drop::kLifesize), 2u);
}

// Note 2 of the seed's table, the way back: this host is the owner, a target asks it to protect a packet.
TEST(Inbound, TakesRepliesAsTheOwner) {
  InboundWorld world;
  const auto reply = [](const Bytes& ip, Epoch epoch) {
    Bytes packet(wire::kGreSize);
    wire::build_gre(std::span(packet).first<wire::kGreSize>(),
                    {.key = ForwardKey::of(epoch, ForwardKey::kReply | ForwardKey::kClear).field});
    packet.insert(packet.end(), ip.begin(), ip.end());
    return packet;
  };
  const Bytes ip = InboundWorld::inner(1, kInboundDvipa, IpAddress(0x0a000001));
  world.process(reply(ip, kInboundEpoch));  // this host is a target here
  EXPECT_EQ(world.drops.value(Drop::kStaleEpoch), 1u);
  const distributor::Distribution own(
      kOwnerNode, {world.distribution.members().begin(), world.distribution.members().end()},
      {{.address = kInboundDvipa, .epoch = kInboundEpoch, .owner = kOwnerNode, .ports = {443}, .ready = {}}});
  world.inbound.set_tables(&own, &world.table);
  world.process(reply(ip, kInboundEpoch), kOtherData);
  EXPECT_THAT(world.replies, testing::ElementsAre(ip));
  world.process(reply(ip, Epoch(3)), kOtherData);
  EXPECT_EQ(world.drops.value(Drop::kStaleEpoch), 2u);
  world.process(reply(InboundWorld::inner(1), kInboundEpoch), kOtherData);  // from no DVIPA
  EXPECT_EQ(world.drops.value(Drop::kNotForDvipa), 1u);
  world.process(reply(ip, kInboundEpoch), Endpoint{IpAddress(0x0a4d0009), 50'001});
  EXPECT_EQ(world.drops.value(Drop::kNotXcf), 1u);
  EXPECT_THAT(world.replies, SizeIs(1));
  EXPECT_THAT(world.delivered, IsEmpty());
}

TEST(Inbound, DropsProtectedPacketsBeforeThereAreFilters) {
  InboundWorld world;
  world.install();
  world.inbound.set_tables(&world.distribution, nullptr);
  expect_verdicts(world, {{"no filters", world.forwarded(1), kOwnerData, Drop::kNoFilter, {{1, true}}}});
}

// Block 150: the first packet of a connection may be here before its SA.
TEST(Inbound, HoldsUntilTheSaIsThere) {
  InboundWorld world;
  const Bytes bad = [&] {
    Bytes packet = world.forwarded(3);
    packet.back() ^= 1;
    return packet;
  }();
  world.process({world.forwarded(2), world.forwarded(1)});
  world.process({bad, world.forwarded(2), world.forwarded(4)});
  EXPECT_THAT(world.delivered, IsEmpty());
  EXPECT_THAT(world.asked, ElementsAre(InboundWorld::Asked{kInboundDvipa, Spi(0x1001), kInboundPeer}));
  EXPECT_EQ(world.inbound.counters().held.value(), 5u);
  EXPECT_EQ(world.inbound.next_timer(), world.now + 1s);
  world.install();
  EXPECT_THAT(world.delivered, ElementsAre(InboundWorld::inner(2), InboundWorld::inner(1), InboundWorld::inner(4)));
  EXPECT_EQ(world.drops.value(Drop::kBadIcv), 1u);
  EXPECT_EQ(world.drops.value(Drop::kReplay), 1u);
  EXPECT_THAT(world.reports(), ElementsAre(Report{1, true}, Report{2, true}, Report{3, false}, Report{4, true}));
  EXPECT_EQ(world.inbound.next_timer(), Time::max());
}

TEST(Inbound, HoldsForItsSaOnly) {
  InboundWorld world;
  world.process({world.forwarded(1), forward(world.esp(2, world.inner(2)), {.source = IpAddress(0xc0000202)})});
  EXPECT_THAT(world.asked, SizeIs(2));
  world.install();
  EXPECT_THAT(world.delivered, ElementsAre(InboundWorld::inner(1)));
  world.now += 1s;
  world.inbound.tick(world.now);
  EXPECT_EQ(world.drops.value(Drop::kUnknownSpi), 1u);
}

// An owner that has lost the DVIPA while its packet waited.
TEST(Inbound, LooksAtTheEpochAgainAfterHolding) {
  InboundWorld world;
  world.process(world.forwarded(1));
  const distributor::Distribution later(kTargetNode, {}, {});
  world.inbound.set_tables(&later, &world.table);
  world.install();
  EXPECT_THAT(world.delivered, IsEmpty());
  EXPECT_EQ(world.drops.value(Drop::kNotXcf), 1u);
}

TEST(Inbound, GivesUpAndAsksAgain) {
  InboundWorld world({.hold_time = 100ms});
  world.process(world.forwarded(1));
  world.now += 60ms;
  world.process(world.forwarded(2));
  EXPECT_THAT(world.asked, SizeIs(1));
  world.now += 39ms;
  world.inbound.tick(world.now);
  EXPECT_EQ(world.dropped(), 0u);
  world.now += 1ms;
  world.inbound.tick(world.now);
  EXPECT_EQ(world.drops.value(Drop::kUnknownSpi), 1u);
  EXPECT_THAT(world.asked, SizeIs(2));  // the answer may have been lost, and another one waits
  EXPECT_EQ(world.inbound.next_timer(), world.now + 60ms);
  world.now += 60ms;
  world.inbound.tick(world.now);
  EXPECT_EQ(world.drops.value(Drop::kUnknownSpi), 2u);
  EXPECT_THAT(world.asked, SizeIs(2));  // nobody waits
  EXPECT_EQ(world.inbound.next_timer(), Time::max());
  world.install();
  EXPECT_THAT(world.delivered, IsEmpty());
}

TEST(Inbound, HoldsNoMoreThanItMay) {
  InboundWorld world({.hold_packets = 3});
  for (std::uint32_t i = 1; i <= 5; ++i) world.process(world.forwarded(i));
  EXPECT_EQ(world.drops.value(Drop::kHoldFull), 2u);
  world.install();
  EXPECT_THAT(world.delivered, SizeIs(3));
}

TEST(Inbound, HoldsForSixtyFourSasAtOnce) {
  InboundWorld world;
  for (std::uint32_t i = 0; i < 65; ++i) {
    world.process(forward(world.esp(1, world.inner(1)), {.source = IpAddress(0xc0000300 + i)}));
  }
  EXPECT_EQ(world.drops.value(Drop::kHoldFull), 1u);
  EXPECT_THAT(world.asked, SizeIs(64));
  world.now += 1s;
  world.inbound.tick(world.now);
  EXPECT_EQ(world.drops.value(Drop::kUnknownSpi), 64u);
  world.process(world.forwarded(1));  // places are free again
  EXPECT_THAT(world.asked, SizeIs(65));
}

}  // namespace
}  // namespace testudo::target
