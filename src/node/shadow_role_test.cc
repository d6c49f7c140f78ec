// SPDX-License-Identifier: Apache-2.0
#include "node/shadow_role.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ike/sa_message.h"
#include "node/world_for_test.h"
#include "xcf/address_field.h"

namespace testudo::node {
namespace {

using ipsec::Direction;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr IpAddress kOtherDvipa(0xc0000265);

class ShadowRoleTest : public testing::Test {
 protected:
  xcf::v1::Hello owner = hello_of("owner", 1), rival = hello_of("rival", 2);

  static xcf::v1::Dvipa record(IpAddress address, Epoch epoch, std::initializer_list<std::uint32_t> ports) {
    xcf::v1::Dvipa dvipa;
    dvipa.set_address(address.to_bytes());
    dvipa.set_epoch(epoch.value());
    for (const auto port : ports) dvipa.add_ports(port);
    return dvipa;
  }
  void list(const xcf::v1::Hello& from, std::initializer_list<xcf::v1::Dvipa> dvipas) {
    xcf::v1::VipaList message;
    for (const auto& dvipa : dvipas) *message.add_dvipas() = dvipa;
    shadow.vipa_list(from, message);
  }
  void learn() {
    list(owner, {record(kDvipa, kEpoch, {80, 443})});
    bus.take();
  }

  static xcf::v1::Filter filter(std::uint64_t id) {
    xcf::v1::Filter f;
    f.set_id(id);
    f.set_action(xcf::v1::Filter::PERMIT);
    f.set_source_first(IpAddress(0).to_bytes());
    f.set_source_last(IpAddress(0xffffffff).to_bytes());
    f.set_destination_first(kDvipa.to_bytes());
    f.set_destination_last(kDvipa.to_bytes());
    f.set_source_port_last(65535);
    f.set_destination_port_last(65535);
    return f;
  }
  static xcf::v1::Install install_of(std::initializer_list<std::uint64_t> sas,
                                     std::initializer_list<std::uint64_t> filters, Epoch epoch = kEpoch) {
    xcf::v1::Install install;
    install.set_number(5);
    install.set_dvipa(kDvipa.to_bytes());
    install.set_epoch(epoch.value());
    for (const auto id : sas) {
      *install.add_sas() =
          ike::sa_to_message(sa_of(id, Direction::kInbound, 0x1000 + static_cast<std::uint32_t>(id)));
    }
    for (const auto id : filters) *install.add_filters() = filter(id);
    return install;
  }
  /// The answer's reason; empty: applied.
  std::string install(const xcf::v1::Hello& from, const xcf::v1::Install& message) {
    shadow.install(from, message);
    const auto sent = bus.take();
    EXPECT_THAT(sent, SizeIs(1));
    if (sent.size() != 1 || !sent[0].message.has_ack()) return "no answer";
    const auto& ack = sent[0].message.ack();
    EXPECT_EQ(sent[0].to, from.node());
    EXPECT_EQ(ack.number(), message.number());
    EXPECT_EQ(ack.dvipa(), message.dvipa());
    EXPECT_EQ(ack.epoch(), message.epoch());
    return ack.refused();
  }
  [[nodiscard]] std::set<std::uint64_t> sas() const {
    std::set<std::uint64_t> ids;
    for (const auto& [id, entry] : local_sas.all()) ids.insert(id.value());
    return ids;
  }
  [[nodiscard]] std::set<std::uint64_t> filters() const {
    std::set<std::uint64_t> ids;
    for (const auto& [id, f] : shadow.dvipas().at(kDvipa).filters) ids.insert(id);
    return ids;
  }
  /// "owner +443": what the owners were told of listeners.
  std::vector<std::string> told() {
    std::vector<std::string> texts;
    for (const auto& sent : bus.take()) {
      if (!sent.message.has_listener()) continue;
      const auto& update = sent.message.listener();
      EXPECT_EQ(Epoch(update.epoch()), shadow.dvipas().at(xcf::address_of(update.dvipa())).epoch);
      texts.push_back(sent.to + (update.listening() ? " +" : " -") + std::to_string(update.port()));
    }
    return texts;
  }

