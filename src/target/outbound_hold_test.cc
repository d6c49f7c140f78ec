// SPDX-License-Identifier: Apache-2.0
// What waits for sequence numbers: in order, bounded, and never sent without them.
#include <gmock/gmock.h>

#include <functional>

#include "target/outbound_world_for_test.h"

namespace testudo::target {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST(Outbound, WaitsForNumbersAndKeepsTheOrder) {
  sequence::SequencerConfig few;
  few.exclusive_least = 4;
  few.exclusive_most = 4;  // so that each grant ends within a super-segment
  World world({}, crypto::Suite::kAesGcm128Icv16, few);
  world.install(1);
  std::vector<AppPacket> packets;
  for (std::uint32_t i = 0; i < 6; ++i) packets.push_back(tcp_packet(kProtected, 350 + i, 100, 1000 * i));
  world.process({packets[0], packets[1]});
  EXPECT_THAT(world.sent, IsEmpty());
  EXPECT_EQ(world.outbound.counters().held.value(), 2u);
  world.exchange();
  EXPECT_THAT(world.sent, SizeIs(4));
  world.process({packets[2], packets[3]});  // cannot overtake
  for (int i = 0; i < 3; ++i) world.exchange();
  world.process({packets[4], packets[5]});
  for (int i = 0; i < 20; ++i) world.exchange();
  std::vector<std::uint32_t> rising(24);
  std::iota(rising.begin(), rising.end(), 1);
  EXPECT_EQ(numbers_of(world.sent), rising);
  expect_opened(world, segments_of_all(packets));
  EXPECT_EQ(world.outbound.next_timer(), Time::max());
  EXPECT_EQ(world.dropped(), 0u);
}

// Numbers may come between the packet that waits for them and the next one.
TEST(Outbound, NothingOvertakesWhatWaits) {
  World world;
  world.install(1);
  const std::vector packets = {tcp_packet(kProtected, 250, 100, 1), tcp_packet(kProtected, 10, 0, 251)};
  world.process(packets[0]);
  world.receive_grants();
  world.process(packets[1]);
  EXPECT_THAT(numbers_of(world.sent), ElementsAre(1, 2, 3, 4));
  expect_opened(world, segments_of_all(packets));
}

TEST(Outbound, AsksForAsManyNumbersAsPacketsWait) {
  sequence::SequencerConfig few;
  few.exclusive_least = 4;
  few.exclusive_most = 4;
  World world({}, crypto::Suite::kAesGcm128Icv16, few);
  world.install(1);
  world.process({tcp_packet(kProtected, 1500, 100), tcp_packet(kProtected, 500, 100)});
  for (int i = 0; i < 3; ++i) world.exchange();
  EXPECT_THAT(world.wants, ElementsAre(20, 16, 12));
}

TEST(Outbound, HoldsNoMoreThanItMay) {
  World world({.hold_packets = 2});
  world.install(1);
  world.process(
      {tcp_packet(kProtected, 10, 0, 1), tcp_packet(kProtected, 10, 0, 2), tcp_packet(kProtected, 250, 100, 3)});
  EXPECT_EQ(world.dropped(Drop::kHoldFull), 3u);  // packets, not super-segments
  world.exchange();
  expect_opened(world, segments_of_all({tcp_packet(kProtected, 10, 0, 1), tcp_packet(kProtected, 10, 0, 2)}));
}

// Nobody may grant anything, for whatever reason and however long: what comes waits, as much as there is room for
// and as long as it may, then it is dropped and counted. Nothing leaves, neither in the clear nor with a number
// that is a guess; and once numbers come, what still waits goes first.
void expect_backpressure(World& world, const std::function<void()>& turn_ends,
                         const std::function<void()>& numbers_come) {
  constexpr std::uint32_t kTurns = 500, kRoom = 8;
  for (std::uint32_t turn = 0; turn < kTurns; ++turn) {  // 5 s of traffic
    world.process(tcp_packet(kProtected, 10, 0, turn));
    turn_ends();
    world.outbound.tick(world.time());
    world.pass(10ms);
  }
  EXPECT_EQ(world.send_calls, 0u);
  const std::uint64_t full = world.dropped(Drop::kHoldFull), expired = world.dropped(Drop::kHoldExpired);
  EXPECT_EQ(full + expired + kRoom, kTurns);
  EXPECT_GE(expired, 4 * kRoom);  // what waits is not the oldest that ever came: its places are filled anew
  EXPECT_EQ(world.dropped(), full + expired);
  numbers_come();
  world.exchange();
  EXPECT_THAT(world.clear, IsEmpty());
  EXPECT_THAT(numbers_of(world.sent), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  for (const World::Sent& sent : world.sent) EXPECT_THAT(world.open(sent), Not(IsEmpty()));
  EXPECT_EQ(world.outbound.next_timer(), Time::max());
}

// The owner is there, the coupling facility is not.
TEST(Outbound, WaitsThenDropsWhileNoCeilingIsRaised) {
  World world({.hold_packets = 8});
  world.install(1, SeqNo(1), SeqNo(0));
  expect_backpressure(
      world, [&] { world.exchange(); }, [&] { world.sequencer.set_ceiling(SaId(1), SeqNo(1 << 20)); });
}

TEST(Outbound, WaitsThenDropsWhileTheOwnerIsSilent) {
  World world({.hold_packets = 8});
  world.install(1);
  const auto lose_requests = [&] {
    world.lessee.poll(world.time(), world.outbox);
    world.outbox.clear();
  };
  expect_backpressure(world, lose_requests, [] {});
}

TEST(Outbound, HoldsNoLongerThanItMay) {
  World world({.hold_time = 100ms});
  world.install(1, SeqNo(1), SeqNo(0));  // nothing reserved yet: no grant
  world.process(tcp_packet(kProtected, 250, 100, 1));
  EXPECT_EQ(world.outbound.next_timer(), world.time() + 100ms);
  world.pass(60ms);
  world.process(tcp_packet(kProtected, 10, 0, 2));
  world.pass(39ms);
  world.outbound.tick(world.time());
  EXPECT_EQ(world.dropped(), 0u);
  world.pass(1ms);
  world.outbound.tick(world.time());
  EXPECT_EQ(world.dropped(Drop::kHoldExpired), 3u);
  EXPECT_EQ(world.outbound.next_timer(), world.time() + 60ms);
  world.sequencer.set_ceiling(SaId(1), SeqNo(1 << 20));
  world.exchange();
  expect_opened(world, segments_of(tcp_packet(kProtected, 10, 0, 2)));
  EXPECT_EQ(world.outbound.next_timer(), Time::max());
}

// What has expired asks for nothing any more.
TEST(Outbound, ForgetsWhatItWantedWhenAllHasExpired) {
  World world;
  world.install(1, SeqNo(1), SeqNo(0));
  world.process(tcp_packet(kProtected, 10));
  world.pass(2s);
  world.outbound.tick(world.time());
  EXPECT_EQ(world.dropped(Drop::kHoldExpired), 1u);
  world.pass(1s);
  world.lessee.poll(world.time(), world.outbox);
  EXPECT_TRUE(world.outbox.empty());
}

TEST(Outbound, WhatWaitsLeavesByTheNewSa) {
  World world;
  world.install(1, SeqNo(1), SeqNo(0));
  const std::vector packets = {tcp_packet(kProtected, 250, 100, 1), tcp_packet(kProtected, 10, 0, 251)};
  world.process(packets);
  world.exchange();
  EXPECT_THAT(world.sent, IsEmpty());
  world.install(2);
  world.exchange();
  for (const auto& s : world.sent) EXPECT_EQ(s.sa, SaId(2));
  expect_opened(world, segments_of_all(packets));
  // Nothing waits for the old one: nobody asks for its numbers any more.
  world.pass(1s);
  world.exchange();
  world.pass(1s);
  world.lessee.poll(world.time(), world.outbox);
  EXPECT_TRUE(world.outbox.empty());
}

// A rekeyed SA may have a suite whose packets are larger.
TEST(Outbound, ChecksTheSizeAgainForTheNewSa) {
  World world;
  world.install(1, SeqNo(1), SeqNo(0));
  world.process(tcp_packet(kProtected, 2000, 1382));
  EXPECT_EQ(world.dropped(), 0u);
  world.suite = crypto::Suite::kAesCbc256HmacSha256;
  world.install(2);
  world.exchange();
  EXPECT_THAT(world.sent, IsEmpty());
  EXPECT_EQ(world.dropped(Drop::kTooBig), 2u);
}

TEST(Outbound, WhatWaitsIsDroppedWithoutAnySa) {
  World world;
  world.install(1, SeqNo(1), SeqNo(0));
  world.process(tcp_packet(kProtected, 250, 100));
  world.remove(1);
  world.process(tcp_packet(kProtected, 10));
  EXPECT_EQ(world.dropped(Drop::kNoOutboundSa), 1u);
  world.pass(1s);
  world.outbound.tick(world.time());
  EXPECT_EQ(world.dropped(Drop::kHoldExpired), 3u);
  EXPECT_EQ(world.send_calls, 0u);
}

}  // namespace
}  // namespace testudo::target
