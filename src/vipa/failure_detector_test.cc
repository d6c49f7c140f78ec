// SPDX-License-Identifier: Apache-2.0
#include "vipa/failure_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace testudo::vipa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Members that hear each other unless `cut` says otherwise; heartbeats arrive at once, each period.
struct Room {
  explicit Room(const std::vector<std::string>& names) {
    const FailureDetector::Names all(names.begin(), names.end());
    for (const std::string& n : names) detectors.try_emplace(n, n, FailureDetector::Options(), now);
    for (auto& [n, d] : detectors) d.members(all, now);
    run(400ms);
  }
  [[nodiscard]] bool reaches(const std::string& from, const std::string& to) const {
    return !dead.contains(from) && !dead.contains(to) && !cut.contains({from, to}) && !cut.contains({to, from});
  }
  void run(Duration span) {
    for (const Time end = now + span; now < end;) {
      now += 50ms;
      for (auto& [from, detector] : detectors) {
        if (dead.contains(from)) continue;
        const auto silent = detector.silent(now);
        for (auto& [to, other] : detectors) {
          if (from != to && reaches(from, to)) other.heard(from, silent, now);
        }
      }
    }
  }
  FailureDetector::Names seen_dead(const std::string& by) { return detectors.at(by).dead(now); }

  Time now{1h};
  std::map<std::string, FailureDetector> detectors;
  FailureDetector::Names dead;
  std::set<std::pair<std::string, std::string>> cut;
};

TEST(FailureDetector, DeadMemberIsFoundInATimeoutAndAPeriod) {
  Room room({"a", "b", "c", "d"});
  room.dead = {"a"};
  room.run(150ms);
  EXPECT_THAT(room.detectors.at("b").silent(room.now), IsEmpty());
  EXPECT_EQ(room.detectors.at("b").next_timer(), room.now + 50ms);
  room.run(100ms);
  for (const char* by : {"b", "c", "d"}) EXPECT_THAT(room.seen_dead(by), ElementsAre("a")) << by;
}

TEST(FailureDetector, OneWhoHearsNothingAloneFindsNobodyDead) {
  Room room({"a", "b", "c"});
  room.cut = {{"a", "b"}};
  room.run(1s);
  EXPECT_THAT(room.detectors.at("b").silent(room.now), ElementsAre("a"));
  EXPECT_THAT(room.seen_dead("b"), IsEmpty());
  EXPECT_THAT(room.seen_dead("c"), IsEmpty());
}

TEST(FailureDetector, MinorityFindsNobodyOfTheMajorityDead) {
  Room room({"a", "b", "c", "d", "e"});
  for (const char* few : {"a", "b"}) {
    for (const char* many : {"c", "d", "e"}) room.cut.insert({few, many});
  }
  room.run(1s);
  EXPECT_THAT(room.seen_dead("a"), IsEmpty());
  EXPECT_THAT(room.seen_dead("b"), IsEmpty());
  EXPECT_THAT(room.seen_dead("c"), ElementsAre("a", "b"));
}

TEST(FailureDetector, OfTwoTheOneThatIsLeftDecides) {
  Room room({"a", "b"});
  room.dead = {"a"};
  room.run(250ms);
  EXPECT_THAT(room.seen_dead("b"), ElementsAre("a"));
}

TEST(FailureDetector, EndedLinkIsSilenceAtOnceUntilItIsBack) {
  Room room({"a", "b", "c"});
  FailureDetector& b = room.detectors.at("b");
  b.link_down("a", room.now);
  EXPECT_THAT(b.silent(room.now), ElementsAre("a"));
  EXPECT_THAT(b.dead(room.now), IsEmpty());
  b.heard("c", {"a"}, room.now);
  EXPECT_THAT(b.dead(room.now), ElementsAre("a"));
  b.link_up("a", room.now);
  EXPECT_THAT(b.silent(room.now), IsEmpty());
  EXPECT_THAT(b.dead(room.now), IsEmpty());
}

TEST(FailureDetector, OldAccusationsDoNotCount) {
  Room room({"a", "b", "c"});
  FailureDetector& b = room.detectors.at("b");
  b.link_down("a", room.now);
  b.heard("c", {"a"}, room.now);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(b.dead(room.now += 50ms), ElementsAre("a"));
  EXPECT_THAT(b.dead(room.now += 50ms), IsEmpty());  // c is silent too
  EXPECT_THAT(b.silent(room.now), ElementsAre("a", "c"));
  b.heard("c", {}, room.now);
  EXPECT_THAT(b.dead(room.now), IsEmpty());  // c hears it
}

TEST(FailureDetector, OneThatWasStoppedListensFirst) {
  Room room({"a", "b"});
  FailureDetector& b = room.detectors.at("b");
  room.now += 10s;
  EXPECT_THAT(b.silent(room.now), IsEmpty());
  b.link_down("a", room.now);  // it has given up on this node meanwhile
  EXPECT_THAT(b.dead(room.now), IsEmpty());
  for (int i = 0; i < 3; ++i) EXPECT_THAT(b.dead(room.now += 50ms), IsEmpty());
  EXPECT_THAT(b.dead(room.now += 50ms), ElementsAre("a"));
}

TEST(FailureDetector, WhatWaitedInTheSocketIsNoNews) {
  Room room({"a", "b", "c"});
  FailureDetector& b = room.detectors.at("b");
  room.now += 10s;
  b.heard("c", {"a"}, room.now += 1ms);
  for (int i = 0; i < 3; ++i) (void)b.silent(room.now += 50ms);
  b.heard("c", {"a"}, room.now += 45ms);  // still within the timeout
  EXPECT_THAT(b.dead(room.now += 5ms), IsEmpty());
  b.heard("c", {"a"}, room.now += 45ms);
  EXPECT_THAT(b.dead(room.now), ElementsAre("a"));
}

TEST(FailureDetector, NewMemberHasTimeForItsLinks) {
  Room room({"a", "b"});
  FailureDetector& b = room.detectors.at("b");
  b.members({"a", "b", "n"}, room.now);
  b.link_down("n", room.now);
  room.run(1s);
  EXPECT_THAT(b.silent(room.now), IsEmpty());
  b.members({"a", "b"}, room.now);
  room.dead = {"a"};
  room.run(250ms);
  EXPECT_THAT(room.seen_dead("b"), ElementsAre("a"));  // "n" has no voice any more
}

}  // namespace
}  // namespace testudo::vipa