  facility::TestExecutor executor{facility::TestExecutor::kVirtual};
  SeededRng rng{1};
  ipsec::SaFactory factory{1};
  RecordingBus bus;
  RecordingPlane plane;
  RecordingLog log;
  EventLog events{executor, log};
  LocalSas local_sas{{}, factory, plane};
  int tables_changed = 0, dvipas_changed = 0;
  bool stands_by = false;
  std::vector<std::uint64_t> deleted;
  ShadowRole shadow{{.executor = executor,
                     .bus = bus,
                     .local_sas = local_sas,
                     .log = log,
                     .events = events,
                     .tables_changed = [this] { ++tables_changed; },
                     .dvipas_changed = [this] { ++dvipas_changed; },
                     .stands_by = [this](IpAddress) { return stands_by; },
                     .deleted = [this](IpAddress, SaId sa) { deleted.push_back(sa.value()); }}};
};

TEST_F(ShadowRoleTest, LearnsTheVipaList) {
  list(owner, {record(kDvipa, kEpoch, {80}), record(kOtherDvipa, Epoch(7), {22})});
  ASSERT_THAT(shadow.dvipas(), SizeIs(2));
  EXPECT_EQ(shadow.dvipas().at(kDvipa).owner, "owner");
  EXPECT_EQ(shadow.dvipas().at(kDvipa).owner_id, NodeId(1));
  EXPECT_EQ(shadow.dvipas().at(kOtherDvipa).epoch, Epoch(7));
  EXPECT_EQ(dvipas_changed, 1);
  EXPECT_EQ(tables_changed, 1);
  ASSERT_EQ(install(owner, install_of({1}, {1})), "");
  list(owner, {record(kOtherDvipa, Epoch(7), {22})});  // the list replaces the former one
  EXPECT_FALSE(shadow.dvipas().contains(kDvipa));
  EXPECT_THAT(sas(), IsEmpty());
  list(rival, {});  // has nothing to say about what it does not own
  EXPECT_TRUE(shadow.dvipas().contains(kOtherDvipa));
}

// Spec G5: a stale owner is refused, and told what is newer, also when its DVIPA has no owner at the moment.
TEST_F(ShadowRoleTest, RefusesAnEpochThatIsOver) {
  learn();
  for (const bool owner_gone : {false, true}) {
    if (owner_gone) list(owner, {});
    bus.take();
    list(rival, {record(kDvipa, Epoch(kEpoch.value() - 1), {80})});
    const auto sent = bus.take();
    ASSERT_THAT(sent, SizeIs(1));
    EXPECT_EQ(sent[0].to, "rival");
    ASSERT_TRUE(sent[0].message.has_refused());
    EXPECT_EQ(Epoch(sent[0].message.refused().epoch()), kEpoch);
    EXPECT_EQ(sent[0].message.refused().dvipa(), kDvipa.to_bytes());
    if (owner_gone) {
      EXPECT_FALSE(shadow.dvipas().contains(kDvipa));
    } else {
      EXPECT_EQ(shadow.dvipas().at(kDvipa).owner, "owner");
    }
  }
}

// A target that starts again has forgotten which epochs are over. The coupling facility has not.
TEST_F(ShadowRoleTest, RefusesAnEpochThatTheFacilityKnowsToBeOver) {
  shadow.epoch_seen(kDvipa, kEpoch);
  list(rival, {record(kDvipa, Epoch(kEpoch.value() - 1), {80})});
  EXPECT_FALSE(shadow.dvipas().contains(kDvipa));
  shadow.epoch_seen(kDvipa, Epoch(1));  // of what was told earlier
  list(owner, {record(kDvipa, kEpoch, {80})});
  EXPECT_EQ(shadow.dvipas().at(kDvipa).owner, "owner");
}

TEST_F(ShadowRoleTest, TheOldSasGoOnUnderANewOwnerUntilHeHasNamedHisOwn) {
  learn();
  ASSERT_EQ(install(owner, install_of({1, 2}, {1})), "");
  const Epoch next(kEpoch.value() + 5);
  list(rival, {record(kDvipa, next, {80})});
  EXPECT_EQ(shadow.dvipas().at(kDvipa).owner, "rival");
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{1, 2}));
  EXPECT_EQ(filters(), (std::set<std::uint64_t>{1}));
  ASSERT_THAT(plane.all<path::FollowOwner>(), SizeIs(2));
  EXPECT_EQ(plane.all<path::FollowOwner>()[1]->epoch, next);
  EXPECT_THAT(install(owner, install_of({3}, {})), HasSubstr("epoch 41"));
  auto all = install_of({2, 4}, {}, next);
  all.set_replace_all(true);
  EXPECT_EQ(install(rival, all), "");
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{2, 4}));
  EXPECT_THAT(filters(), IsEmpty());
  list(owner, {});  // the old one at last knows: the DVIPA is not its own to take away
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{2, 4}));
}

