// SPDX-License-Identifier: Apache-2.0
#include "ike/report_threshold.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

namespace testudo::ike {
namespace {

using ipsec::Direction;

constexpr IpAddress kDvipa(0xc0000264);

/// One tunnel's SAs, each replaced by the next.
class Tunnel {
 public:
  explicit Tunnel(const ReportThresholds::Options& options) : thresholds(options) {}

  /// Returns the level of the new SA, which is the newest now.
  std::uint32_t add() { return level_ = thresholds.added(SaId(++last_), kDvipa, "peer", Direction::kInbound); }
  std::uint32_t timely() {
    thresholds.soft(SaId(last_));
    return replace();
  }
  std::uint32_t late() {
    thresholds.soft(SaId(last_));
    thresholds.ran_out(SaId(last_));
    return replace();
  }
  /// Replaced for another reason than its volume.
  std::uint32_t replace() {
    const SaId old(last_);
    add();
    thresholds.removed(old);
    return next();
  }
  [[nodiscard]] std::uint32_t next() const { return thresholds.level(kDvipa, "peer", Direction::kInbound); }
  [[nodiscard]] std::uint32_t level() const { return level_; }

  ReportThresholds thresholds;

 private:
  std::uint64_t last_ = 0;
  std::uint32_t level_ = 0;
};

TEST(ReportThresholds, StartsHighAndHalvesAfterALateRefresh) {
  Tunnel tunnel({.start = 500, .least = 100, .most = 500});
  EXPECT_EQ(tunnel.add(), 500U);
  EXPECT_EQ(tunnel.timely(), 500U);  // the maximum
  EXPECT_EQ(tunnel.late(), 250U);
  EXPECT_EQ(tunnel.thresholds.counts().late, 1U);
  EXPECT_EQ(tunnel.thresholds.counts().timely, 1U);
}

TEST(ReportThresholds, RisesAgainToBelowTheLevelThatFailedAndLaterToTheMaximum) {
  Tunnel tunnel({.start = 1000, .least = 100, .most = 1000, .patience = 9});
  tunnel.add();
  tunnel.late();
  std::vector<std::uint32_t> levels;
  for (int i = 0; i < 11; ++i) levels.push_back(tunnel.timely());
  // A level must have proved itself in an SA before it is raised again.
  EXPECT_EQ(levels, (std::vector<std::uint32_t>{625, 625, 781, 781, 800, 800, 800, 800, 1000, 1000, 1000}));
}

TEST(ReportThresholds, TriesALevelThatFailsAgainEverMoreRarely) {
  Tunnel tunnel({.start = 800, .least = 100, .most = 1600, .patience = 4});
  tunnel.add();
  std::vector<int> between;  // refreshes in time before each late one
  for (int i = 0, timely = 0; i < 200; ++i) {
    if (tunnel.level() < 900) {
      tunnel.timely();
      ++timely;
    } else {
      tunnel.late();
      between.push_back(timely);
      timely = 0;
    }
  }
  ASSERT_GE(between.size(), 4U);
  EXPECT_LE(between.size(), 8U);
  for (std::size_t i = 2; i + 1 < between.size(); ++i) EXPECT_GE(between[i + 1], between[i]);
}

TEST(ReportThresholds, WhatIsReplacedAlreadyIsNotLate) {
  Tunnel tunnel({.start = 400, .least = 100, .most = 500});
  tunnel.add();
  tunnel.thresholds.soft(SaId(1));
  tunnel.add();
  tunnel.thresholds.ran_out(SaId(1));
  tunnel.thresholds.removed(SaId(1));
  EXPECT_EQ(tunnel.next(), 500U);
  EXPECT_EQ(tunnel.thresholds.counts().timely, 1U);
}

TEST(ReportThresholds, ARefreshForAnotherReasonSaysNothing) {
  Tunnel tunnel({.start = 200, .least = 100, .most = 500});
  tunnel.add();
  tunnel.replace();
  EXPECT_EQ(tunnel.next(), 200U);
  tunnel.thresholds.soft(SaId(2));
  tunnel.thresholds.removed(SaId(2));  // deleted, and nothing in its place
  EXPECT_EQ(tunnel.next(), 200U);
  EXPECT_EQ(tunnel.thresholds.counts().timely + tunnel.thresholds.counts().late, 0U);
  EXPECT_EQ(tunnel.thresholds.tunnels(), 0U);  // nothing to remember
}

TEST(ReportThresholds, IsLateOnceForEachSa) {
  Tunnel tunnel({.start = 400, .least = 100, .most = 400});
  tunnel.add();
  tunnel.thresholds.ran_out(SaId(1));
  tunnel.thresholds.ran_out(SaId(1));
  EXPECT_EQ(tunnel.next(), 200U);
  EXPECT_EQ(tunnel.thresholds.counts().late, 1U);
}

TEST(ReportThresholds, TunnelsAndDirectionsAreApart) {
  ReportThresholds thresholds({.start = 400, .least = 100, .most = 400});
  thresholds.added(SaId(1), kDvipa, "a", Direction::kInbound);
  thresholds.ran_out(SaId(1));
  EXPECT_EQ(thresholds.added(SaId(2), kDvipa, "a", Direction::kInbound), 200U);
  EXPECT_EQ(thresholds.added(SaId(3), kDvipa, "a", Direction::kOutbound), 400U);
  EXPECT_EQ(thresholds.added(SaId(4), kDvipa, "b", Direction::kInbound), 400U);
  EXPECT_EQ(thresholds.added(SaId(5), IpAddress(7), "a", Direction::kInbound), 400U);
}

TEST(ReportThresholdsDeathTest, RefusesLimitsThatAreNoRange) {
  EXPECT_DEATH(ReportThresholds({.start = 400, .least = 100, .most = 300}), "CHECK failed");
  EXPECT_DEATH(ReportThresholds({.start = 50, .least = 100, .most = 300}), "CHECK failed");
}

RC_GTEST_PROP(ReportThresholds, StaysInItsRangeAndFollowsTheVerdict, (const std::vector<std::uint8_t>& verdicts)) {
  const ReportThresholds::Options options{.start = 700, .least = 90, .most = 2000, .patience = 3};
  Tunnel tunnel(options);
  tunnel.add();
  for (const std::uint8_t verdict : verdicts) {
    const std::uint32_t before = tunnel.next(), level = tunnel.level();
    const std::uint32_t after = verdict % 3 == 0   ? tunnel.late()
                                : verdict % 3 == 1 ? tunnel.timely()
                                                   : tunnel.replace();
    RC_ASSERT(after >= options.least && after <= options.most);
    if (verdict % 3 == 0) RC_ASSERT(after == std::max(options.least, std::min(before, level / 2)));
    if (verdict % 3 == 1) RC_ASSERT(after >= before);
    if (verdict % 3 == 2) RC_ASSERT(after == before);
  }
}

// Wherever the level lies from which on refreshes are late: they die out, and a line that suffers none reaches the
// maximum.
RC_GTEST_PROP(ReportThresholds, LateRefreshesDieOut, ()) {
  const auto bound = *rc::gen::inRange<std::uint32_t>(100, 6000);
  Tunnel tunnel({.start = 3000, .least = 100, .most = 5000});
  tunnel.add();
  int late = 0, recent = 0;
  for (int i = 0; i < 1000; ++i) {
    const bool is_late = tunnel.level() > bound;
    is_late ? tunnel.late() : tunnel.timely();
    late += is_late;
    if (i >= 500) recent += is_late;
  }
  RC_ASSERT(late <= 20);
  RC_ASSERT(recent <= 3);
  if (bound >= 5000) RC_ASSERT(late == 0 && tunnel.next() == 5000);
}

// Nobody looks through all tunnels whenever one is added, and not all that ever were are remembered.
TEST(ReportThresholds, ManyTunnelsTakeNeitherTimeNorMemory) {
  ReportThresholds thresholds({.start = 500, .least = 100, .most = 500});
  const auto add = [&](std::uint64_t n) {
    thresholds.added(SaId(n), IpAddress(1), "client/" + std::to_string(n), ipsec::Direction::kInbound);
  };
  for (std::uint64_t n = 1; n <= 300'000; ++n) add(n);
  EXPECT_EQ(thresholds.tunnels(), 300'000U);
  for (std::uint64_t n = 1; n <= 300'000; ++n) {
    thresholds.ran_out(SaId(n));  // so that there is something to remember
    thresholds.removed(SaId(n));
  }
  add(300'001);
  EXPECT_LE(thresholds.tunnels(), 1U << 14);
  EXPECT_EQ(thresholds.level(IpAddress(1), "client/300001", ipsec::Direction::kInbound), 500U);
}

}  // namespace
}  // namespace testudo::ike
