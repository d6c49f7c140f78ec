// SPDX-License-Identifier: Apache-2.0
#include "ike/lifesize.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <vector>

namespace testudo::ike {
namespace {

constexpr SaId kA{1}, kB{2};
constexpr Time kStart{};
constexpr std::uint32_t kLevel = 500;  // 5 %
constexpr std::uint64_t kMega = 1'000'000;
using List = std::vector<Lifesize::Due>;

/// So much, by a host that has not been heard of yet.
void use(Lifesize& lifesize, SaId id, Used used, Time now) {
  static std::uint32_t hosts = 1000;
  lifesize.used(id, {.host = ++hosts, .total = used}, now);
}

TEST(Lifesize, SoftThenHardOnceEachOverAllHosts) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 100 * kMega, .hard_bytes = 200 * kMega}, kLevel, kStart);
  use(lifesize, kA, {60 * kMega, 1}, kStart);  // one host
  EXPECT_EQ(lifesize.due(kStart), List{});
  use(lifesize, kA, {40 * kMega, 1}, kStart);  // another
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kSoft}}));
  EXPECT_EQ(lifesize.due(kStart), List{});
  use(lifesize, kA, {100 * kMega, 1}, kStart);
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kHard}}));
  EXPECT_EQ(lifesize.due(kStart), List{});
}

TEST(Lifesize, AHardLimitHidesASoftOne) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_packets = 5, .hard_packets = 10}, kLevel, kStart);
  use(lifesize, kA, {0, 11}, kStart);
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kHard}}));
  EXPECT_EQ(lifesize.due(kStart), List{});
}

TEST(Lifesize, TimeCountsFromInstallation) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_seconds = 10, .hard_seconds = 20}, kLevel, kStart + 5s);
  EXPECT_EQ(lifesize.next_due(), kStart + 15s);
  EXPECT_EQ(lifesize.due(kStart + 14s), List{});
  EXPECT_EQ(lifesize.due(kStart + 15s), (List{{kA, Expiry::kSoft, true}}));
  EXPECT_EQ(lifesize.next_due(), kStart + 25s);
  EXPECT_EQ(lifesize.due(kStart + 25s), (List{{kA, Expiry::kHard, true}}));
  EXPECT_EQ(lifesize.next_due(), std::nullopt);
}

TEST(Lifesize, ASoftLimitAboveTheHardOneIsIgnored) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = ~std::uint64_t{0}, .hard_bytes = 10, .soft_seconds = 9, .hard_seconds = 8},
               kLevel, kStart);
  EXPECT_EQ(lifesize.next_due(), kStart + 8s);
}

TEST(Lifesize, ASoftLimitAloneCounts) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 10}, kLevel, kStart);
  use(lifesize, kA, {10, 1}, kStart);
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kSoft}}));
}

TEST(Lifesize, NothingIsDueOfADeletedSa) {
  Lifesize lifesize;
  lifesize.add(kA, {.hard_bytes = 1}, kLevel, kStart);
  use(lifesize, kA, {5, 1}, kStart);
  lifesize.remove(kA);
  use(lifesize, kA, {5, 1}, kStart);
  EXPECT_EQ(lifesize.due(kStart), List{});
  EXPECT_EQ(lifesize.total(kA, kStart).bytes, 0U);
}

TEST(Lifesize, RetryNamesItAgain) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 1}, kLevel, kStart);
  lifesize.add(kB, {.hard_bytes = 1}, kLevel, kStart);
  use(lifesize, kA, {1, 1}, kStart);
  use(lifesize, kB, {1, 1}, kStart);
  const List both{{kA, Expiry::kSoft}, {kB, Expiry::kHard}};
  EXPECT_EQ(lifesize.due(kStart), both);
  for (const auto& due : both) lifesize.retry(due);
  EXPECT_EQ(lifesize.due(kStart), both);
}

TEST(Lifesize, TotalSaysHowLongIdle) {
  Lifesize lifesize;
  lifesize.add(kA, {}, kLevel, kStart);
  EXPECT_FALSE(lifesize.total(kA, kStart + 3s).used);
  use(lifesize, kA, {7, 2}, kStart + 4s);
  const SaUse use = lifesize.total(kA, kStart + 9s);
  EXPECT_TRUE(use.used);
  EXPECT_EQ(use.idle_seconds, 5U);
  EXPECT_EQ(use.bytes, 7U);
  EXPECT_EQ(use.packets, 2U);
}