TEST_F(ShadowRoleTest, WhatAnOwnerGivesUpWaitsForItsBackup) {
  auto with_backup = record(kDvipa, kEpoch, {80});
  with_backup.add_backups("rival");
  list(owner, {with_backup});
  bus.take();
  ASSERT_EQ(install(owner, install_of({1}, {1})), "");
  list(owner, {});
  executor.run_for(50s);
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{1}));
  with_backup.set_epoch(kEpoch.value() + 5);
  list(rival, {with_backup});
  executor.run_for(70s);
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{1})) << "it has come";
  list(rival, {});
  executor.run_for(70s);
  EXPECT_THAT(sas(), IsEmpty()) << "nobody has come";
  EXPECT_FALSE(shadow.dvipas().contains(kDvipa));
}

// Else it might go on with an SA of which a target has forgotten its window already.
TEST_F(ShadowRoleTest, AStandByForgetsLongBeforeTheTargets) {
  stands_by = true;
  auto with_backup = record(kDvipa, kEpoch, {80});
  with_backup.add_backups("rival");
  list(owner, {with_backup});
  bus.take();
  ASSERT_EQ(install(owner, install_of({1}, {1})), "");
  list(owner, {});
  executor.run_for(11s);
  EXPECT_THAT(sas(), IsEmpty());
}

TEST_F(ShadowRoleTest, WithoutABackupNothingWaits) {
  learn();
  ASSERT_EQ(install(owner, install_of({1}, {1})), "");
  list(owner, {});
  EXPECT_THAT(sas(), IsEmpty());
}

// Its keys go with it: the new owner gives the SA to members that come later.
TEST_F(ShadowRoleTest, AStandByTakesOverWhatItHasSeen) {
  stands_by = true;
  learn();
  ASSERT_EQ(install(owner, install_of({1, 2}, {1})), "");
  auto changes = install_of({3}, {});
  auto moved = sa_of(1, Direction::kInbound, 0x1001);
  moved.remote_port = 999;
  *changes.add_update_sas() = ike::update_to_message(moved);
  changes.add_delete_sas(2);
  ASSERT_EQ(install(owner, changes), "");
  EXPECT_EQ(deleted, (std::vector<std::uint64_t>{2}));
  const Epoch next(kEpoch.value() + 5);
  const auto left = shadow.take_over(kDvipa, next, NodeId(9));
  ASSERT_THAT(left.sas, SizeIs(2));
  EXPECT_EQ(left.sas.at(SaId(1)).remote_port, 999);
  EXPECT_EQ(left.sas.at(SaId(3)).key.size(), sa_of(3, Direction::kInbound, 0x1003).key.size());
  EXPECT_THAT(left.filters, SizeIs(1));
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{1, 3})) << "they stay in the data plane";
  EXPECT_EQ(local_sas.all().at(SaId(1)).epoch, next);
  EXPECT_FALSE(shadow.dvipas().contains(kDvipa));
  list(owner, {record(kDvipa, kEpoch, {80})});
  EXPECT_FALSE(shadow.dvipas().contains(kDvipa)) << "the former owner is refused";
}

