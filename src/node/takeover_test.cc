// SPDX-License-Identifier: Apache-2.0
#include "node/takeover.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "facility/memory/memory_facility.h"
#include "facility/memory/memory_store.h"
#include "node/owner_replay.h"
#include "node/window_message.h"
#include "node/world_for_test.h"

namespace testudo::node {
namespace {

using distributor::ReplayWitnesses;
using distributor::WindowReport;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr Epoch kFormer(41), kNow(77);
constexpr NodeId kBackup(2), kT1(3), kT2(4);
constexpr SaId kIn(kFormer.value() << 32 | 1), kOut(kFormer.value() << 32 | 2);

/// This node is the backup, and the keeper; t1 and t2 are the former owner's targets.
class TakeoverTest : public testing::Test {
 protected:
  TakeoverTest() { host.open = {{{kDvipa, 80}, {IpAddress(0xc0000201), 5555}}}; }

  void put(const std::string& key, const std::string& value) {
    facility->compare_and_set({.key = key, .value = value}, [](auto) {});
    executor.run_for(10ms);
  }
  void witnesses(const ReplayWitnesses& witnesses) {
    put(OwnerReplay::key("/c/", kDvipa), witnesses_to_json(witnesses));
  }
  void former_owner() {
    witnesses({.epoch = kFormer, .keeper = kBackup, .targets = {{kT1, 1003}, {kT2, 1004}}});
    xcf::v1::ReplayRecord record;
    record.set_dvipa(kDvipa.to_bytes());
    record.set_epoch(kFormer.value());
    record.set_copy(1);
    record.set_serial(1);
    record.set_whole(true);
    record.set_last(true);
    *record.add_windows() = window_to_message({.sa = kIn, .top = SeqNo(9), .floor = SeqNo(9), .blocks = {}});
    witness.record(hello_of("owner", 1), record);
    bus.take();
  }
  void start(std::set<SaId> sas = {kIn, kOut}) {
    takeover.emplace(Takeover::Parts{.executor = executor,
                                     .bus = bus,
                                     .facility = *facility,
                                     .prefix = "/c/",
                                     .witness = witness,
                                     .log = log,
                                     .self = kBackup,
                                     .link =
                                         [this](NodeId node) {
                                           const auto up = links.find(node);
                                           return up == links.end() ? nullptr : &up->second;
                                         }},
                     Takeover::What{.dvipa = kDvipa, .epoch = kNow, .sas = std::move(sas)},
                     [this](Takeover::Found f) { found = std::move(f); });
    takeover->start();
    executor.run_for(20ms);
    for (const auto* asked : plane.all<path::ReportWindows>()) windows.answered({.tag = asked->tag, .list = {}});
  }
  [[nodiscard]] static xcf::v1::TakeoverReport part(bool last) {
    xcf::v1::TakeoverReport report;
    report.set_dvipa(kDvipa.to_bytes());
    report.set_epoch(kNow.value());
    report.set_last(last);
    return report;
  }
  void all_there() {
    links[kT1] = hello_of("t1", 3);
    links[kT2] = hello_of("t2", 4);
  }
  [[nodiscard]] std::vector<std::string> asked() {
    std::vector<std::string> nodes;
    for (const auto& sent : bus.take()) {
      if (sent.message.has_takeover_query()) nodes.push_back(sent.to);
    }
    return nodes;
  }