TEST(Lifesize, SumsDoNotWrap) {
  Lifesize lifesize;
  const std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
  lifesize.add(kA, {.hard_bytes = max, .hard_seconds = max}, kLevel, kStart);
  use(lifesize, kA, {max - 1, 1}, kStart);
  use(lifesize, kA, {max - 1, 1}, kStart);
  EXPECT_EQ(lifesize.total(kA, kStart).bytes, max);
  EXPECT_EQ(lifesize.next_due(), std::nullopt);
}

TEST(Lifesize, ReportThresholdIsAShareOfTheTotal) {
  const Used used = report_threshold({.soft_bytes = 500, .hard_bytes = 1000, .soft_packets = 10}, 500);
  EXPECT_EQ(used.bytes, 50U);
  EXPECT_EQ(used.packets, 1U);  // never 0 where there is a limit
  EXPECT_EQ(report_threshold({.hard_bytes = 1'000'000}, 25).bytes, 2500U);
  EXPECT_EQ(report_threshold({}, 500).bytes, 0U);
  EXPECT_EQ(report_threshold({.hard_bytes = ~std::uint64_t{0}}, 10'000).bytes, ~std::uint64_t{0});
}

// A report says what there is in all: one that comes twice, late or never does no harm.
TEST(Lifesize, ReportsOfOneHostAreTotals) {
  Lifesize lifesize;
  lifesize.add(kA, {}, kLevel, kStart);
  for (const std::uint64_t total : {10U, 10U, 30U, 20U}) {
    lifesize.used(kA, {.host = 1, .total = {total, total}}, kStart);
  }
  lifesize.used(kA, {.host = 2, .total = {5, 5}}, kStart);
  EXPECT_EQ(lifesize.total(kA, kStart).bytes, 35U);
  EXPECT_EQ(lifesize.total(kA, kStart).packets, 35U);
}

TEST(Lifesize, AShareRunsTwoThresholdsAheadOfWhatIsUsed) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 80 * kMega, .hard_bytes = 100 * kMega}, kLevel, kStart);
  const Share first = lifesize.share(kA, 1);
  EXPECT_EQ(first.report, (Used{5 * kMega, 0}));
  EXPECT_EQ(first.allowed, (Used{5 * kMega, 0}));
  EXPECT_EQ(lifesize.share(kA, 1), first);
  EXPECT_TRUE(lifesize.used(kA, {.host = 1, .total = {kMega, 9}}, kStart));
  EXPECT_EQ(lifesize.share(kA, 1).allowed, (Used{11 * kMega, 0}));
  EXPECT_FALSE(lifesize.used(kA, {.host = 1, .total = {kMega, 9}}, kStart));
  EXPECT_EQ(lifesize.given(kA), (Used{11 * kMega, 0}));
  EXPECT_EQ(lifesize.share(kB, 1), Share());
}