TEST_F(ShadowRoleTest, RefusesInstalls) {
  struct Row {
    const char* what;
    const xcf::v1::Hello& from;
    xcf::v1::Install message;
    const char* reason;
  };
  learn();
  auto unknown = install_of({}, {});
  unknown.set_dvipa(kOtherDvipa.to_bytes());
  auto bad_key = install_of({1}, {});
  bad_key.mutable_sas(0)->set_key("short");
  auto foreign = install_of({1}, {});
  foreign.mutable_sas(0)->set_local(kOtherDvipa.to_bytes());
  auto no_filter_id = install_of({}, {1});
  no_filter_id.mutable_filters(0)->set_id(0);
  const Row rows[] = {{"not the owner", rival, install_of({1}, {1}), "present one"},
                      {"older epoch", owner, install_of({1}, {1}, Epoch(40)), "present one"},
                      {"newer epoch", owner, install_of({1}, {1}, Epoch(42)), "present one"},
                      {"unknown DVIPA", owner, unknown, "no DVIPA"},
                      {"bad key", owner, bad_key, "key"},
                      {"another DVIPA's SA", owner, foreign, "local address"},
                      {"filter without id", owner, no_filter_id, "without an id"}};
  for (const Row& row : rows) {
    EXPECT_THAT(install(row.from, row.message), HasSubstr(row.reason)) << row.what;
    EXPECT_THAT(sas(), IsEmpty());
    EXPECT_THAT(filters(), IsEmpty());
  }
  EXPECT_THAT(log.complaints, SizeIs(std::size(rows)));
}

TEST_F(ShadowRoleTest, AppliesChanges) {
  learn();
  ASSERT_EQ(install(owner, install_of({1, 2}, {1, 2})), "");
  auto change = install_of({3}, {3});
  change.add_delete_sas(1);
  change.add_delete_filters(2);
  const int before = tables_changed;
  ASSERT_EQ(install(owner, change), "");
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{2, 3}));
  EXPECT_EQ(filters(), (std::set<std::uint64_t>{1, 3}));
  EXPECT_EQ(tables_changed, before + 1);
  ASSERT_EQ(install(owner, install_of({4}, {})), "");
  EXPECT_EQ(tables_changed, before + 1);  // no new table for an SA
}

TEST_F(ShadowRoleTest, FollowsAPeerThatMoves) {
  learn();
  ASSERT_EQ(install(owner, install_of({1, 2}, {})), "");
  auto change = install_of({}, {});
  xcf::v1::UpdateSa& update = *change.add_update_sas();
  update.set_id(2);
  update.set_remote(IpAddress(0xc0000207).to_bytes());
  update.set_remote_port(61000);
  update.set_local_port(4500);
  update.set_udp_encapsulation(true);
  ASSERT_EQ(install(owner, change), "");
  ASSERT_EQ(plane.all<path::MoveSa>().size(), 1u);
  EXPECT_EQ(plane.all<path::MoveSa>()[0]->remote, (Endpoint{IpAddress(0xc0000207), 61000}));
  // An unknown one is left alone, one of another family is refused with the rest.
  change.mutable_update_sas(0)->set_id(9);
  ASSERT_EQ(install(owner, change), "");
  EXPECT_EQ(plane.all<path::MoveSa>().size(), 1u);
  change.mutable_update_sas(0)->set_remote(IpAddress::parse("2001:db8::1")->to_bytes());
  EXPECT_NE(install(owner, change).find("is not of the DVIPA's family"), std::string::npos);
  // After a broken link the whole SA comes again, and may have moved meanwhile.
  ASSERT_EQ(install(owner, install_of({2}, {})), "");
  EXPECT_EQ(plane.all<path::MoveSa>().size(), 2u);
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{1, 2}));
}

