// SPDX-License-Identifier: Apache-2.0
#include "vipa/failsafe.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace testudo::vipa {
namespace {

constexpr IpAddress kDvipa(0xc0000264);
constexpr Epoch kEpoch(7);

TEST(Failsafe, EveryBackupMustHavePromised) {
  Failsafe owner({}), b({}), c({});
  const Time now(1h);
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {}), Time::min());
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b"}), Time::min());
  const Ask ask = owner.ask(kDvipa, kEpoch, now);
  owner.promised("b", b.promise(ask, now + 1ms), now + 2ms);
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b"}), now + 3600ms);  // from the question, nine tenths of 4 s
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b", "c"}), Time::min());
  owner.promised("c", c.promise(ask, now + 1s), now + 1s);
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b", "c"}), now + 3600ms);
  EXPECT_EQ(b.bound_until(kDvipa), now + 4001ms);
  EXPECT_EQ(c.bound_until(kDvipa), now + 5s);
}

TEST(Failsafe, AnswersToOtherQuestionsDoNotCount) {
  Failsafe owner({});
  const Time now(1h);
  const Ask ask = owner.ask(kDvipa, kEpoch, now);
  owner.promised("b", {kDvipa, Epoch(6), ask.number, 4s}, now);
  owner.promised("b", {kDvipa, kEpoch, ask.number + 1, 4s}, now);
  owner.promised("b", {IpAddress(1), kEpoch, ask.number, 4s}, now);
  owner.promised("b", {kDvipa, kEpoch, ask.number, Duration(-1)}, now);
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b"}), Time::min());
  owner.promised("b", {kDvipa, kEpoch, ask.number, Duration::max()}, now);
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b"}), now + 54min);
  (void)owner.ask(kDvipa, Epoch(8), now);  // another ownership: nothing was promised to that
  EXPECT_EQ(owner.until(kDvipa, Epoch(8), {"b"}), Time::min());
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b"}), Time::min());
}

TEST(Failsafe, LateAnswerCountsFromItsQuestion) {
  Failsafe owner({}), b({});
  const Time now(1h);
  const Ask first = owner.ask(kDvipa, kEpoch, now);
  const Ask second = owner.ask(kDvipa, kEpoch, now + 1s);
  owner.promised("b", b.promise(second, now + 1s), now + 1s);
  owner.promised("b", b.promise(first, now + 1s), now + 2s);
  EXPECT_EQ(owner.until(kDvipa, kEpoch, {"b"}), now + 4600ms);
}

// Clocks that go wrong by up to 5 %, messages late, lost, doubled: the owner stops before the backup is free.
RC_GTEST_PROP(FailsafeProperty, OwnerStopsBeforeABackupIsFree, ()) {
  const auto rate = [] { return *rc::gen::inRange(950, 1051); };
  const int owner_rate = rate(), backup_rate = rate();
  const auto owner_at = [&](Duration t) { return Time(1h) + t * owner_rate / 1000; };
  const auto backup_at = [&](Duration t) { return Time(5h) + t * backup_rate / 1000; };
  Failsafe owner({}), backup({});
  std::vector<Promise> under_way;
  Duration t{};
  for (int i = 0; i < 30; ++i) {
    t += std::chrono::milliseconds(*rc::gen::inRange(1, 2500));
    const Ask ask = owner.ask(kDvipa, kEpoch, owner_at(t));
    t += std::chrono::milliseconds(*rc::gen::inRange(0, 800));
    if (*rc::gen::inRange(0, 3) > 0) under_way.push_back(backup.promise(ask, backup_at(t)));
    t += std::chrono::milliseconds(*rc::gen::inRange(0, 800));
    for (const Promise& p : under_way) {
      if (*rc::gen::arbitrary<bool>()) owner.promised("b", p, owner_at(t));
    }
    const Time stops = owner.until(kDvipa, kEpoch, {"b"});
    if (stops == Time::min()) continue;
    const Duration true_stop = (stops - Time(1h)) / owner_rate * 1000;
    RC_ASSERT(backup_at(true_stop) <= backup.bound_until(kDvipa));
  }
}

}  // namespace
}  // namespace testudo::vipa
