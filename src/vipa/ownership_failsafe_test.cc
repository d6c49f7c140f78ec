// SPDX-License-Identifier: Apache-2.0
// Owner and backups while the coupling facility is away, for all of them or for one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "vipa/cluster_for_test.h"

namespace testudo::vipa {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

struct FacilityAway : SuspiciousCluster {
  FacilityAway() {
    add("o", kOwns);
    add("l", kLow);
    add("h", kHigh);
  }
  Node& add(const std::string& name, const std::string& statements,
            std::function<void(const Acquired&)> renewed = {}) {
    Node& node = *(nodes[name] = start(name, statements, std::move(renewed)));
    node.send_ask_ = [this, name](const std::string& to, const Ask& ask) {
      ++asks;
      executor.run_after(1ms, [this, name, to, ask] {
        if (reaches(name, to)) nodes[to]->ownership_->asked(name, ask);
      });
    };
    node.send_promise_ = [this, name](const std::string& to, const Promise& promise) {
      executor.run_after(1ms, [this, name, to, promise] {
        if (reaches(name, to)) nodes[to]->ownership_->promised(name, promise);
      });
    };
    return node;
  }
  [[nodiscard]] bool reaches(const std::string& from, const std::string& to) const {
    return nodes.contains(from) && nodes.contains(to) && !cut.contains(from) && !cut.contains(to);
  }
  void facility_answers(bool does) {
    for (const char* name : {"o", "l", "h"}) store.set_reachable(name, does);
  }
  Node& node(const std::string& name) { return *nodes.at(name); }

