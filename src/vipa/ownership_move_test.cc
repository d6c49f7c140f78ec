// SPDX-License-Identifier: Apache-2.0
// Planned moves of a DVIPA, and its way back to the node that defines it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "vipa/cluster_for_test.h"

namespace testudo::vipa {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct PlannedMove : SuspiciousCluster {
  PlannedMove() : o(start("o", kOwns)), low(start("l", kLow)), high(start("h", kHigh)) {}
  void begin(const std::string& to) {
    ASSERT_TRUE(o->ownership_->move(kDvipa, to));
    executor.run_for(10ms);
    ASSERT_THAT(o->log_, Contains("ready to move to " + to));
  }
  std::string heir() {
    const auto& text = store.entries().at("/testudo/c1/owner/192.0.2.100").value;
    return OwnerRecord::from_json(kDvipa, text)->heir;
  }
  std::unique_ptr<Node> o, low, high;
};

TEST_F(PlannedMove, HeirTakesWhatIsHandedOver) {
  const Epoch before = o->epochs_.at(0);
  begin("l");
  executor.run_for(5s);
  EXPECT_TRUE(o->owns_);  // until the data plane has stopped
  EXPECT_EQ(o->ownership_->dvipa(kDvipa)->epoch, before);
  EXPECT_TRUE(o->ownership_->hand_over(kDvipa));
  executor.run_for(10ms);
  ASSERT_TRUE(low->owns_);
  EXPECT_TRUE(low->acquired_.at(0).planned);
  EXPECT_EQ(low->acquired_.at(0).former->node, "o");
  EXPECT_EQ(low->acquired_.at(0).former->epoch, before);
  EXPECT_GT(low->epochs_.at(0), before);
  EXPECT_EQ(o->log_.back(), "lost: moved to l");
  suspect({o.get(), low.get(), high.get()}, {}, 20s);
  EXPECT_TRUE(low->owns_);
  EXPECT_THAT(o->log_, Not(Contains("wants it from l")));  // it was moved as planned
}

TEST_F(PlannedMove, OthersWaitForTheHeirButNotForEver) {
  begin("l");
  ASSERT_TRUE(o->ownership_->hand_over(kDvipa));
  low.reset();  // between the two
  executor.run_for(1900ms);
  EXPECT_FALSE(high->owns_ || o->owns_);
  executor.run_for(200ms);
  ASSERT_TRUE(o->owns_);  // it defines the address
  EXPECT_FALSE(o->acquired_.back().planned);
}

TEST_F(PlannedMove, RefusalsSayWhatToDo) {
  const auto target = start("t");
  const auto message = [](Node& at, const std::string& to, IpAddress dvipa = kDvipa) {
    const auto result = at.ownership_->move(dvipa, to);
    return result ? std::string() : result.error().message;
  };
  EXPECT_THAT(message(*o, "t"), HasSubstr("neither VIPADEFINE nor VIPABACKUP for it; nodes that can: h, l"));
  EXPECT_THAT(message(*o, "o"), HasSubstr("owns 192.0.2.100 already"));
  EXPECT_THAT(message(*high, "l"), HasSubstr("owned by node o: ask that one"));
  EXPECT_THAT(message(*o, "l", IpAddress(0xc0000265)), HasSubstr("192.0.2.101 is no DVIPA of this cluster"));
  o->ownership_->suspect({"h"});
  EXPECT_THAT(message(*o, "h"), HasSubstr("does not answer"));
  EXPECT_EQ(o->ownership_->best_backup(kDvipa), "l");
  EXPECT_EQ(message(*o, "l"), "");
  EXPECT_THAT(message(*o, "l"), HasSubstr("being moved to node l: wait"));
}

TEST_F(PlannedMove, EndsWhenTheHeirIsGone) {
  begin("l");
  o->ownership_->suspect({"l"});
  EXPECT_EQ(o->log_.back(), "move failed: node l is gone");
  EXPECT_FALSE(o->ownership_->hand_over(kDvipa));
  executor.run_for(10ms);
  EXPECT_EQ(heir(), "");
  EXPECT_TRUE(o->owns_);
  begin("h");
}

TEST_F(PlannedMove, MayBeAbandonedAtAnyTimeBefore) {
  ASSERT_TRUE(o->ownership_->move(kDvipa, "l"));
  o->ownership_->abandon(kDvipa);  // the write is under way
  executor.run_for(10ms);
  EXPECT_EQ(heir(), "");
  EXPECT_THAT(o->log_, Not(Contains("ready to move to l")));
  begin("h");
  o->ownership_->abandon(kDvipa);
  executor.run_for(10ms);
  EXPECT_EQ(heir(), "");
  EXPECT_FALSE(o->ownership_->hand_over(kDvipa));
  EXPECT_TRUE(o->owns_);
}

TEST_F(PlannedMove, LostAnswersAreAskedForAgain) {
  ASSERT_TRUE(o->ownership_->move(kDvipa, "l"));
  executor.run_for(1ms);  // it has arrived
  store.set_reachable("o", false);
  executor.run_for(1ms);
  store.set_reachable("o", true);
  executor.run_for(4s);
  ASSERT_THAT(o->log_, Contains("ready to move to l"));
  ASSERT_TRUE(o->ownership_->hand_over(kDvipa));
  store.set_reachable("o", false);
  executor.run_for(1s);
  store.set_reachable("o", true);
  executor.run_for(3s);
  EXPECT_TRUE(low->owns_);
  EXPECT_EQ(o->log_.back(), "lost: moved to l");
}

TEST_F(PlannedMove, OwnerThatDiesBeforeHandingOverIsFollowedByItsHeir) {
  begin("l");
  o.reset();
  executor.run_for(12s);  // its session ends
  EXPECT_TRUE(low->owns_);
}

TEST_F(PlannedMove, ReturnedDefinerAsksForItsAddressUntilItHasIt) {
  o.reset();
  suspect({low.get(), high.get()}, {"o"}, 12s);
  ASSERT_TRUE(high->owns_);
  o = start("o", kOwns);
  suspect({o.get(), low.get(), high.get()}, {}, 5s);
  EXPECT_EQ(std::count(o->log_.begin(), o->log_.end(), "wants it from h"), 2);
  EXPECT_FALSE(o->owns_);
  EXPECT_EQ(high->ownership_->best_backup(kDvipa), "o");
  ASSERT_TRUE(high->ownership_->move(kDvipa, "o"));
  suspect({o.get(), low.get(), high.get()}, {}, 3s);
  EXPECT_EQ(std::count(o->log_.begin(), o->log_.end(), "wants it from h"), 2);  // it is coming
  ASSERT_TRUE(high->ownership_->hand_over(kDvipa));
  suspect({o.get(), low.get(), high.get()}, {}, 5s);
  EXPECT_TRUE(o->owns_);
  EXPECT_TRUE(o->acquired_.at(0).planned);
  EXPECT_EQ(high->log_.back(), "lost: moved to o");
}

TEST_F(PlannedMove, DeposedDefinerAsksToo) {
  suspect({low.get(), high.get()}, {"o"}, 100ms);
  ASSERT_TRUE(high->owns_);
  suspect({o.get(), low.get(), high.get()}, {}, 3s);
  EXPECT_THAT(o->log_, Contains("wants it from h"));
}

TEST_F(PlannedMove, OneOfTwoDefinersDoesNotAskTheOther) {
  const auto other = start("p", kOwns);
  suspect({o.get(), other.get()}, {}, 10s);
  EXPECT_THAT(other->log_, Not(Contains(HasSubstr("wants it"))));
}

TEST_F(PlannedMove, MovementComesDownFromTheDefiner) {
  const auto q = start("q", "VIPADEFINE MOVEABLE WHENIDLE 255.255.255.0 192.0.2.110");
  const auto r = start("r", "VIPABACKUP 1 192.0.2.110");
  const IpAddress dvipa(0xc000026e);
  q->membership_->leave();
  executor.run_for(100ms);
  ASSERT_TRUE(r->owns_);
  EXPECT_EQ(r->ownership_->movement_of(dvipa), Movement::kWhenIdle);
  EXPECT_EQ(r->ownership_->dvipa(dvipa)->owner->movement, Movement::kWhenIdle);
  EXPECT_EQ(o->ownership_->movement_of(kDvipa), Movement::kImmediate);
}

}  // namespace
}  // namespace testudo::vipa