// What the owner still has keeps its replay window and IV counter: it is not installed anew.
TEST_F(ShadowRoleTest, ReplacingAllKeepsWhatIsListed) {
  learn();
  ASSERT_EQ(install(owner, install_of({1, 2}, {1, 2})), "");
  auto all = install_of({2, 3}, {3});
  all.set_replace_all(true);
  ASSERT_EQ(install(owner, all), "");
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{2, 3}));
  EXPECT_EQ(filters(), (std::set<std::uint64_t>{3}));
  const auto removed = plane.all<path::RemoveSa>();
  ASSERT_THAT(removed, SizeIs(1));
  EXPECT_EQ(removed[0]->id, SaId(1));
  const auto installed = plane.all<path::InstallSa>();
  ASSERT_THAT(installed, SizeIs(3));
  EXPECT_EQ(installed[2]->sa->id(), SaId(3));
}

TEST_F(ShadowRoleTest, ReplacesAllInParts) {
  learn();
  ASSERT_EQ(install(owner, install_of({1, 2, 3}, {1, 2, 3})), "");
  auto part = install_of({2}, {});
  part.set_replace_begins(true);
  ASSERT_EQ(install(owner, part), "");
  ASSERT_EQ(install(owner, install_of({4}, {4})), "");
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{1, 2, 3, 4}));
  part = install_of({5}, {2});
  part.set_replace_all(true);
  ASSERT_EQ(install(owner, part), "");
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{2, 4, 5}));
  EXPECT_EQ(filters(), (std::set<std::uint64_t>{2, 4}));
  EXPECT_THAT(plane.all<path::InstallSa>(), SizeIs(5));

  // The link breaks in the midst of it: what was named then does not count.
  part = install_of({2, 4}, {2});
  part.set_replace_begins(true);
  ASSERT_EQ(install(owner, part), "");
  part = install_of({5}, {4});
  part.set_replace_begins(true);
  part.set_replace_all(true);
  ASSERT_EQ(install(owner, part), "");
  EXPECT_EQ(sas(), (std::set<std::uint64_t>{5}));
  EXPECT_EQ(filters(), (std::set<std::uint64_t>{4}));
}

// Spec A4.
TEST_F(ShadowRoleTest, TellsOfDistributedListeners) {
  learn();
  const IpAddress any(0);
  shadow.listening({{any, 443}, {any, 22}, {kDvipa, 80}, {kOtherDvipa, 8080}});
  EXPECT_THAT(told(), ElementsAre("owner +80", "owner +443"));
  shadow.listening({{any, 443}, {any, 22}, {kDvipa, 80}});
  EXPECT_THAT(told(), IsEmpty());
  shadow.listening({{kOtherDvipa, 80}, {any, 443}});  // port 80 of another address
  EXPECT_THAT(told(), ElementsAre("owner -80"));
  shadow.link_up("rival");
  EXPECT_THAT(told(), IsEmpty());
  shadow.link_up("owner");  // has forgotten
  EXPECT_THAT(told(), ElementsAre("owner +443"));
  list(rival, {record(kDvipa, Epoch(50), {443, 22})});
  EXPECT_THAT(told(), ElementsAre("rival +443"));
}

TEST_F(ShadowRoleTest, WildcardOfTheOtherFamilyTellsNothing) {
  learn();
  shadow.listening({{IpAddress(), 443}});
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(ShadowRoleTest, TellsOfAllListenersWhenAllPortsAreDistributed) {
  auto all = record(kDvipa, kEpoch, {});
  all.set_all_ports(true);
  shadow.listening({{IpAddress(0), 22}, {kDvipa, 80}});
  list(owner, {all});
  EXPECT_THAT(told(), ElementsAre("owner +22", "owner +80"));
}

TEST_F(ShadowRoleTest, TellsAgainWhatTheLinkDidNotTake) {
  learn();
  bus.up = false;
  shadow.listening({{IpAddress(0), 443}});
  bus.up = true;
  shadow.listening({{IpAddress(0), 443}});
  EXPECT_THAT(told(), ElementsAre("owner +443"));
  bus.up = false;
  shadow.listening({});
  bus.up = true;
  shadow.listening({});
  EXPECT_THAT(told(), ElementsAre("owner -443"));
}

TEST_F(ShadowRoleTest, PullsNotTooOften) {
  learn();
  const IpAddress peer(0xc0000201);
  shadow.unknown_spi(kOtherDvipa, Spi(0x1001), peer);  // nobody's
  EXPECT_THAT(bus.take(), IsEmpty());
  shadow.unknown_spi(kDvipa, Spi(0x1001), peer);
  const auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].to, "owner");
  const auto& pull = sent[0].message.pull();
  EXPECT_EQ(xcf::address_of(pull.dvipa()), kDvipa);
  EXPECT_EQ(Epoch(pull.epoch()), kEpoch);
  EXPECT_EQ(pull.spi(), 0x1001u);
  EXPECT_EQ(xcf::address_of(pull.remote()), peer);
  for (int i = 0; i < 100; ++i) {
    shadow.unknown_spi(kDvipa, Spi(0x1001), peer);
    executor.run_for(1ms);
  }
  EXPECT_THAT(bus.take(), SizeIs(testing::AllOf(testing::Ge(4u), testing::Le(5u))));  // one in 20 ms
  shadow.unknown_spi(kDvipa, Spi(0x1002), peer);                                      // another SPI is not held up
  EXPECT_THAT(bus.take(), SizeIs(1));
}

