// SPDX-License-Identifier: Apache-2.0
// Sequencer and lessees together, under loss, duplication, reordering, crashes and preemption. A failure names the
// seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sequence/lease_world.h"

namespace testudo::sequence {
namespace {

using testing::IsEmpty;

LeaseWorldConfig from_seed(std::uint64_t seed) {
  SeededRng rng(seed * 7919 + 1);
  constexpr std::uint32_t windows[] = {32, 64, 128};
  constexpr double rates[] = {0, 0.02, 0.2};
  LeaseWorldConfig config;
  config.lessees = 1 + static_cast<std::uint32_t>(rng.next() % 8);
  config.sas = 1 + static_cast<std::uint32_t>(rng.next() % 3);
  config.window = windows[rng.next() % 3];
  config.loss = rates[rng.next() % 3];
  config.duplication = rates[rng.next() % 3];
  constexpr double crashes[] = {0, 0.003, 0.1};
  constexpr Duration sharing_times[] = {1ms, 20ms, 100ms};
  config.crashes = crashes[rng.next() % 3];
  config.sequencer.sharing_time = sharing_times[rng.next() % 3];
  config.preemptions = rng.next() % 2 == 0 ? 0 : 0.01;
  config.burst_max = 1 + static_cast<std::uint32_t>(rng.next() % 64);
  config.burst_every = Duration(20us) * (1 + rng.next() % 2000);
  config.sequencer.rooms_max = rng.next() % 3;  // SAs that more than a few may use at once
  return config;
}

TEST(LeaseProperty, HoldsUnderEveryFault) {
  std::uint64_t sent = 0, late = 0, shared = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    LeaseWorld world(seed, from_seed(seed));
    world.run(150ms);
    world.settle(3s);
    ASSERT_THAT(world.complaints(), IsEmpty()) << "seed " << seed;
    sent += world.sent();
    late += world.dropped_late();
    shared += world.shared_grants();
  }
  // The faults did happen.
  EXPECT_GT(sent, 100'000u);
  EXPECT_GT(late, 100u);
  EXPECT_GT(shared, 1'000u);
}

// Numbers that nobody has asked for keep every promise that the others keep; clocks run apart by up to 10 %.
TEST(LeaseProperty, HoldsWithOffersAndDriftingClocks) {
  std::uint64_t offers = 0, used = 0, late = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    LeaseWorldConfig config = from_seed(seed);
    config.drift = 0.05;
    config.answers = 0.7;
    config.sequencer.offers = true;
    config.burst_max = 1 + config.burst_max % 8;
    config.burst_every = std::max<Duration>(config.burst_every / 4, 100us);
    LeaseWorld world(seed, config);
    world.run(150ms);
    world.settle(3s);
    ASSERT_THAT(world.complaints(), IsEmpty()) << "seed " << seed;
    offers += world.offers();
    used += world.offers_used();
    late += world.dropped_late();
  }
  EXPECT_GT(offers, 10'000u);
  EXPECT_GT(used, offers / 4);
  EXPECT_LT(used, offers);
  EXPECT_GT(late, 100u);
}

TEST(LeaseProperty, OneSenderSoonSendsWithoutAsking) {
  LeaseWorld world(1, {.lessees = 3, .sas = 1, .burst_every = 50us, .one_sender = true});
  world.run(100ms);
  world.settle(1s);
  EXPECT_THAT(world.complaints(), IsEmpty());
  EXPECT_GT(world.sent(), 30'000u);
  EXPECT_LT(world.grants(), world.sent() / 300);
  EXPECT_EQ(world.shared_grants(), 0u);
}

TEST(LeaseProperty, NothingIsGrantedPastTheLastNumber) {
  LeaseWorld world(1, {.lessees = 3, .sas = 1, .first = 0xffff'ff00});
  world.run(50ms);
  EXPECT_THAT(world.complaints(), IsEmpty());
  EXPECT_GT(world.sent(), 100u);
  EXPECT_LE(world.sent(), 0x100u);
}

TEST(LeaseProperty, TheSameSeedGivesTheSameRun) {
  const LeaseWorldConfig config = from_seed(5);
  LeaseWorld one(5, config), other(5, config);
  one.run(50ms);
  other.run(50ms);
  EXPECT_EQ(one.sent(), other.sent());
  EXPECT_EQ(one.grants(), other.grants());
}

}  // namespace
}  // namespace testudo::sequence
