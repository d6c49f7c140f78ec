// SPDX-License-Identifier: Apache-2.0
#include "ike/lifesize.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

namespace testudo::ike {
namespace {

constexpr SaId kA{1}, kB{2};
constexpr Time kStart{};
using List = std::vector<Lifesize::Due>;

TEST(Lifesize, SoftThenHardOnceEachOverAllHosts) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 100, .hard_bytes = 200}, kStart);
  lifesize.used(kA, {60, 1}, kStart);  // one host
  EXPECT_EQ(lifesize.due(kStart), List{});
  lifesize.used(kA, {40, 1}, kStart);  // another
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kSoft}}));
  EXPECT_EQ(lifesize.due(kStart), List{});
  lifesize.used(kA, {100, 1}, kStart);
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kHard}}));
  EXPECT_EQ(lifesize.due(kStart), List{});
}

TEST(Lifesize, AHardLimitHidesASoftOne) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_packets = 5, .hard_packets = 10}, kStart);
  lifesize.used(kA, {0, 11}, kStart);
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kHard}}));
  EXPECT_EQ(lifesize.due(kStart), List{});
}

TEST(Lifesize, TimeCountsFromInstallation) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_seconds = 10, .hard_seconds = 20}, kStart + 5s);
  EXPECT_EQ(lifesize.next_due(), kStart + 15s);
  EXPECT_EQ(lifesize.due(kStart + 14s), List{});
  EXPECT_EQ(lifesize.due(kStart + 15s), (List{{kA, Expiry::kSoft}}));
  EXPECT_EQ(lifesize.next_due(), kStart + 25s);
  EXPECT_EQ(lifesize.due(kStart + 25s), (List{{kA, Expiry::kHard}}));
  EXPECT_EQ(lifesize.next_due(), std::nullopt);
}

TEST(Lifesize, ASoftLimitAboveTheHardOneIsIgnored) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = ~std::uint64_t{0}, .hard_bytes = 10, .soft_seconds = 9, .hard_seconds = 8},
               kStart);
  EXPECT_EQ(lifesize.next_due(), kStart + 8s);
}

TEST(Lifesize, ASoftLimitAloneCounts) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 10}, kStart);
  lifesize.used(kA, {10, 1}, kStart);
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kSoft}}));
}

TEST(Lifesize, NothingIsDueOfADeletedSa) {
  Lifesize lifesize;
  lifesize.add(kA, {.hard_bytes = 1}, kStart);
  lifesize.used(kA, {5, 1}, kStart);
  lifesize.remove(kA);
  lifesize.used(kA, {5, 1}, kStart);
  EXPECT_EQ(lifesize.due(kStart), List{});
  EXPECT_EQ(lifesize.total(kA, kStart).bytes, 0U);
}

TEST(Lifesize, RetryNamesItAgain) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 1}, kStart);
  lifesize.add(kB, {.hard_bytes = 1}, kStart);
  lifesize.used(kA, {1, 1}, kStart);
  lifesize.used(kB, {1, 1}, kStart);
  const List both{{kA, Expiry::kSoft}, {kB, Expiry::kHard}};
  EXPECT_EQ(lifesize.due(kStart), both);
  for (const auto& due : both) lifesize.retry(due);
  EXPECT_EQ(lifesize.due(kStart), both);
}

TEST(Lifesize, TotalSaysHowLongIdle) {
  Lifesize lifesize;
  lifesize.add(kA, {}, kStart);
  EXPECT_FALSE(lifesize.total(kA, kStart + 3s).used);
  lifesize.used(kA, {7, 2}, kStart + 4s);
  const SaUse use = lifesize.total(kA, kStart + 9s);
  EXPECT_TRUE(use.used);
  EXPECT_EQ(use.idle_seconds, 5U);
  EXPECT_EQ(use.bytes, 7U);
  EXPECT_EQ(use.packets, 2U);
}

TEST(Lifesize, SumsDoNotWrap) {
  Lifesize lifesize;
  const std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
  lifesize.add(kA, {.hard_bytes = max, .hard_seconds = max}, kStart);
  lifesize.used(kA, {max - 1, 1}, kStart);
  lifesize.used(kA, {max - 1, 1}, kStart);
  EXPECT_EQ(lifesize.total(kA, kStart).bytes, max);
  EXPECT_EQ(lifesize.next_due(), std::nullopt);
}

TEST(Lifesize, ReportThresholdIsAShareOfTheTotal) {
  const Used used = report_threshold({.soft_bytes = 500, .hard_bytes = 1000, .soft_packets = 10}, 5);
  EXPECT_EQ(used.bytes, 50U);
  EXPECT_EQ(used.packets, 1U);  // never 0 where there is a limit
  EXPECT_EQ(report_threshold({}, 5).bytes, 0U);
  EXPECT_EQ(report_threshold({.hard_bytes = ~std::uint64_t{0}}, 100).bytes, ~std::uint64_t{0});
}

RC_GTEST_PROP(Lifesize, EachLimitIsNamedAtMostOnceAndNoneBeforeItsTime, (std::vector<std::uint8_t> reports)) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 300, .hard_bytes = 600}, kStart);
  std::uint64_t sum = 0;
  int soft = 0, hard = 0;
  for (const std::uint8_t report : reports) {
    sum += report;
    lifesize.used(kA, {report, 1}, kStart);
    for (const auto& due : lifesize.due(kStart)) {
      ++(due.expiry == Expiry::kHard ? hard : soft);
      RC_ASSERT(sum >= (due.expiry == Expiry::kHard ? 600U : 300U));
    }
  }
  RC_ASSERT(soft <= 1 && hard == (sum >= 600 ? 1 : 0));
  RC_ASSERT(sum < 300 || soft + hard >= 1);
}

}  // namespace
}  // namespace testudo::ike
