// SPDX-License-Identifier: Apache-2.0
// Membership and ownership of several nodes over the in-memory facility, in virtual time.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vipa/cluster_for_test.h"

namespace testudo::vipa {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(Cluster, MembersSeeEachOtherComeAndGo) {
  const auto a = start("a");
  auto b = start("b");
  EXPECT_THAT(a->log_, ElementsAre("ready 1", "joined b"));
  EXPECT_THAT(b->log_, ElementsAre("joined a", "ready 2"));
  EXPECT_EQ(b->membership_->identity()->incarnation, 2u);
  EXPECT_EQ(a->membership_->members().at("b").id, NodeId(2));
  b->membership_->leave();
  executor.run_for(100ms);
  EXPECT_THAT(a->log_, Contains("left b"));
}

TEST_F(Cluster, NameKeepsItsIdAndIncarnationsGrow) {
  start("a")->membership_->leave();
  executor.run_for(100ms);
  const auto b = start("b");
  const auto a = start("a");
  EXPECT_EQ(a->membership_->identity()->id, NodeId(1));
  EXPECT_EQ(b->membership_->identity()->id, NodeId(2));
  EXPECT_EQ(a->membership_->identity()->incarnation, 3u);
}

TEST_F(Cluster, SecondNodeOfANameIsRefused) {
  const auto first = start("a");
  const auto second = start("a");
  EXPECT_THAT(second->log_, IsEmpty());
  EXPECT_THAT(second->notes_, ElementsAre(HasSubstr("waiting up to 12 s")));
  executor.run_for(20s);
  EXPECT_THAT(second->log_,
              ElementsAre("failed: a node named a is already running at 10.77.0.1:4750: give this one "
                          "another name, or stop that one"));
  EXPECT_THAT(first->log_, ElementsAre("ready 1"));
}

TEST_F(Cluster, CrashedPredecessorsKeyIsWaitedFor) {
  auto first = start("a");
  first.reset();  // a crash: its session lives on for its TTL
  const auto second = start("a");
  EXPECT_THAT(second->log_, IsEmpty());
  executor.run_for(11s);
  EXPECT_THAT(second->log_, ElementsAre("ready 1"));
}

TEST_F(Cluster, DefinerOwnsAndEverybodyLearnsIt) {
  const auto target = start("t");
  const auto owner = start("o", kOwns);
  const auto backup = start("b", "VIPABACKUP 10 192.0.2.100");
  const auto best = start("c", "VIPABACKUP 200 192.0.2.100");
  ASSERT_TRUE(owner->owns_);
  const facility::Entry& key = store.entries().at("/testudo/c1/owner/192.0.2.100");
  EXPECT_EQ(owner->epochs_, std::vector<Epoch>{Epoch(key.created.value())});
  for (const Node* node : {target.get(), owner.get(), backup.get(), best.get()}) {
    const auto state = node->ownership_->dvipa(kDvipa);
    ASSERT_TRUE(state && state->owner) << node->name_;
    EXPECT_EQ(state->owner->node, "o");
    EXPECT_EQ(state->owner->distributes.at(0).ports, std::vector<std::uint16_t>{80});
    EXPECT_EQ(state->epoch, owner->epochs_[0]);
    ASSERT_EQ(state->backups.size(), 2u) << node->name_;
    EXPECT_EQ(state->backups[0].node, "c");
  }
  EXPECT_EQ(target->ownership_->dvipa(kDvipa)->role, Role::kNone);
  EXPECT_EQ(backup->ownership_->dvipa(kDvipa)->role, Role::kBackup);
  EXPECT_FALSE(backup->owns_);
}

TEST_F(Cluster, SecondDefinerWaitsUntilTheKeyVanishes) {
  const auto first = start("a", kOwns);
  const auto second = start("b", kOwns);
  EXPECT_FALSE(second->owns_);
  EXPECT_THAT(second->notes_, Contains(HasSubstr("owned by another node")));
  first->membership_->leave();
  executor.run_for(100ms);
  EXPECT_TRUE(second->owns_);
  EXPECT_GT(second->epochs_.at(0), first->epochs_.at(0));
}

TEST_F(Cluster, LostSessionEndsOwnershipAndANewEpochBegins) {
  const auto owner = start("o", kOwns);
  store.expire_session("o");
  executor.run_for(15s);
  EXPECT_THAT(owner->log_, Contains(HasSubstr("lost: ")));
  EXPECT_TRUE(owner->owns_);
  ASSERT_EQ(owner->epochs_.size(), 2u);
  EXPECT_GT(owner->epochs_[1], owner->epochs_[0]);
  EXPECT_EQ(owner->membership_->identity()->incarnation, 1u);
}

TEST_F(Cluster, CutOffOwnerStopsAndComesBack) {
  const auto owner = start("o", kOwns);
  store.set_reachable("o", false);
  executor.run_for(5s);
  EXPECT_TRUE(owner->owns_);  // its session still lives
  executor.run_for(30s);
  EXPECT_FALSE(owner->owns_);
  store.set_reachable("o", true);
  executor.run_for(30s);
  EXPECT_TRUE(owner->owns_);
}

// Spec G5: whatever is cut off, expires or restarts, never do two nodes own the DVIPA, and epochs only grow.
RC_GTEST_PROP(ClusterProperty, OneOwnerAtMost, ()) {
  VirtualExecutor executor;
  facility::MemoryStore store{executor, {.latency = 3ms}};
  const std::vector<std::string> names = {"a", "b", "c"};
  std::map<std::string, std::unique_ptr<Node>> nodes;
  for (const std::string& n : names) nodes[n] = std::make_unique<Node>(store, executor, n, kOwns);
  Epoch newest;
  const int steps = *rc::gen::inRange(1, 40);
  for (int i = 0; i < steps; ++i) {
    const std::string name = *rc::gen::elementOf(names);
    switch (*rc::gen::inRange(0, 5)) {
      case 0:
        store.set_reachable(name, false);
        break;
      case 1:
        store.set_reachable(name, true);
        break;
      case 2:
        nodes[name].reset();
        nodes[name] = std::make_unique<Node>(store, executor, name, kOwns);
        break;
      default:
        break;
    }
    const int slices = *rc::gen::inRange(1, 40);
    for (int s = 0; s < slices; ++s) {
      executor.run_for(250ms);
      int owners = 0;
      for (const auto& [n, node] : nodes) {
        owners += node->owns_ ? 1 : 0;
        if (!node->owns_) continue;
        RC_ASSERT(node->epochs_.back() >= newest);
        newest = node->epochs_.back();
      }
      RC_ASSERT(owners <= 1);
    }
  }
  for (const std::string& n : names) store.set_reachable(n, true);
  executor.run_for(60s);
  int owners = 0;
  for (const auto& [n, node] : nodes) owners += node->owns_ ? 1 : 0;
  RC_ASSERT(owners == 1);
}

TEST(MemberRecord, SurvivesItsText) {
  MemberRecord r;
  r.name = "t1";
  r.id = NodeId(7);
  r.xcf_address = IpAddress(0x0a4d000b);
  r.control_port = 4750;
  r.data_port = 4754;
  r.fast_port = 4755;
  r.incarnation = 12;
  r.session = 2;
  EXPECT_EQ(MemberRecord::from_json(r.to_json()).value(), r);
  for (const char* bad : {"", "{", "[]", "{}", "{\"name\": 1}"}) EXPECT_FALSE(MemberRecord::from_json(bad)) << bad;
}

TEST(MemberRecord, NumbersThatDoNotFitAreNotCut) {
  MemberRecord r;
  r.name = "t1";
  r.xcf_address = IpAddress(0x0a4d000b);
  r.fast_port = 4755;
  for (const char* number : {"70291", "-1", "4755.5"}) {  // 70291 = 4755 + 65536
    std::string text = r.to_json();
    text.replace(text.find("4755"), 4, number);
    const auto record = MemberRecord::from_json(text);
    ASSERT_FALSE(record) << text;
    EXPECT_THAT(record.error().message, testing::HasSubstr("is no number from 0 to 65535"));
  }
}

}  // namespace
}  // namespace testudo::vipa
