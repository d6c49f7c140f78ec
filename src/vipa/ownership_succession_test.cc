// SPDX-License-Identifier: Apache-2.0
// Who takes a DVIPA over when its owner is dead or gone, and who does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "vipa/cluster_for_test.h"

namespace testudo::vipa {
namespace {

using testing::Contains;
using testing::HasSubstr;

using Succession = SuspiciousCluster;

TEST_F(Succession, BestLiveBackupTakesADeadOwnersPlace) {
  auto o = start("o", kOwns);
  const auto low = start("l", kLow);
  const auto high = start("h", kHigh);
  const Epoch before = o->epochs_.at(0);
  o.reset();  // its session lives on
  suspect({low.get(), high.get()}, {"o"}, 100ms);
  ASSERT_TRUE(high->owns_);
  EXPECT_FALSE(low->owns_);
  const Acquired& a = high->acquired_.at(0);
  EXPECT_GT(a.epoch, before);
  ASSERT_TRUE(a.former);
  EXPECT_EQ(a.former->node, "o");
  EXPECT_EQ(a.former->node_id, NodeId(1));
  EXPECT_EQ(a.former->incarnation, 1u);
  EXPECT_EQ(a.former->epoch, before);
  EXPECT_FALSE(a.planned);
  EXPECT_EQ(owner_by(*low), "h");
}

TEST_F(Succession, SuspectedBackupIsPassedOver) {
  auto o = start("o", kOwns);
  const auto low = start("l", kLow);
  auto high = start("h", kHigh);
  o.reset();
  high.reset();
  suspect({low.get()}, {"o", "h"}, 100ms);
  EXPECT_TRUE(low->owns_);
}

TEST_F(Succession, LowerOneStepsInWhenTheHigherDoesNotAct) {
  auto o = start("o", kOwns);
  const auto low = start("l", kLow);
  auto high = start("h", kHigh);
  o.reset();
  high.reset();  // nobody has noticed
  suspect({low.get()}, {"o"}, 250ms);
  EXPECT_FALSE(low->owns_);
  suspect({low.get()}, {"o"}, 150ms);
  EXPECT_TRUE(low->owns_);
}

TEST_F(Succession, KeyOfALeavingOwnerIsTakenAtOnce) {
  const auto o = start("o", kOwns);
  const auto low = start("l", kLow);
  const auto high = start("h", kHigh);
  o->membership_->leave();
  executor.run_for(20ms);
  EXPECT_TRUE(high->owns_);
  executor.run_for(10s);
  EXPECT_FALSE(low->owns_);
}

TEST_F(Succession, SecondFailureInARow) {
  auto o = start("o", kOwns);
  const auto low = start("l", kLow);
  auto high = start("h", kHigh);
  o.reset();
  suspect({low.get(), high.get()}, {"o"}, 100ms);
  high.reset();
  suspect({low.get()}, {"o", "h"}, 100ms);
  ASSERT_TRUE(low->owns_);
  EXPECT_EQ(low->acquired_.at(0).former->node, "h");
  // How it is distributed came down from the first owner, through a backup that says nothing of it.
  const auto state = low->ownership_->dvipa(kDvipa);
  ASSERT_EQ(state->owner->distributes.size(), 1u);
  EXPECT_EQ(state->owner->distributes[0].ports, std::vector<std::uint16_t>{80});
  EXPECT_TRUE(state->owner->as_backup);
}

TEST_F(Succession, BackupsOwnDistributionIsPreferred) {
  const auto o = start("o", kOwns);
  const auto b = start("b", "VIPABACKUP 7 192.0.2.100 VIPADISTRIBUTE 192.0.2.100 PORT 443 DESTIP ALL");
  o->membership_->leave();
  executor.run_for(100ms);
  ASSERT_TRUE(b->owns_);
  EXPECT_EQ(b->ownership_->distributes_of(kDvipa).at(0).ports, std::vector<std::uint16_t>{443});
}

TEST_F(Succession, DeposedOwnerStopsAndStandsBy) {
  const auto o = start("o", kOwns);
  const auto b = start("b", kHigh);
  suspect({b.get()}, {"o"}, 50ms);
  EXPECT_TRUE(b->owns_);
  executor.run_for(5s);
  EXPECT_FALSE(o->owns_);
  EXPECT_EQ(o->epochs_.size(), 1u);
  EXPECT_EQ(owner_by(*o), "b");
  EXPECT_EQ(o->ownership_->dvipa(kDvipa)->role, Role::kBackup);
  EXPECT_EQ(b->ownership_->dvipa(kDvipa)->backups.at(0).rank, kRankDefines);
}

TEST_F(Succession, DeposedOwnerTakesTheAddressWhenNobodyElseDoes) {
  const auto o = start("o", kOwns);
  const facility::Entry key = store.entries().at("/testudo/c1/owner/192.0.2.100");
  o->facility_->remove(key.key, key.modified, [](const Result<facility::CasOutcome>&) {});
  executor.run_for(1s);
  EXPECT_FALSE(o->owns_);
  executor.run_for(2s);
  EXPECT_TRUE(o->owns_);
}

// Two nodes that do not hear each other, and both reach the facility.
TEST_F(Succession, CutCableMovesTheAddressOnce) {
  const auto o = start("o", kOwns);
  const auto b = start("b", kHigh);
  for (int i = 0; i < 200; ++i) {
    b->ownership_->suspect({"o"});
    if (i > 0) o->ownership_->suspect({"b"});  // its own finding comes later than the deposition
    executor.run_for(50ms);
  }
  EXPECT_TRUE(b->owns_);
  EXPECT_EQ(b->epochs_.size(), 1u);
  EXPECT_EQ(o->epochs_.size(), 1u);
  suspect({o.get(), b.get()}, {}, 100ms);  // the cable is mended, and then b dies
  suspect({o.get()}, {"b"}, 100ms);
  EXPECT_TRUE(o->owns_);
}

TEST_F(Succession, AliveOwnerIsNotDeposed) {
  const auto o = start("o", kOwns);
  const auto b = start("b", kHigh);
  suspect({o.get(), b.get()}, {"x"}, 1s);
  EXPECT_TRUE(o->owns_);
}

TEST_F(Succession, BackupThatHasSeenNoOwnerWaitsForOne) {
  const auto b = start("b", kHigh);
  executor.run_for(11s);
  EXPECT_FALSE(b->owns_);
  executor.run_for(2s);
  EXPECT_TRUE(b->owns_);
  EXPECT_FALSE(b->acquired_.at(0).former);
}

TEST_F(Succession, AfterAnOutageTheAddressIsForItsFormerOwner) {
  auto o = start("o", kOwns);
  const auto low = start("l", kLow);
  const auto high = start("h", kHigh);
  o.reset();
  suspect({low.get(), high.get()}, {"o"}, 100ms);
  ASSERT_TRUE(high->owns_);
  for (const char* name : {"l", "h"}) store.set_reachable(name, false);
  executor.run_for(30s);
  EXPECT_FALSE(high->owns_);
  store.set_reachable("l", true);
  executor.run_for(1s);
  store.set_reachable("h", true);
  executor.run_for(10s);
  EXPECT_TRUE(high->owns_);
  EXPECT_EQ(low->epochs_.size(), 0u);
}

TEST_F(Succession, FacilityThatDoesNotAnswerIsAskedAgainButNotAllTheTime) {
  auto o = start("o", kOwns);
  const auto b = start("b", kHigh);
  o.reset();
  store.set_reachable("b", false);
  suspect({b.get()}, {"o"}, 4s);
  store.set_reachable("b", true);
  EXPECT_LT(b->notes_.size(), 6u);
  EXPECT_THAT(b->notes_, Contains(HasSubstr("trying again")));
  suspect({b.get()}, {"o"}, 4s);
  EXPECT_TRUE(b->owns_);
}

// Whoever is suspected by whom, rightly or not, paused or cut off: no epoch is had twice, and in the end
// there is one owner, with the newest one.
RC_GTEST_PROP(SuccessionProperty, NewestEpochWinsAndOneOwnerIsLeft, ()) {
  VirtualExecutor executor;
  facility::MemoryStore store{executor, {.latency = 3ms}};
  const std::map<std::string, std::string> statements = {{"a", kOwns}, {"b", kHigh}, {"c", kLow}};
  std::map<std::string, std::unique_ptr<Node>> nodes;
  for (const auto& [n, text] : statements) nodes[n] = std::make_unique<Node>(store, executor, n, text);
  std::set<Epoch> epochs;
  const auto owners = [&] {
    std::set<std::string> out;
    for (const auto& [n, node] : nodes) {
      if (node->owns_) out.insert(n);
    }
    return out;
  };
  const int steps = *rc::gen::inRange(1, 40);
  for (int i = 0; i < steps; ++i) {
    const std::string name = *rc::gen::element<std::string>("a", "b", "c");
    std::set<std::string> dead;
    for (const auto& [n, node] : nodes) {
      if (n != name && *rc::gen::arbitrary<bool>()) dead.insert(n);
    }
    switch (*rc::gen::inRange(0, 8)) {
      case 0:
        store.set_reachable(name, false);
        break;
      case 1:
        store.set_reachable(name, true);
        break;
      case 2:
        nodes[name].reset();
        nodes[name] = std::make_unique<Node>(store, executor, name, statements.at(name));
        break;
      default:
        nodes[name]->ownership_->suspect(dead);
        break;
    }
    executor.run_for(std::chrono::milliseconds(*rc::gen::inRange(0, 3000)));
  }
  for (const auto& [n, node] : nodes) {
    store.set_reachable(n, true);
    node->ownership_->suspect({});
  }
  for (int i = 0; i < 1200; ++i) {
    for (const auto& [n, node] : nodes) node->ownership_->suspect({});
    executor.run_for(50ms);
  }
  RC_ASSERT(owners().size() == 1u);
  const Epoch last = nodes[*owners().begin()]->epochs_.back();
  for (const auto& [n, node] : nodes) {
    for (const Epoch e : node->epochs_) {
      RC_ASSERT(epochs.insert(e).second);  // none is had twice
      RC_ASSERT(e <= last);
    }
  }
}

}  // namespace
}  // namespace testudo::vipa