  std::map<std::string, std::unique_ptr<Node>> nodes;
  std::set<std::string> cut;
  int asks = 0;
};

TEST_F(FacilityAway, NobodyIsAskedWhileItAnswers) {
  executor.run_for(20s);
  EXPECT_EQ(asks, 0);
}

TEST_F(FacilityAway, OwnerGoesOnByPromiseAndHasANewEpochAfterwards) {
  facility_answers(false);
  executor.run_for(30s);
  EXPECT_TRUE(node("o").owns_);
  EXPECT_EQ(node("o").ownership_->dvipa(kDvipa)->role, Role::kOwner);
  EXPECT_EQ(node("o").ownership_->dvipa(kDvipa)->epoch, node("o").epochs_.at(0));
  EXPECT_EQ(node("o").epochs_.size(), 1u);
  EXPECT_THAT(node("o").ownership_->move(kDvipa, "h").error().message, HasSubstr("facility does not answer"));
  facility_answers(true);
  executor.run_for(30s);
  EXPECT_TRUE(node("o").owns_);
  ASSERT_EQ(node("o").acquired_.size(), 2u);  // `renewed` is not set
  EXPECT_EQ(node("o").acquired_[1].former->node, "o");
  EXPECT_EQ(node("o").acquired_[1].former->epoch, node("o").epochs_[0]);
  EXPECT_GT(node("o").epochs_[1], node("o").epochs_[0]);
  EXPECT_FALSE(node("l").owns_ || node("h").owns_);
  EXPECT_EQ(node("l").epochs_.size() + node("h").epochs_.size(), 0u);
  const int before = asks;
  executor.run_for(20s);
  EXPECT_EQ(asks, before);
}

TEST_F(FacilityAway, RenewalIsToldAsSuchIfSomebodyListens) {
  std::vector<Acquired> renewed;
  Node& q = add("q", "VIPADEFINE 255.255.255.0 192.0.2.110", [&](const Acquired& a) { renewed.push_back(a); });
  Node& r = add("r", "VIPABACKUP 9 192.0.2.110");
  for (const char* name : {"q", "r"}) store.set_reachable(name, false);
  executor.run_for(30s);
  for (const char* name : {"q", "r"}) store.set_reachable(name, true);
  executor.run_for(30s);
  ASSERT_EQ(renewed.size(), 1u);
  EXPECT_EQ(renewed[0].former->epoch, q.epochs_.at(0));
  EXPECT_GT(renewed[0].epoch, q.epochs_.at(0));
  EXPECT_EQ(q.epochs_.size(), 1u);
  EXPECT_THAT(q.log_, Not(Contains(HasSubstr("lost"))));
  EXPECT_EQ(r.ownership_->dvipa(IpAddress(0xc000026e))->owner->node, "q");
}

TEST_F(FacilityAway, ShortOutageChangesNothing) {
  facility_answers(false);
  executor.run_for(5s);
  facility_answers(true);
  executor.run_for(20s);
  EXPECT_EQ(node("o").epochs_.size(), 1u);
  EXPECT_THAT(node("o").log_, Not(Contains(HasSubstr("lost"))));
}

TEST_F(FacilityAway, OneBackupThatDoesNotPromiseEndsIt) {
  cut = {"l"};
  facility_answers(false);
  executor.run_for(9s);
  EXPECT_TRUE(node("o").owns_);
  executor.run_for(3s);
  EXPECT_FALSE(node("o").owns_);
}

TEST_F(FacilityAway, OwnerStopsWhenPromisesRunOutAndNoBackupActsBefore) {
  facility_answers(false);
  executor.run_for(20s);
  ASSERT_TRUE(node("o").owns_);
  cut = {"o"};
  store.set_reachable("h", true);  // its suspicion may be right, but it has promised
  bool both = false;
  for (int i = 0; i < 400; ++i) {
    node("h").ownership_->suspect({"o"});
    executor.run_for(50ms);
    both = both || (node("o").owns_ && node("h").owns_);
  }
  EXPECT_FALSE(both);
  EXPECT_FALSE(node("o").owns_);
  EXPECT_TRUE(node("h").owns_);
}

// The owner alone is cut off: its key vanishes, and a backup that sees so promises nothing more.
TEST_F(FacilityAway, OwnerCutOffAloneIsFollowed) {
  store.set_reachable("o", false);
  bool both = false;
  for (int i = 0; i < 400; ++i) {
    executor.run_for(50ms);
    both = both || (node("o").owns_ && node("h").owns_);
  }
  EXPECT_FALSE(both);
  EXPECT_TRUE(node("h").owns_);
  EXPECT_FALSE(node("o").owns_);
}

TEST_F(FacilityAway, PromiseKeepsASuspiciousBackupStill) {
  store.set_reachable("o", false);
  executor.run_for(3s);  // asked by now
  suspect({&node("h"), &node("l")}, {"o"}, 3s);
  EXPECT_FALSE(node("h").owns_ || node("l").owns_);
  cut = {"o"};
  suspect({&node("h"), &node("l")}, {"o"}, 5s);
  EXPECT_TRUE(node("h").owns_);
}

TEST_F(FacilityAway, StaleOwnerIsPromisedNothing) {
  suspect({&node("h"), &node("l")}, {"o"}, 100ms);
  ASSERT_TRUE(node("h").owns_);
  int promises = 0;
  node("l").send_promise_ = [&](const std::string&, const Promise&) { ++promises; };
  node("l").ownership_->asked("o", {kDvipa, node("o").epochs_.at(0), 1});
  EXPECT_EQ(promises, 0);
  node("l").ownership_->asked("o", {kDvipa, node("h").epochs_.at(0), 1});  // not its epoch
  EXPECT_EQ(promises, 0);
  node("l").ownership_->asked("h", {kDvipa, node("h").epochs_.at(0), 1});
  EXPECT_EQ(promises, 1);
}

TEST_F(FacilityAway, BackupWhoseClaimMayHaveBeenDonePromisesNothing) {
  store.set_reachable("h", false);
  node("h").ownership_->suspect({"o"});
  executor.run_for(3s);  // the removal is answered by a timeout
  int promises = 0;
  node("h").send_promise_ = [&](const std::string&, const Promise&) { ++promises; };
  node("h").ownership_->suspect({});
  node("h").ownership_->asked("o", {kDvipa, node("o").epochs_.at(0), 1});
  EXPECT_EQ(promises, 0);
}

TEST_F(FacilityAway, WithoutBackupsItStopsWithItsSession) {
  nodes.erase("l");
  nodes.erase("h");
  executor.run_for(15s);
  store.set_reachable("o", false);
  executor.run_for(12s);
  EXPECT_FALSE(node("o").owns_);
}

}  // namespace
}  // namespace testudo::vipa