TEST(Lifesize, RunsOutWhenNothingIsLeftToGive) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_packets = 9'000, .hard_packets = 10'000}, 4000, kStart);
  for (std::uint32_t host = 1; host <= 5; ++host) lifesize.share(kA, host);
  EXPECT_TRUE(lifesize.used(kA, {.host = 1, .total = {1, 500}}, kStart));
  EXPECT_EQ(lifesize.share(kA, 1).allowed.packets, 7'869U);  // the rest: four idle hosts hold their first shares
  EXPECT_EQ(lifesize.take_run_out(), std::vector<SaId>{kA});
  EXPECT_EQ(lifesize.take_run_out(), std::vector<SaId>{});
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kSoft}}));  // long before the soft limit
  lifesize.used(kA, {.host = 1, .total = {1, 7'000}, .refused = false}, kStart);
  EXPECT_EQ(lifesize.due(kStart), List{});
  EXPECT_FALSE(lifesize.used(kA, {.host = 1, .total = {1, 7'869}, .refused = true}, kStart));
  EXPECT_EQ(lifesize.due(kStart), (List{{kA, Expiry::kHard}}));
}

TEST(Lifesize, AHostThatHadToDropGetsMore) {
  Lifesize lifesize;
  lifesize.add(kA, {.hard_bytes = 80 * kMega}, 10, kStart);
  const std::uint64_t first = lifesize.share(kA, 1).allowed.bytes;
  EXPECT_TRUE(lifesize.used(kA, {.host = 1, .total = {first, 9}, .refused = true}, kStart));
  EXPECT_GT(lifesize.share(kA, 1).allowed.bytes, 2 * kMega);
  EXPECT_EQ(lifesize.due(kStart), List{});
}

RC_GTEST_PROP(Lifesize, EachLimitIsNamedAtMostOnceAndNoneBeforeItsTime, (std::vector<std::uint8_t> reports)) {
  Lifesize lifesize;
  lifesize.add(kA, {.soft_bytes = 300 * kMega, .hard_bytes = 600 * kMega}, 100, kStart);
  std::uint64_t sum = 0;
  int soft = 0, hard = 0;
  for (const std::uint8_t report : reports) {
    sum += report * kMega;
    lifesize.used(kA, {.host = 1, .total = {sum, 1}}, kStart);
    for (const auto& due : lifesize.due(kStart)) {
      ++(due.expiry == Expiry::kHard ? hard : soft);
      RC_ASSERT(sum >= (due.expiry == Expiry::kHard ? 600U : 300U) * kMega);
    }
  }
  RC_ASSERT(soft <= 1 && hard == (sum >= 600 * kMega ? 1 : 0));
  RC_ASSERT(sum < 300 * kMega || soft + hard >= 1);
}

// Hosts carry what they may, report when they like, lose reports and start anew: all together never carry more than
// the hard limits, and a host that needs more is either given it or ends the SA.
RC_GTEST_PROP(Lifesize, AllHostsTogetherNeverCarryMoreThanTheHardLimits, ()) {
  const ipsec::LifesizeLimits limits{.hard_bytes = *rc::gen::inRange<std::uint64_t>(100'000, 10'000'000),
                                     .hard_packets = *rc::gen::inRange<std::uint64_t>(100, 20'000)};
  Lifesize lifesize;
  lifesize.add(kA, limits, *rc::gen::inRange<std::uint32_t>(10, 5000), kStart);
  struct Host {
    std::uint32_t incarnation = 0;
    Used used;
    bool refused = false;
  };
  std::uint32_t incarnations = 0;
  Used carried;
  std::vector<Host> hosts(4);
  for (Host& host : hosts) host.incarnation = ++incarnations;
  bool over = false;
  for (int step = 0; step < 400 && !over; ++step) {
    Host& host = hosts[*rc::gen::inRange<std::size_t>(0, hosts.size())];
    const auto what = *rc::gen::inRange(0, 20);
    const Share share = lifesize.share(kA, host.incarnation);
    if (what == 0) {
      host = {.incarnation = ++incarnations, .used = {}};
    } else if (what < 12) {
      const Used next{*rc::gen::inRange<std::uint64_t>(40, 200'000), *rc::gen::inRange<std::uint64_t>(1, 500)};
      const bool fits = host.used.bytes + next.bytes <= share.allowed.bytes &&
                        host.used.packets + next.packets <= share.allowed.packets;
      host.refused |= !fits;
      if (!fits) continue;
      host.used = {host.used.bytes + next.bytes, host.used.packets + next.packets};
      carried = {carried.bytes + next.bytes, carried.packets + next.packets};
    } else {
      lifesize.used(kA, {.host = host.incarnation, .total = host.used, .refused = host.refused}, kStart);
      host.refused = false;
    }
    RC_ASSERT(carried.bytes <= limits.hard_bytes && carried.packets <= limits.hard_packets);
    RC_ASSERT(lifesize.given(kA).bytes <= limits.hard_bytes && lifesize.given(kA).packets <= limits.hard_packets);
    RC_ASSERT(lifesize.total(kA, kStart).bytes <= carried.bytes);
    for (const auto& due : lifesize.due(kStart)) over |= due.expiry == Expiry::kHard;
  }
}

}  // namespace
}  // namespace testudo::ike
