// SPDX-License-Identifier: Apache-2.0
// One DVIPA, its owner A, its backup B, its target T; A gives way to B by the commands that control uses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "path/worker_world_for_test.h"
#include "wire/fast.h"

namespace testudo::path {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const Segment kSyn{.flags = wire::kTcpSyn};

struct Takeover : testing::Test {
  World world{{kA, kB, kT}};
  TestHost &a = world.host(kA), &b = world.host(kB), &t = world.host(kT);

  void SetUp() override { world.start(kEpoch, kA, {kT}); }

  /// The host goes on under B.
  void follow(NodeId node) {
    world.host(node).submit(FollowOwner{.dvipa = kDvipa, .epoch = kNextEpoch, .owner = kB});
    world.distribute(node, kNextEpoch, kB);
    world.settle();
  }
  std::vector<distributor::WindowReport> report(NodeId node, ReportWindows::Of of) {
    world.host(node).submit(ReportWindows{.tag = 7, .dvipa = kDvipa, .of = of});
    world.settle();
    auto answers = world.host(node).take<Windows>();
    EXPECT_THAT(answers, SizeIs(1));
    EXPECT_EQ(answers.at(0).tag, 7u);
    return std::move(answers.at(0).list);
  }
  void own(SeqNo first, distributor::WindowReport known = {}) {
    b.submit(OwnSa{.id = kOut, .epoch = kNextEpoch, .first = first});
    b.submit(OwnSa{.id = kIn, .epoch = kNextEpoch, .known = std::move(known)});
    world.settle();
  }
  /// T has the connection of the client, and B is told so.
  void add_connection(Endpoint remote = {kClient, kClientPort}, std::uint16_t port = kHttps, NodeId node = kT) {
    b.submit(AddConnections{.dvipa = kDvipa, .node = node, .list = {{.remote = remote, .local_port = port}}});
    world.settle();
  }
  std::vector<distributor::ConnectionInfo> connections(TestHost& host) {
    host.submit(ListConnections{});
    world.settle();
    return std::move(host.take<Connections>().at(0).list);
  }
  static std::vector<std::uint64_t> numbers(const std::vector<World::OnTheWire>& wire) {
    std::vector<std::uint64_t> all;
    for (const auto& one : wire) all.push_back(one.number.value());
    return all;
  }
};

// ---- the whole of it ----

TEST_F(Takeover, EverythingGoesOn) {
  world.from_peer(kA, kSyn);
  const Bytes second = world.from_peer(kA, {.mark = 2});
  EXPECT_THAT(t.take_delivered(), SizeIs(2));
  world.answer(kT);
  EXPECT_THAT(numbers(world.take_wire()), ElementsAre(1));
  const SeqNo ceiling = world.ceilings[kOut];

  for (const NodeId node : {kT, kB}) follow(node);  // A is dead
  distributor::WindowReports known;
  merge(known, report(kT, ReportWindows::Of::kTarget));
  merge(known, report(kB, ReportWindows::Of::kTarget));
  add_connection();
  own(SeqNo(ceiling.value() + 1), known.at(kIn));

  // The connection goes on at its target, and nothing of it was told to another one.
  const Bytes third = world.from_peer(kB, {.mark = 3});
  EXPECT_THAT(t.take_delivered(), ElementsAre(packet_of({.mark = 3})));
  // What was accepted before is refused now, and so is what is accepted now.
  for (const Bytes& again : {second, third}) world.arrive(kB, again);
  EXPECT_THAT(t.take_delivered(), IsEmpty());
  EXPECT_EQ(b.drops(Drop::kReplay), 1u);
  EXPECT_EQ(t.drops(Drop::kReplay), 1u);  // it is T that has judged it, and has not reported yet
  // Its answers have numbers that nobody has had.
  world.answer(kT);
  world.answer(kB);  // a lease of another host
  EXPECT_THAT(numbers(world.take_wire()), ElementsAre(ceiling.value() + 1, testing::Gt(ceiling.value() + 1)));
}

// A is not dead, only slow: it believes that it owns the DVIPA.
TEST_F(Takeover, WhatTheFormerOwnerStillSaysIsNotHeard) {
  world.from_peer(kA, kSyn);
  static_cast<void>(t.take_delivered());
  for (const NodeId node : {kT, kB}) follow(node);
  world.from_peer(kA, {.mark = 2});
  EXPECT_THAT(t.take_delivered(), IsEmpty());
  EXPECT_EQ(t.drops(Drop::kStaleEpoch), 1u);
  world.answer(kT);  // it asks B, who does not sequence the SA yet
  EXPECT_THAT(world.take_wire(), IsEmpty());
}

// ---- FollowOwner ----

TEST_F(Takeover, LeasesOfTheFormerOwnerEnd) {
  world.answer(kT);
  world.answer(kT);
  EXPECT_THAT(numbers(world.take_wire()), ElementsAre(1, 2));
  follow(kT);
  world.answer(kT);  // the lease had many more
  EXPECT_THAT(world.take_wire(), IsEmpty());
  follow(kB);
  own(SeqNo(5000));
  world.wait(20ms);  // the request is repeated
  EXPECT_THAT(numbers(world.take_wire()), ElementsAre(5000));
}

TEST_F(Takeover, AcceptedNumbersAreToldToTheNewOwner) {
  world.from_peer(kA, kSyn);
  static_cast<void>(t.take_delivered());
  for (const NodeId node : {kT, kB}) follow(node);
  own(SeqNo(5000));  // as if T had not been asked
  const auto before = report(kB, ReportWindows::Of::kOwner);
  EXPECT_FALSE(before.at(0).sees(SeqNo(1)));
  world.wait(10ms);  // T's commit
  EXPECT_TRUE(report(kB, ReportWindows::Of::kOwner).at(0).sees(SeqNo(1)));
}

TEST_F(Takeover, AFormerOwnerGrantsNothingAndJudgesNothing) {
  world.from_peer(kA, kSyn);
  EXPECT_THAT(report(kA, ReportWindows::Of::kOwner), SizeIs(1));
  EXPECT_THAT(connections(a), SizeIs(1));
  follow(kA);
  EXPECT_THAT(report(kA, ReportWindows::Of::kOwner), IsEmpty());
  EXPECT_THAT(connections(a), IsEmpty());
  a.submit(ListLeases{});
  static_cast<void>(t.take_delivered());
  world.from_peer(kA, {.mark = 2});
  EXPECT_THAT(a.take<Leases>().at(0).list, IsEmpty());
  EXPECT_THAT(t.take_delivered(), IsEmpty());
  world.distribute(kA, kEpoch, kA);  // even if control is wrong about it
  world.from_peer(kA, {.mark = 3});
  EXPECT_EQ(a.drops(Drop::kUnknownSpi), 1u);
  world.wait(10ms);
  world.answer(kT);
  EXPECT_THAT(world.take_wire(), IsEmpty());
}

TEST_F(Takeover, FollowingTheOwnerThatIsChangesNothing) {
  world.from_peer(kA, kSyn);
  for (const NodeId node : {kA, kT}) {
    world.host(node).submit(FollowOwner{.dvipa = kDvipa, .epoch = kEpoch, .owner = kA});
  }
  a.submit(FollowOwner{.dvipa = kPeer, .epoch = kNextEpoch, .owner = kB});  // another DVIPA
  world.from_peer(kA, {.mark = 2});
  EXPECT_THAT(t.take_delivered(), SizeIs(2));
  world.answer(kT);
  EXPECT_THAT(numbers(world.take_wire()), ElementsAre(1));
}

// ---- OwnSa ----

TEST_F(Takeover, OwningTwiceGrantsNothingTwice) {
  for (const NodeId node : {kT, kB}) follow(node);
  own(SeqNo(5000));
  world.answer(kT);
  own(SeqNo(5000));
  b.submit(FollowOwner{.dvipa = kDvipa, .epoch = kNextEpoch, .owner = kB});
  world.answer(kT);
  world.answer(kB);
  EXPECT_THAT(numbers(world.take_wire()), ElementsAre(5000, 5001, testing::Gt(5001)));
}

TEST_F(Takeover, UnknownSasAreNotOwned) {
  for (const NodeId node : {kT, kB}) follow(node);
  b.submit(OwnSa{.id = SaId(99), .epoch = kNextEpoch});
  world.settle();
  EXPECT_THAT(report(kB, ReportWindows::Of::kOwner), IsEmpty());
}

// It was a target too, whatever control has gathered.
TEST_F(Takeover, WhatTheNewOwnerItselfHasAcceptedIsKnown) {
  world.from_peer(kA, kSyn);
  for (const NodeId node : {kT, kB}) follow(node);
  t.submit(OwnSa{.id = kIn, .epoch = kNextEpoch});
  world.settle();
  EXPECT_TRUE(report(kT, ReportWindows::Of::kOwner).at(0).sees(SeqNo(1)));
}

// Control has forgotten FollowOwner. What is left of the former ownership must not be taken for the present one's.
TEST_F(Takeover, ANewEpochOfTheSameOwnerBeginsAnew) {
  world.from_peer(kA, kSyn);
  world.answer(kT);
  world.distribute(kA, kNextEpoch, kA);
  a.submit(OwnSa{.id = kOut, .epoch = kNextEpoch, .first = SeqNo(5000)});
  a.submit(OwnSa{.id = kIn, .epoch = kNextEpoch, .known = {kIn, SeqNo(77), SeqNo(77), {}}});
  t.submit(FollowOwner{.dvipa = kDvipa, .epoch = kNextEpoch, .owner = kA});
  world.distribute(kT, kNextEpoch, kA);
  world.settle();
  EXPECT_THAT(connections(a), IsEmpty());
  EXPECT_EQ(report(kA, ReportWindows::Of::kOwner).at(0).top, SeqNo(77));
  world.answer(kT);
  EXPECT_THAT(numbers(world.take_wire()), ElementsAre(1, 5000));
}

// ---- ReportWindows ----

TEST_F(Takeover, OnlyWindowsThatHaveMetSomethingAreReported) {
  EXPECT_THAT(report(kT, ReportWindows::Of::kTarget), IsEmpty());
  world.from_peer(kA, kSyn);
  const auto windows = report(kT, ReportWindows::Of::kTarget);
  ASSERT_THAT(windows, SizeIs(1));
  EXPECT_EQ(windows[0].sa, kIn);
  EXPECT_TRUE(windows[0].sees(SeqNo(1)));
  EXPECT_FALSE(windows[0].sees(SeqNo(2)));
  EXPECT_THAT(report(kT, ReportWindows::Of::kOwner), IsEmpty());
  EXPECT_THAT(report(kB, ReportWindows::Of::kTarget), IsEmpty());
  EXPECT_THAT(report(kA, ReportWindows::Of::kOwner), SizeIs(1));
}

// The report is the last word: what the former owner had on its way, or in a queue of the target's, comes too late.
TEST_F(Takeover, AfterTheReportNothingOfTheFormerOwnerIsAccepted) {
  world.from_peer(kA, kSyn);
  t.submit(RemoveSa{.id = kIn});
  world.settle();
  world.from_peer(kA, {.mark = 2});  // waits at T for its SA
  EXPECT_EQ(t.worker->counters().target_inbound->held.value(), 1u);
  t.submit(FollowOwner{.dvipa = kDvipa, .epoch = kNextEpoch, .owner = kB});
  world.distribute(kT, kNextEpoch, kB);
  a.raw->inject(world.protect(packet_of({.mark = 3}), 3));  // is on its way while T reports
  a.turn();
  const auto on_its_way = a.data->take_sent();
  ASSERT_THAT(on_its_way, SizeIs(1));
  EXPECT_THAT(report(kT, ReportWindows::Of::kTarget), IsEmpty());
  static_cast<void>(t.take_delivered());

  world.install(kT, kIn, ipsec::Direction::kInbound, kNextEpoch, kB);
  t.data->inject(on_its_way[0].bytes, {.source = on_its_way[0].source, .destination = on_its_way[0].destination});
  world.settle();
  EXPECT_THAT(t.take_delivered(), IsEmpty());
  EXPECT_THAT(report(kT, ReportWindows::Of::kTarget), IsEmpty());
  EXPECT_EQ(t.drops(Drop::kStaleEpoch), 2u);
}

// Many SAs: in pieces, packets go on meanwhile, and what is said later is done later.
TEST_F(Takeover, ALongReportHoldsNoPacketUp) {
  constexpr std::uint64_t kMany = 1000;
  for (std::uint64_t id = 10; id < 10 + kMany; ++id) {
    world.install(kA, SaId(id), ipsec::Direction::kInbound, kEpoch, kA);
    if (id % 500 == 0) world.settle();
  }
  world.settle();
  a.submit(ReportWindows{.tag = 1, .dvipa = kDvipa, .of = ReportWindows::Of::kOwner});
  a.submit(ListConnections{});
  a.raw->inject(world.protect(packet_of(kSyn), 1));
  EXPECT_TRUE(a.turn());
  EXPECT_THAT(a.data->take_sent(), SizeIs(1));
  EXPECT_THAT(a.take<Windows>(), IsEmpty());
  EXPECT_THAT(a.take<Connections>(), IsEmpty());
  world.settle();
  const auto answers = a.take<Windows>();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_THAT(answers[0].list, SizeIs(kMany + 1));
  EXPECT_THAT(a.take<Connections>(), SizeIs(1));
}

// ---- AddConnections ----

TEST_F(Takeover, ConnectionsComeWithTheTunnelThatTheirFilterDemands) {
  for (const NodeId node : {kT, kB}) follow(node);
  add_connection();
  add_connection({kClearClient, 1234});
  add_connection({kDeniedClient, 1234});
  add_connection({IpAddress(0x0b000001), 1234});                // no filter
  add_connection({IpAddress(0x2001'0db8'0000'0000, 1), 1234});  // another family
  add_connection({kClient, kClientPort}, kHttps, kB);           // is there already
  b.submit(AddConnections{.dvipa = kDvipa, .node = kT, .list = {}});
  world.settle();
  auto all = connections(b);
  ASSERT_THAT(all, SizeIs(2));
  std::ranges::sort(all, {}, &distributor::ConnectionInfo::client);
  EXPECT_EQ(all[0].client, (Endpoint{kClient, kClientPort}));
  EXPECT_EQ(all[0].dvipa, (Endpoint{kDvipa, kHttps}));
  EXPECT_EQ(all[0].target, kT);
  EXPECT_NE(all[0].tunnel, ipsec::TunnelId());
  EXPECT_EQ(all[1].tunnel, ipsec::TunnelId());
  for (const auto& one : all) EXPECT_EQ(one.state, distributor::ConnectionState::kEstablished);
  world.wait(40s);  // longer than a connection may consist of a SYN
  EXPECT_THAT(connections(b), SizeIs(2));
}

TEST_F(Takeover, TheTableTakesAsManyConnectionsAsItHasRoomFor) {
  AddConnections many{.dvipa = kDvipa, .node = kT, .list = {}};
  for (std::uint32_t i = 0; i < 5000; ++i) {
    many.list.push_back({.remote = {kClient, static_cast<std::uint16_t>(1 + i)}, .local_port = kHttps});
  }
  for (const NodeId node : {kT, kB}) follow(node);
  b.submit(std::move(many));
  b.submit(ListConnections{});
  EXPECT_TRUE(b.turn());
  EXPECT_THAT(b.take<Connections>(), IsEmpty());  // in pieces
  world.settle();
  EXPECT_THAT(b.take<Connections>().at(0).list, SizeIs(World::small().owner_inbound.connections.capacity));
}

// They are in another host's table now. Others' stay.
TEST_F(Takeover, AFormerOwnerForgetsManyConnections) {
  AddConnections many{.dvipa = kDvipa, .node = kT, .list = {}};
  for (std::uint32_t i = 0; i < 4000; ++i) {
    many.list.push_back({.remote = {kClient, static_cast<std::uint16_t>(1 + i)}, .local_port = kHttps});
  }
  a.submit(std::move(many));
  EXPECT_THAT(connections(a), SizeIs(4000));
  follow(kA);
  EXPECT_THAT(connections(a), IsEmpty());
}

}  // namespace
}  // namespace testudo::path
