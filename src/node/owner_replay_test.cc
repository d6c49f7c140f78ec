// SPDX-License-Identifier: Apache-2.0
#include "node/owner_replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "facility/memory/memory_facility.h"
#include "facility/memory/memory_store.h"
#include "node/window_message.h"
#include "node/witness_role.h"
#include "node/world_for_test.h"

namespace testudo::node {
namespace {

using distributor::WindowReport;
using distributor::Witness;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr SaId kSa(7);
constexpr OwnerReplay::Keeper keeper(std::uint32_t incarnation = 1002) {
  return {.name = "backup", .node = NodeId(2), .incarnation = incarnation};
}

/// An owner with its keeper, who is the bus's other end: what the owner sends him is delivered by deliver().
class OwnerReplayTest : public testing::Test {
 protected:
  OwnerReplayTest() {
    facility->compare_and_set({.key = "owner-key", .value = "owner"},
                              [this](Result<facility::CasOutcome> o) { epoch = Epoch(o->revision.value()); });
    executor.run_for(1s);
  }

  void own() { replay.became_owner(kDvipa, epoch, facility::Revision(0)); }
  /// The worker answers the newest question for its windows.
  void answer(std::vector<WindowReport> list = {}) {
    const auto asked = plane.all<path::ReportWindows>();
    ASSERT_FALSE(asked.empty());
    windows.answered({.tag = asked.back()->tag, .list = std::move(list)});
  }
  /// Everything on the bus reaches its receiver, and the facility answers.
  void run(Duration time = 20ms) {
    executor.run_for(time);
    for (bool more = true; more;) {
      more = false;
      for (const auto& sent : bus.take()) {
        more = true;
        if (sent.message.has_replay_record() && keeper_lives)
          witness.record(hello_of("owner", 1), sent.message.replay_record());
        if (sent.message.has_replay_record_ack()) replay.acknowledged(NodeId(2), sent.message.replay_record_ack());
      }
    }
    executor.run_for(time);
  }
  [[nodiscard]] std::string stored() const {
    const auto found = store.entries().find(OwnerReplay::key("/c/", kDvipa));
    return found == store.entries().end() ? "none" : found->second.value;
  }
  void accept(std::uint64_t batch, std::uint64_t number) {
    replay.accepted({.batch = batch, .list = {{.dvipa = kDvipa, .sa = kSa, .number = SeqNo(number)}}});
  }
  [[nodiscard]] std::uint64_t released() const {
    const auto all = plane.all<path::Release>();
    return all.empty() ? 0 : all.back()->batch;
  }
  /// What the keeper would tell a new owner.
  distributor::MemberReport report() {
    distributor::MemberReport told;
    witness.collect(kDvipa, Epoch(epoch.value() + 100),
                    [&](const WitnessRole::Report& report) { told = report.replay; });
    answer();
    return told;
  }

