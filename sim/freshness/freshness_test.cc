// SPDX-License-Identifier: Apache-2.0
// What the pictures of docs/performance.md promise, on few packets.
#include <gtest/gtest.h>

#include "sim/freshness/case.h"

namespace testudo::freshness {
namespace {

constexpr std::uint64_t kPackets = 20'000;

// A guard as long as the jitter is at most: nothing may be refused, whoever sends and however much.
TEST(Freshness, AGuardThatCoversTheJitterLetsNothingBeRefused) {
  for (const std::uint32_t targets : {2u, 4u, 16u}) {
    for (const std::uint32_t window : {32u, 128u}) {
      for (const bool owner_sends : {false, true}) {
        const Case c{.targets = targets,
                     .rate = 1e6,
                     .burst = 44,
                     .windows = {window},
                     .path = {.uniform_most = 20us},
                     .owner_sends = owner_sends,
                     .packets = kPackets};
        const Result result = run(c);
        EXPECT_GT(result.received, kPackets / 8);
        EXPECT_EQ(result.refusals[0].refused, 0u) << targets << " targets, window " << window;
      }
    }
  }
}

// The receiver does refuse: without leases it would.
TEST(Freshness, BlocksAreRefused) {
  const Case c{.scheme = Scheme::kBlocks, .block = 64, .rate = 1e6, .windows = {32, 1024}, .packets = kPackets};
  const Result result = run(c);
  EXPECT_GT(result.refusals[0].refused, kPackets / 3);
  EXPECT_EQ(result.refusals[1].refused, 0u);
}

// What is refused without a guard was held up by the path, each packet of it.
TEST(Freshness, OnlyThePathsJitterLetsPacketsBeRefused) {
  const Case c{.targets = 16,
               .rate = 1e6,
               .burst = 44,
               .windows = {32},
               .guard = 0us,
               .xcf = {.least = 1us, .most = 2us, .spread = 1us},
               .path = {.mean = 20us},
               .packets = 4 * kPackets};
  const Result result = run(c);
  EXPECT_GT(result.refusals[0].refused, 0u);
  EXPECT_EQ(result.refusals[0].refused, result.refusals[0].by_jitter);
}

TEST(Freshness, OneSenderDoesNotWait) {
  for (const double rate : {0.1e6, 0.5e6, 1e6}) {
    for (const std::uint32_t burst : {8u, 44u}) {
      const Result result = run({.targets = 1, .rate = rate, .burst = burst, .packets = 5 * kPackets});
      EXPECT_EQ(result.wait_p99_us, 0) << rate << " a second, bursts of " << burst;
      EXPECT_EQ(result.refusals[0].refused, 0u);
    }
  }
}

TEST(Freshness, SharedModeComesNearItsBound) {
  for (const std::uint32_t targets : {2u, 4u, 16u}) {
    for (const std::uint32_t window : {32u, 64u}) {
      const Case c{.targets = targets, .rate = 1.5e6, .burst = 44, .windows = {window}, .packets = kPackets};
      const Result result = run(c);
      EXPECT_GE(result.rate(), 0.8 * bound(c)) << targets << " targets, window " << window;
      EXPECT_LT(result.rate(), 0.8 * c.rate);  // it was offered more
    }
  }
}

TEST(Freshness, TheSameSeedGivesTheSameRun) {
  const Case c{.rate = 1e6, .burst = 44, .packets = kPackets};
  const Result one = run(c), other = run(c);
  EXPECT_EQ(one.sent, other.sent);
  EXPECT_EQ(one.messages, other.messages);
  EXPECT_EQ(one.wait_p99_us, other.wait_p99_us);
}

}  // namespace
}  // namespace testudo::freshness