// Spec D2, E4: what it may carry of an SA comes with it, and more of it from its owner only.
TEST_F(ShadowRoleTest, TakesItsShareFromTheOwner) {
  list(owner, {record(kDvipa, kEpoch, {80})});
  auto sa = sa_of(1, Direction::kInbound, 0x1001);
  sa.limits = {.hard_packets = 1000};
  xcf::v1::Install message = install_of({}, {});
  *message.add_sas() = ike::sa_to_message(sa);
  *message.mutable_sas(0)->mutable_share() =
      ike::share_to_message({.allowed = {.bytes = 0, .packets = 10}, .report = {.bytes = 0, .packets = 5}});
  shadow.install(owner, std::move(message));
  ASSERT_TRUE(local_sas.has(SaId(1)));
  const ike::Share& share = local_sas.all().at(SaId(1)).share;
  EXPECT_EQ(share, (ike::Share{.allowed = {0, 10}, .report = {0, 5}}));
  const auto grant = [&](const xcf::v1::Hello& from, Epoch epoch, std::uint64_t packets) {
    xcf::v1::LifesizeGrant more;
    more.set_dvipa(kDvipa.to_bytes());
    more.set_epoch(epoch.value());
    auto& granted = *more.add_granted();
    granted.set_sa(1);
    *granted.mutable_share() = ike::share_to_message({.allowed = {0, packets}, .report = {0, 5}});
    shadow.granted(from, more);
    return share.allowed.packets;
  };
  EXPECT_EQ(grant(rival, kEpoch, 20), 10u);
  EXPECT_EQ(grant(owner, Epoch(kEpoch.value() - 1), 20), 10u);
  EXPECT_EQ(grant(owner, kEpoch, 20), 20u);
}

TEST_F(ShadowRoleTest, ReportsUseToEachOwner) {
  list(owner, {record(kDvipa, kEpoch, {80})});
  list(rival, {record(kOtherDvipa, Epoch(9), {80})});
  bus.take();
  shadow.used({{.sa = SaId(1), .dvipa = kDvipa, .used = {.bytes = 100, .packets = 1}},
               {.sa = SaId(5), .dvipa = kOtherDvipa, .used = {.bytes = 5, .packets = 5}},
               {.sa = SaId(2), .dvipa = kDvipa, .used = {.bytes = 200, .packets = 2}},
               {.sa = SaId(9), .dvipa = IpAddress(1), .used = {.bytes = 1, .packets = 1}}});
  const auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_EQ(sent[0].to, "owner");
  const auto& report = sent[0].message.lifesize();
  EXPECT_EQ(Epoch(report.epoch()), kEpoch);
  ASSERT_EQ(report.used_size(), 2);
  EXPECT_EQ(report.used(1).sa(), 2u);
  EXPECT_EQ(report.used(1).bytes(), 200u);
  EXPECT_EQ(report.used(1).packets(), 2u);
  EXPECT_EQ(sent[1].to, "rival");
  EXPECT_EQ(Epoch(sent[1].message.lifesize().epoch()), Epoch(9));
}

}  // namespace
}  // namespace testudo::node