  facility::TestExecutor executor{facility::TestExecutor::kVirtual};
  facility::MemoryStore store{executor};
  std::unique_ptr<facility::Facility> facility = store.connect(executor, "owner");
  RecordingBus bus;
  RecordingPlane plane;
  RecordingLog log;
  FakeHost host;
  WindowRequests windows{plane};
  Epoch epoch;
  int changes = 0;
  bool keeper_lives = true;
  WitnessRole witness{{.bus = bus,
                       .windows = windows,
                       .host = host,
                       .tun = "tun",
                       .log = log,
                       .self = {.node = NodeId(2), .incarnation = 1002}}};
  OwnerReplay replay{{.executor = executor,
                      .bus = bus,
                      .plane = plane,
                      .facility = *facility,
                      .prefix = "/c/",
                      .owner_key = [](IpAddress) { return std::string("owner-key"); },
                      .windows = windows,
                      .log = log,
                      .changed = [this](IpAddress) { ++changes; }}};
};

TEST_F(OwnerReplayTest, WithoutABackupItServesWhenTheFacilitySaysThatItIsAlone) {
  own();
  replay.set_targets(kDvipa, {{NodeId(3), 1003}});
  replay.set_keeper(kDvipa, std::nullopt);
  EXPECT_FALSE(replay.active(kDvipa));
  answer();
  run();
  EXPECT_TRUE(replay.active(kDvipa));
  EXPECT_TRUE(replay.may_forward(kDvipa, NodeId(3)));
  EXPECT_FALSE(replay.may_forward(kDvipa, NodeId(4)));
  EXPECT_EQ(stored(), witnesses_to_json({.epoch = epoch, .keeper = NodeId(0), .targets = {{NodeId(3), 1003}}}));
  EXPECT_GE(changes, 1);
  ASSERT_FALSE(plane.all<path::HoldAccepted>().empty());
  EXPECT_FALSE(plane.all<path::HoldAccepted>().back()->hold);
}

TEST_F(OwnerReplayTest, WithABackupItServesWhenThatHasTheWindows) {
  own();
  replay.set_keeper(kDvipa, keeper());
  ASSERT_THAT(plane.all<path::HoldAccepted>(), SizeIs(1));
  EXPECT_TRUE(plane.all<path::HoldAccepted>()[0]->hold);
  keeper_lives = false;
  answer({{.sa = kSa, .top = SeqNo(9), .floor = SeqNo(9), .blocks = {}}});
  run();
  EXPECT_FALSE(replay.active(kDvipa)) << "the keeper has not acknowledged";
  keeper_lives = true;
  run(2s);  // it is repeated
  run();
  EXPECT_TRUE(replay.active(kDvipa));
  const auto told = report();
  EXPECT_EQ(told.record_epoch, epoch);
  ASSERT_THAT(told.record, SizeIs(1));
  EXPECT_EQ(told.record[0].floor, SeqNo(9));
}

TEST_F(OwnerReplayTest, WhatItAcceptsWaitsForTheKeeper) {
  own();
  replay.set_keeper(kDvipa, keeper());
  answer();
  run();
  keeper_lives = false;
  accept(1, 100);
  accept(2, 101);
  run();
  EXPECT_EQ(released(), 0u);
  keeper_lives = true;
  run(300ms);  // it is repeated
  EXPECT_EQ(released(), 2u);
  const auto told = report();
  ASSERT_THAT(told.record, SizeIs(1));
  EXPECT_TRUE(told.record[0].sees(SeqNo(100)));
  EXPECT_TRUE(told.record[0].sees(SeqNo(101)));
  EXPECT_FALSE(told.record[0].sees(SeqNo(102)));
}

/// It may be in the snapshot or not: the worker makes it in pieces.
TEST_F(OwnerReplayTest, WhatIsAcceptedDuringTheSnapshotIsToldToTheNewKeeper) {
  own();
  replay.set_keeper(kDvipa, std::nullopt);
  answer();
  run();
  replay.set_keeper(kDvipa, keeper());
  accept(1, 100);
  EXPECT_EQ(released(), 0u) << "the new keeper does not know of it, and the facility will name it";
  answer();
  run();
  run();
  EXPECT_EQ(released(), 1u);
  const auto told = report();
  ASSERT_THAT(told.record, SizeIs(1));
  EXPECT_TRUE(told.record[0].sees(SeqNo(100)));
}

TEST_F(OwnerReplayTest, ATargetThatHasGoneIsStruckOffWhenTheKeeperHasTheSnapshot) {
  own();
  replay.set_targets(kDvipa, {{NodeId(3), 1003}, {NodeId(4), 1004}});
  replay.set_keeper(kDvipa, keeper());
  answer();
  run();
  EXPECT_TRUE(replay.may_forward(kDvipa, NodeId(3)));
  replay.set_targets(kDvipa, {{NodeId(4), 1004}});
  answer({{.sa = kSa, .top = SeqNo(50), .floor = SeqNo(40), .blocks = {}}});
  EXPECT_FALSE(replay.may_forward(kDvipa, NodeId(3)));
  run();
  EXPECT_EQ(stored(), witnesses_to_json({.epoch = epoch, .keeper = NodeId(2), .targets = {{NodeId(4), 1004}}}));
  EXPECT_EQ(report().record.at(0).floor, SeqNo(40));
}

/// Its former self must be accounted for first: nobody would ask for what that has accepted.
TEST_F(OwnerReplayTest, ATargetThatHasRestartedJoinsWhenItsFormerSelfHasGone) {
  own();
  replay.set_targets(kDvipa, {{NodeId(3), 1003}});
  replay.set_keeper(kDvipa, keeper());
  answer();
  run();
  replay.set_targets(kDvipa, {{NodeId(3), 2003}});
  run();
  EXPECT_EQ(stored(), witnesses_to_json({.epoch = epoch, .keeper = NodeId(2), .targets = {{NodeId(3), 1003}}}));
  answer();
  run();
  run();
  EXPECT_TRUE(replay.may_forward(kDvipa, NodeId(3)));
  EXPECT_EQ(stored(), witnesses_to_json({.epoch = epoch, .keeper = NodeId(2), .targets = {{NodeId(3), 2003}}}));
}

TEST_F(OwnerReplayTest, AnOwnerWhoseKeyIsGoneForwardsNothing) {
  own();
  replay.set_keeper(kDvipa, std::nullopt);
  answer();
  run();
  ASSERT_TRUE(replay.active(kDvipa));
  facility->remove("owner-key", facility::Revision(epoch.value()), [](auto) {});
  executor.run_for(1s);
  replay.set_targets(kDvipa, {{NodeId(3), 1003}});
  run();
  EXPECT_FALSE(replay.may_forward(kDvipa, NodeId(3)));
  EXPECT_FALSE(replay.active(kDvipa));
  EXPECT_THAT(log.complaints, SizeIs(1));
}

TEST_F(OwnerReplayTest, ARecordOfAnEpochThatIsOverIsNotKept) {
  own();
  replay.set_keeper(kDvipa, keeper());
  answer();
  run();
  static_cast<void>(report());  // a new owner has asked
  accept(1, 100);
  run(2s);
  EXPECT_EQ(released(), 0u) << "the packet must not be delivered: the new owner does not know of it";
}

TEST_F(OwnerReplayTest, AfterItsLossNothingIsReleased) {
  own();
  replay.set_keeper(kDvipa, keeper());
  answer();
  run();
  keeper_lives = false;
  accept(1, 100);
  replay.lost(kDvipa);
  run(3s);
  EXPECT_EQ(released(), 0u);
  ASSERT_FALSE(plane.all<path::HoldAccepted>().empty());
  EXPECT_FALSE(plane.all<path::HoldAccepted>().back()->hold);
}

TEST_F(OwnerReplayTest, AThousandWindowsGoInPartsAndAreOneRecord) {
  own();
  std::vector<WindowReport> many;
  for (std::uint64_t i = 1; i <= 1000; ++i)
    many.push_back({.sa = SaId(i), .top = SeqNo(i), .floor = SeqNo(i), .blocks = {}});
  replay.set_keeper(kDvipa, keeper());
  answer(many);
  EXPECT_THAT(bus.sent, SizeIs(4));
  run();
  EXPECT_TRUE(replay.active(kDvipa));
  EXPECT_THAT(report().record, SizeIs(1000));
}

TEST(WindowMessage, RefusesWhatNoMemberSends) {
  const auto error = [](auto change) {
    xcf::v1::Window message =
        window_to_message({.sa = kSa, .top = SeqNo(70), .floor = SeqNo(3), .blocks = {{64, 5}}});
    change(message);
    const auto read = window_from_message(message);
    return read ? std::string() : read.error().message;
  };
  EXPECT_EQ(error([](auto&) {}), "");
  EXPECT_EQ(error([](auto& m) { m.clear_sa(); }), "window without an SA");
  EXPECT_THAT(error([](auto& m) { m.add_bases(128); }), testing::HasSubstr("as many bases"));
  EXPECT_THAT(error([](auto& m) { m.set_bases(0, 65); }), testing::HasSubstr("multiple of 64"));
  EXPECT_THAT(error([](auto& m) { m.add_bases(64), m.add_seen(1); }), testing::HasSubstr("rising"));
}

TEST(WindowMessage, WitnessesAreReadAsTheyWereWritten) {
  const distributor::ReplayWitnesses written{
      .epoch = Epoch(41), .keeper = NodeId(2), .targets = {{NodeId(3), 7}, {NodeId(4), 8}}};
  const auto read = witnesses_from_json(witnesses_to_json(written));
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, written);
  for (const char* bad : {"", "{}", "[1]", R"({"epoch":1,"keeper":70000,"targets":[]})",
                          R"({"epoch":-1,"keeper":1,"targets":[]})", R"({"epoch":1,"keeper":1,"targets":[3]})"})
    EXPECT_FALSE(witnesses_from_json(bad)) << bad;
}

}  // namespace
}  // namespace testudo::node
