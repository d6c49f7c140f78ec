// SPDX-License-Identifier: Apache-2.0
// What an owner itself accepts waits until its first backup knows of it: the queue, and the worker that uses it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "path/worker_world_for_test.h"

namespace testudo::path {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// ---- the queue ----

// Against a queue without a bound on its memory: what comes out is what went in, oldest first, and as much of it as
// the limits say.
TEST(AcceptedHoldQueue, KeepsTheNewestThatItHasRoomFor) {
  constexpr AcceptedHoldConfig kConfig{.packets = 7, .bytes = 1000, .time = 1s};
  AcceptedHold hold(kConfig);
  std::deque<Bytes> model;
  SeededRng rng(3);
  const auto same = [&] {
    const AcceptedHold::Held* held = hold.front();
    ASSERT_EQ(held == nullptr, model.empty());
    if (held == nullptr) return;
    ASSERT_EQ(Bytes(held->out.body, held->out.body + held->out.body_size), model.front());
  };
  std::size_t most = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (rng.next() % 3 == 0 && !model.empty()) {
      hold.pop();
      model.pop_front();
    } else {
      Bytes body(1 + rng.next() % 300);
      rng.fill(body);
      wire::Outgoing out;
      out.body = body.data();
      out.body_size = static_cast<std::uint32_t>(body.size());
      const std::size_t lost = hold.append(out, AcceptedHold::Where::kLocal, 1, Time{});
      model.push_back(body);
      ASSERT_LT(lost, model.size());  // never the new one
      for (std::size_t n = 0; n < lost; ++n) model.pop_front();
      ASSERT_LE(model.size(), kConfig.packets);
      most = std::max(most, model.size());
    }
    same();
  }
  EXPECT_EQ(most, kConfig.packets);
}

TEST(AcceptedHoldQueue, APacketThatIsLargerThanAllOfItIsLost) {
  AcceptedHold hold({.packets = 4, .bytes = 100, .time = 1s});
  const Bytes body(101);
  wire::Outgoing out;
  out.body = body.data();
  out.body_size = 100;
  EXPECT_EQ(hold.append(out, AcceptedHold::Where::kLocal, 1, Time{}), 0u);
  out.body_size = 101;
  EXPECT_EQ(hold.append(out, AcceptedHold::Where::kLocal, 1, Time{}), 2u);
  EXPECT_EQ(hold.front(), nullptr);
}

// ---- the worker ----

/// To a port that is not distributed: the owner's own.
const Segment kOwn{.to = {kDvipa, kSsh}};

struct HeldAccepted : testing::Test {
  World world{{kA, kT}, config()};
  TestHost &a = world.host(kA), &t = world.host(kT);

  static WorkerConfig config() {
    WorkerConfig config = World::small();
    config.accepted_hold.packets = 4;
    return config;
  }
  void SetUp() override {
    world.start(kEpoch, kA, {kT});
    hold(true);
  }
  void hold(bool yes) {
    a.submit(HoldAccepted{.dvipa = kDvipa, .hold = yes});
    world.settle();
  }
  void release(std::uint64_t batch) {
    a.submit(Release{.batch = batch});
    world.settle();
  }
  /// The numbers that have been told, by batch.
  std::map<std::uint64_t, std::vector<std::uint64_t>> told() {
    std::map<std::uint64_t, std::vector<std::uint64_t>> all;
    for (const OwnerAccepted& event : a.take<OwnerAccepted>()) {
      for (const OwnerAccepted::One& one : event.list) {
        EXPECT_EQ(one.dvipa, kDvipa);
        EXPECT_EQ(one.sa, kIn);
        all[event.batch].push_back(one.number.value());
      }
    }
    return all;
  }
  using Told = std::map<std::uint64_t, std::vector<std::uint64_t>>;
};

TEST_F(HeldAccepted, IsDeliveredWhenItsBatchIsReleasedAndNotBefore) {
  world.from_peer(kA, kOwn);
  EXPECT_EQ(told(), (Told{{1, {1}}}));
  world.from_peer(kA, {.to = kOwn.to, .mark = 2});
  EXPECT_EQ(told(), (Told{{2, {2}}}));
  world.wait(100ms);
  EXPECT_THAT(a.take_delivered(), IsEmpty());
  release(0);
  EXPECT_THAT(a.take_delivered(), IsEmpty());
  release(1);
  EXPECT_THAT(a.take_delivered(), ElementsAre(packet_of(kOwn)));
  release(2);
  EXPECT_THAT(a.take_delivered(), ElementsAre(packet_of({.to = kOwn.to, .mark = 2})));
  EXPECT_TRUE(told().empty());
}

TEST_F(HeldAccepted, OneBatchATurn) {
  for (std::uint8_t i = 1; i <= 3; ++i) a.raw->inject(world.protect(packet_of({.to = kOwn.to, .mark = i}), i));
  world.settle();
  EXPECT_EQ(told(), (Told{{1, {1, 2, 3}}}));
  release(1);
  EXPECT_THAT(a.take_delivered(), SizeIs(3));
}