  facility::TestExecutor executor{facility::TestExecutor::kVirtual};
  facility::MemoryStore store{executor};
  std::unique_ptr<facility::Facility> facility = store.connect(executor, "backup");
  RecordingBus bus;
  RecordingPlane plane;
  RecordingLog log;
  FakeHost host;
  WindowRequests windows{plane};
  WitnessRole witness{{.bus = bus,
                       .windows = windows,
                       .host = host,
                       .tun = "tun",
                       .log = log,
                       .self = {.node = kBackup, .incarnation = 1002}}};
  std::map<NodeId, xcf::v1::Hello> links;
  std::optional<Takeover> takeover;
  std::optional<Takeover::Found> found;
};

TEST_F(TakeoverTest, OfWhatNobodyHasOwnedThereIsNothingToLearn) {
  start({});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->witnesses, facility::Revision(0));
  EXPECT_THAT(found->connections, IsEmpty());
  EXPECT_EQ(found->loss, "");
  EXPECT_THAT(bus.sent, IsEmpty());
}

TEST_F(TakeoverTest, GoesOnFromCeilingsAndFromTheUnionOfTheWindows) {
  former_owner();
  put(fmt::format("/c/ceiling/{:016x}", kOut.value()), "1048576");
  put(fmt::format("/c/ceiling/{:016x}", kOut.value() + 10), "77");  // of an SA that is not here
  all_there();
  start();
  EXPECT_THAT(asked(), testing::UnorderedElementsAre("t1", "t2"));
  EXPECT_FALSE(found);
  auto first = part(false);
  WindowReport seen{.sa = kIn, .top = SeqNo(100), .floor = SeqNo(3), .blocks = {}};
  seen.see(SeqNo(100));
  *first.add_windows() = window_to_message(seen);
  takeover->report(links[kT1], first);
  auto second = part(true);
  auto& connection = *second.add_connections();
  connection.set_remote(IpAddress(0xc0000209).to_bytes());
  connection.set_remote_port(4444);
  connection.set_local_port(80);
  takeover->report(links[kT1], second);
  EXPECT_FALSE(found);
  takeover->report(links[kT2], part(true));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->loss, "");
  EXPECT_EQ(found->epoch, kNow);
  ASSERT_THAT(found->ceilings, SizeIs(1));
  EXPECT_EQ(found->ceilings.at(kOut).last, SeqNo(1'048'576));
  const auto window = found->window(kIn);
  ASSERT_TRUE(window);
  EXPECT_EQ(window->floor, SeqNo(9)) << "what the owner itself accepted is in its keeper's record";
  EXPECT_TRUE(window->sees(SeqNo(100)));
  EXPECT_FALSE(window->sees(SeqNo(99)));
  EXPECT_FALSE(found->window(SaId(1234))) << "not in the record: it was closed, or younger";
  ASSERT_THAT(found->connections[kT1], SizeIs(1));
  EXPECT_EQ(found->connections[kT1][0].remote, (Endpoint{IpAddress(0xc0000209), 4444}));
  EXPECT_THAT(found->connections[kBackup], SizeIs(1)) << "this host's own";
}

TEST_F(TakeoverTest, WithoutAWitnessNoInboundSaGoesOn) {
  former_owner();
  all_there();
  start();
  takeover->report(links[kT1], part(true));
  executor.run_for(200ms);
  EXPECT_FALSE(found);
  executor.run_for(200ms);
  ASSERT_TRUE(found);
  EXPECT_THAT(found->loss, HasSubstr("node number 4"));
  EXPECT_FALSE(found->window(kIn));
}

TEST_F(TakeoverTest, AWitnessThatHasRestartedHasForgotten) {
  former_owner();
  all_there();
  links[kT2].set_incarnation(5);
  start();
  takeover->report(links[kT1], part(true));
  takeover->report(links[kT2], part(true));
  ASSERT_TRUE(found);
  EXPECT_THAT(found->loss, HasSubstr("restarted"));
  EXPECT_FALSE(found->window(kIn));
}

TEST_F(TakeoverTest, AKeeperThatHasRestartedHasForgotten) {
  witnesses({.epoch = kFormer, .keeper = kBackup, .targets = {}});  // and it holds no record
  start();
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->window(kIn));
  EXPECT_NE(found->loss, "");
}

TEST_F(TakeoverTest, AMemberThatGoesOnTalkingIsWaitedFor) {
  former_owner();
  all_there();
  start();
  takeover->report(links[kT2], part(true));
  for (int i = 0; i < 10; ++i) {
    executor.run_for(200ms);
    takeover->report(links[kT1], part(false));
  }
  EXPECT_FALSE(found);
  takeover->report(links[kT1], part(true));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->loss, "");
}

TEST_F(TakeoverTest, AMemberWhoseLinkComesUpIsAskedThen) {
  former_owner();
  links[kT1] = hello_of("t1", 3);
  start();
  EXPECT_THAT(asked(), testing::ElementsAre("t1"));
  all_there();
  takeover->link_up(kT2);
  EXPECT_THAT(asked(), testing::ElementsAre("t2"));
}

TEST_F(TakeoverTest, AnAnswerOfAnotherEpochIsNone) {
  former_owner();
  all_there();
  start();
  auto stale = part(true);
  stale.set_epoch(kFormer.value());
  takeover->report(links[kT1], stale);
  takeover->report(links[kT2], part(true));
  EXPECT_FALSE(found);
}

TEST_F(TakeoverTest, WithTheFacilityAwayItWaits) {
  former_owner();
  all_there();
  store.set_reachable("backup", false);
  start();
  executor.run_for(10s);
  EXPECT_FALSE(found);
  EXPECT_THAT(asked(), IsEmpty());
  store.set_reachable("backup", true);
  executor.run_for(5s);
  EXPECT_THAT(asked(), SizeIs(testing::Ge(2u)));
}

}  // namespace
}  // namespace testudo::node