TEST_F(HeldAccepted, IsAReplayWhileItWaits) {
  world.arrive(kA, world.from_peer(kA, kOwn));
  EXPECT_EQ(a.drops(Drop::kReplay), 1u);
  release(1);
  EXPECT_THAT(a.take_delivered(), SizeIs(1));
}

// Targets know what they have accepted; and what came in the clear has no number.
TEST_F(HeldAccepted, WhatTargetsJudgeAndWhatIsInTheClearDoesNotWait) {
  world.from_peer(kA, {.flags = wire::kTcpSyn});
  world.from_peer(kA, {.mark = 2});
  EXPECT_THAT(t.take_delivered(), SizeIs(2));
  const Bytes clear = packet_of({.from = {kClearClient, 1}, .to = kOwn.to});
  world.arrive(kA, clear);
  EXPECT_THAT(a.take_delivered(), ElementsAre(clear));
  EXPECT_TRUE(told().empty());
}

// Genuine, and refused: no other packet with this number will ever be let in, here or at the next owner.
TEST_F(HeldAccepted, NumbersOfRefusedPacketsAreToldToo) {
  world.from_peer(kA, {.from = {kDeniedClient, 1}, .to = kOwn.to});
  EXPECT_EQ(told(), (Told{{1, {1}}}));
  release(1);
  EXPECT_THAT(a.take_delivered(), IsEmpty());
}

// Its sender has cut it before it protected the pieces: the owner puts it together, and gives it to the
// connection's target in the clear. The target knows neither number.
TEST_F(HeldAccepted, WhatTheOwnerHandsOnInTheClearWaitsAsWell) {
  world.from_peer(kA, {.flags = wire::kTcpSyn});
  static_cast<void>(t.take_delivered());
  const Bytes whole = packet_of({.mark = 7});
  constexpr std::size_t kCut = wire::kIpv4HeaderSize + 24;
  Bytes first(whole.begin(), whole.begin() + kCut), rest(whole.begin(), whole.begin() + wire::kIpv4HeaderSize);
  rest.insert(rest.end(), whole.begin() + kCut, whole.end());
  const auto as_fragment = [](Bytes& piece, std::uint16_t flags_offset) {
    auto& ip = *reinterpret_cast<wire::Ipv4Header*>(piece.data());
    ip.total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(piece.size()));
    ip.flags_offset = Be<std::uint16_t>(flags_offset);
    ip.checksum = {};
    ip.checksum = Be<std::uint16_t>(wire::checksum(std::span(piece).first<wire::kIpv4HeaderSize>()));
  };
  as_fragment(first, 0x2000);
  as_fragment(rest, 3);
  world.arrive(kA, world.protect(first, 10));
  world.arrive(kA, world.protect(rest, 11));
  EXPECT_EQ(told(), (Told{{1, {10}}, {2, {11}}}));
  EXPECT_THAT(t.take_delivered(), IsEmpty());
  release(1);
  EXPECT_THAT(t.take_delivered(), IsEmpty());
  release(2);
  ASSERT_THAT(t.take_delivered(), SizeIs(1));
}

TEST_F(HeldAccepted, TheOldestMakesRoom) {
  for (std::uint8_t i = 1; i <= 6; ++i) world.from_peer(kA, {.to = kOwn.to, .mark = i});
  EXPECT_EQ(a.drops(Drop::kUnconfirmed), 2u);
  EXPECT_THAT(told(), SizeIs(6));
  release(6);
  const auto delivered = a.take_delivered();
  ASSERT_THAT(delivered, SizeIs(4));
  EXPECT_EQ(delivered[0], packet_of({.to = kOwn.to, .mark = 3}));
}

TEST_F(HeldAccepted, WaitsNotForEver) {
  world.from_peer(kA, kOwn);
  world.wait(199ms);
  EXPECT_EQ(a.drops(Drop::kUnconfirmed), 0u);
  world.wait(1ms);
  EXPECT_EQ(a.drops(Drop::kUnconfirmed), 1u);
  release(1);
  EXPECT_THAT(a.take_delivered(), IsEmpty());
}

TEST_F(HeldAccepted, TheWorkerAsksToBeTurnedInTime) {
  world.from_peer(kA, kOwn);
  EXPECT_LE(a.worker->turn().next_timer, world.clock.time + 200ms);
}

TEST_F(HeldAccepted, NotHeldAnyMore) {
  world.from_peer(kA, kOwn);
  hold(false);
  EXPECT_THAT(a.take_delivered(), IsEmpty());  // nobody has said that its number is safe
  EXPECT_THAT(told(), SizeIs(1));
  world.from_peer(kA, {.to = kOwn.to, .mark = 2});
  EXPECT_THAT(a.take_delivered(), SizeIs(1));
  EXPECT_TRUE(told().empty());
  release(1);
  EXPECT_THAT(a.take_delivered(), SizeIs(1));
}

TEST_F(HeldAccepted, OfOtherDvipasNothingWaits) {
  hold(false);
  a.submit(HoldAccepted{.dvipa = kPeer, .hold = true});
  world.from_peer(kA, kOwn);
  EXPECT_THAT(a.take_delivered(), SizeIs(1));
}

}  // namespace
}  // namespace testudo::path
