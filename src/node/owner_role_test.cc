// SPDX-License-Identifier: Apache-2.0
#include "node/owner_role.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "node/filter_feed.h"
#include "node/owner_world_for_test.h"
#include "xcf/address_field.h"

namespace testudo::node {
namespace {

using ipsec::Direction;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Members refuse what is not of their VIPAList: it must come first.
TEST_F(OwnerRoleTest, BringsANewMemberUpToDate) {
  add(Direction::kInbound, 0x1001);
  role.link_up(hello_of("t1", 2));
  const auto sent = bus.take();
  ASSERT_GE(sent.size(), 2u);
  ASSERT_TRUE(sent[0].message.has_vipa_list());
  const auto& dvipa = sent[0].message.vipa_list().dvipas(0);
  EXPECT_EQ(xcf::address_of(dvipa.address()), kDvipa);
  EXPECT_EQ(Epoch(dvipa.epoch()), epoch);
  EXPECT_THAT(dvipa.ports(), ElementsAre(443));
  const auto& install = sent[1].message.install();
  EXPECT_TRUE(install.replace_all());
  EXPECT_EQ(install.sas_size(), 1);
  ASSERT_EQ(install.filters_size(), 1);  // of the node file
  EXPECT_EQ(install.filters(0).destination_port_first(), 80u);
  EXPECT_NE(install.filters(0).id(), 0u);
}

TEST_F(OwnerRoleTest, TellsNobodyElseItsKeys) {
  role.link_up(hello_of("stranger", 9));  // DESTIP does not name it
  auto without_cache = hello_of("t1", 2);
  without_cache.set_distributed_ipsec(false);
  role.link_up(without_cache);
  bus.take();
  add(Direction::kInbound, 0x1001);
  EXPECT_THAT(bus.take(), IsEmpty());
}

TEST_F(OwnerRoleTest, MeasuresUntilTheLastMemberHasIt) {
  target("t1", 2);
  target("t2", 3);
  add(Direction::kInbound, 0x1001);
  const auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(2));
  executor.run_for(2ms);
  ack("t1", sent[0].message.install());
  EXPECT_EQ(role.install_times().summary().count, 0u);
  executor.run_for(1ms);
  ack("t2", sent[1].message.install());
  EXPECT_EQ(role.install_times().summary().count, 1u);
  EXPECT_EQ(role.install_times().summary().max, Duration(3ms));
}

// The link's queue is bounded: what has waited for an acknowledgement leaves with it.
TEST_F(OwnerRoleTest, SendsWhatHasWaitedOnceThereIsRoom) {
  target("t1", 2);
  const auto begun = [this] {
    std::size_t sas = 0;
    for (const auto& sent : bus.sent) sas += static_cast<std::size_t>(sent.message.install().sas_size());
    return sas;
  };
  for (std::uint32_t i = 0; i < 100; ++i) add(Direction::kInbound, 0x1001 + i);
  EXPECT_LT(begun(), 100u);
  for (int i = 0; i < 10 && begun() < 100; ++i) {
    for (const auto& sent : std::vector(bus.sent)) {
      if (sent.message.has_install()) ack("t1", sent.message.install());
    }
  }
  EXPECT_EQ(begun(), 100u);
}

TEST_F(OwnerRoleTest, InstallsAnSaHereAndAtTheMembers) {
  target("t1", 2);
  target("t2", 3);
  const SaId id = add(Direction::kInbound, 0x1001);
  const auto local = plane.all<path::InstallSa>();
  ASSERT_THAT(local, SizeIs(1));
  EXPECT_EQ(local[0]->sa->id(), id);
  EXPECT_EQ(local[0]->epoch, epoch);
  EXPECT_EQ(local[0]->owner, kSelf);
  EXPECT_EQ(local[0]->sa->replay_window(), 1024u);  // ours, of the configuration
  const auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_EQ(sent[0].to, "t1");
  EXPECT_EQ(sent[1].to, "t2");
  EXPECT_EQ(sent[1].message.install().sas(0).id(), id.value());
  EXPECT_THAT(installation().holders(id), IsEmpty());
  ack("t2", sent[1].message.install());
  EXPECT_THAT(installation().holders(id), ElementsAre("t2"));
  ack("t1", sent[0].message.install(), "no room");
  EXPECT_THAT(installation().holders(id), ElementsAre("t2"));
  EXPECT_THAT(log.complaints, ElementsAre(HasSubstr("no room")));

  ASSERT_TRUE(role.delete_sa({Spi(0x1001), kDvipa}));
  const auto deleted = bus.take();
  ASSERT_THAT(deleted, SizeIs(2));
  EXPECT_THAT(deleted[0].message.install().delete_sas(), ElementsAre(id.value()));
  ASSERT_THAT(plane.all<path::RemoveSa>(), SizeIs(1));
  EXPECT_FALSE(local_sas.has(id));
  EXPECT_TRUE(role.delete_sa({Spi(0x1001), kDvipa}));  // charon may ask twice
}

// The same, seen by the data plane: the SAs of both directions follow another port; another address is IKE's to
// say.
TEST_F(OwnerRoleTest, FollowsAnotherPortOfThePeer) {
  target("t1", 2);
  const SaId in = add(Direction::kInbound, 0x1001), out = add(Direction::kOutbound, 0x2001);
  for (const auto& [spi, destination] : {std::pair{0x1001u, kDvipa}, std::pair{0x2001u, kPeer}}) {
    const Endpoint here{kDvipa, 4500}, there{kPeer, 4500};
    const bool inbound = destination == kDvipa;
    ASSERT_TRUE(role.update_sa({Spi(spi), destination}, {inbound ? there : here, inbound ? here : there, true}));
  }
  plane.commands.clear();
  bus.take();
  role.peer_moved(in, {*IpAddress::parse("192.0.2.7"), 61000});
  EXPECT_THAT(plane.all<path::MoveSa>(), IsEmpty());
  role.peer_moved(in, {kPeer, 61000});
  const auto moved = plane.all<path::MoveSa>();
  ASSERT_THAT(moved, SizeIs(2));
  for (const auto* m : moved) EXPECT_EQ(m->remote, (Endpoint{kPeer, 61000}));
  EXPECT_THAT(bus.take(), SizeIs(2));
  role.peer_moved(in, {kPeer, 61000});
  EXPECT_THAT(plane.all<path::MoveSa>(), SizeIs(2));
  EXPECT_EQ(local_sas.all().at(out).shown.remote_port, 61000);
}

// RFC 3948: a NAT has given the peer another port. Owner and targets keep the SA, and no key travels again.
TEST_F(OwnerRoleTest, APeerThatMovesKeepsItsSas) {
  target("t1", 2);
  const SaId id = add(Direction::kOutbound, 0x2001);
  bus.take();
  const Endpoint there{*IpAddress::parse("192.0.2.7"), 61000};
  ASSERT_TRUE(role.update_sa({Spi(0x2001), kPeer}, {{kDvipa, 4500}, there, true}));
  const auto moved = plane.all<path::MoveSa>();
  ASSERT_THAT(moved, SizeIs(1));
  EXPECT_EQ(moved[0]->id, id);
  EXPECT_EQ(moved[0]->remote, there);
  EXPECT_EQ(moved[0]->local_port, 4500);
  EXPECT_TRUE(moved[0]->udp_encapsulation);
  EXPECT_EQ(local_sas.all().at(id).shown.remote_port, 61000);
  const auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].message.install().update_sas(0).id(), id.value());
  EXPECT_EQ(sent[0].message.install().sas_size(), 0);
  EXPECT_THAT(plane.all<path::RemoveSa>(), IsEmpty());
  EXPECT_FALSE(role.update_sa({Spi(0x2001), kPeer}, {{kDvipa, 4500}, there, true}));  // its name is another one now
  EXPECT_TRUE(role.delete_sa({Spi(0x2001), there.address}));
  EXPECT_FALSE(local_sas.has(id));
}

TEST_F(OwnerRoleTest, GivesAConnectionsSasItsOwnWindows) {
  config.ipsec.connections = {{.name = "big", .replay_window = 128, .inbound_replay_window = 4096}};
  const auto window = [&](const char* tunnel, Direction direction, std::uint32_t spi) {
    auto sa = sa_of(0, direction, spi);
    sa.id = SaId();
    sa.tunnel = tunnel;
    EXPECT_TRUE(role.add_sa(std::move(sa)));
    return installation()
        .find(ike::SaName{Spi(spi), direction == Direction::kInbound ? kDvipa : kPeer})
        ->replay_window;
  };
  EXPECT_EQ(window("big{1}", Direction::kOutbound, 0x2001), 128u);
  EXPECT_EQ(window("big{1}", Direction::kInbound, 0x1001), 4096u);
  EXPECT_EQ(window("other{2}", Direction::kOutbound, 0x2002), 32u);
  EXPECT_TRUE(role.ike_configuration({}));
  EXPECT_THAT(log.complaints, ElementsAre(HasSubstr("[[ipsec.connection]] big: charon has no connection")));
}

TEST_F(OwnerRoleTest, SaysAtOnceWhatCharonMayNotPropose) {
  const ike::ChildConfiguration good{
      .connection = "clients", .child = "web", .proposals = {{ipsec::Protocol::kEsp, {{20, 128}}, {}}}};
  ike::ChildConfiguration bad = good;
  bad.child = "old";
  bad.proposals.push_back({ipsec::Protocol::kEsp, {{3, 0}}, {{1, 0}}});
  EXPECT_TRUE(role.ike_configuration({good}));
  EXPECT_THAT(role.mismatches(), IsEmpty());
  const auto done = role.ike_configuration({good, bad});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("connection clients, child old: ESP proposal with 3DES_CBC(3)"));
  EXPECT_THAT(role.mismatches(), ElementsAre(HasSubstr("3DES_CBC(3)")));
  EXPECT_THAT(log.complaints, ElementsAre(HasSubstr("charon's configuration: connection clients, child old")));
  role.ike_disconnected("gone");
  EXPECT_THAT(role.mismatches(), IsEmpty());
}

TEST_F(OwnerRoleTest, InstallsNothingThatIsNotItsOwn) {
  auto sa = sa_of(0, Direction::kInbound, 0x1001);
  sa.local = IpAddress(0xc0000265);
  const auto done = role.add_sa(std::move(sa));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("192.0.2.101 is not a DVIPA that this node owns"));
  EXPECT_FALSE(role.allocate_spi(IpAddress(0xc0000265), kPeer));
  auto bad = sa_of(0, Direction::kInbound, 0x1002);
  bad.key = Secret(3);
  target("t1", 2);
  EXPECT_FALSE(role.add_sa(std::move(bad)));
  EXPECT_THAT(installation().sas(), IsEmpty());
  EXPECT_THAT(plane.commands, IsEmpty());
}

TEST_F(OwnerRoleTest, AnswersPulls) {
  target("t1", 2);
  const SaId id = add(Direction::kInbound, 0x1001);
  bus.take();
  xcf::v1::Pull pull;
  pull.set_dvipa(kDvipa.to_bytes());
  pull.set_epoch(epoch.value());
  pull.set_spi(0x1001);
  pull.set_remote(kPeer.to_bytes());
  role.pull("t1", pull);
  auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(1));
  ASSERT_EQ(sent[0].message.install().sas_size(), 1);
  EXPECT_EQ(sent[0].message.install().sas(0).id(), id.value());
  role.pull("stranger", pull);
  pull.set_epoch(epoch.value() - 1);
  role.pull("t1", pull);
  EXPECT_THAT(bus.take(), IsEmpty());
}

TEST_F(OwnerRoleTest, KeepsTheOperatorsFilters) {
  target("t1", 2);
  ike::Policy policy{.dvipa = kDvipa, .filters = {installation().filters()[0]}};
  policy.filters[0].set_id(0);
  policy.filters[0].set_action(xcf::v1::Filter::PROTECT);
  policy.filters[0].set_tunnel("vpn");
  policy.filters[0].set_priority(3);
  const int before = tables_changed;
  ASSERT_TRUE(role.add_policy(policy));
  EXPECT_EQ(tables_changed, before + 1);
  EXPECT_THAT(installation().filters(), SizeIs(2));
  EXPECT_THAT(bus.take(), SizeIs(1));
  ASSERT_TRUE(role.delete_policy(policy));
  EXPECT_THAT(installation().filters(), SizeIs(1));
  ASSERT_TRUE(role.add_policy(policy));
  role.flush_policies();
  ASSERT_THAT(installation().filters(), SizeIs(1));
  EXPECT_EQ(installation().filters()[0].action(), xcf::v1::Filter::PERMIT);
}

// What a charon before this one has left goes when the new one's takes its place, in the local data plane as well.
TEST_F(OwnerRoleTest, ReplacesWhatAFormerCharonLeft) {
  const SaId id = add(Direction::kInbound, 0x1001);
  ike::Policy policy{.dvipa = kDvipa, .filters = {installation().filters()[0]}};
  policy.filters[0].set_id(0);
  policy.filters[0].set_action(xcf::v1::Filter::PROTECT);
  policy.filters[0].set_tunnel("roadwarrior-1");
  policy.filters[0].set_priority(3);
  ASSERT_TRUE(role.add_policy(policy));
  role.ike_connected("charon 2", true);
  EXPECT_TRUE(local_sas.has(id));  // carries traffic on
  policy.filters[0].set_tunnel("roadwarrior-1 anew");
  ASSERT_TRUE(role.add_policy(policy));
  EXPECT_FALSE(local_sas.has(id));
  EXPECT_THAT(installation().sas(), IsEmpty());
}

TEST_F(OwnerRoleTest, StopsWhenItLosesTheDvipa) {
  target("t1", 2);
  const SaId id = add(Direction::kInbound, 0x1001);
  bus.take();
  role.lost(kDvipa);
  EXPECT_FALSE(role.owns(kDvipa));
  EXPECT_FALSE(local_sas.has(id));
  EXPECT_THAT(ike.expired, ElementsAre(RecordingIke::Expired{Spi(0x1001), kDvipa, kPeer, ike::Expiry::kHard}));
  const auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].message.vipa_list().dvipas_size(), 0);
  report(id, 1, 1, epoch);
  role.tick();
  EXPECT_FALSE(role.add_sa(sa_of(0, Direction::kInbound, 0x1002)));
}

TEST_F(OwnerRoleTest, TakesListenersOfItsEpoch) {
  target("t1", 2);
  xcf::v1::ListenerUpdate update;
  update.set_dvipa(kDvipa.to_bytes());
  update.set_epoch(epoch.value() - 1);
  update.set_port(443);
  update.set_listening(true);
  role.listener("t1", NodeId(2), update);
  EXPECT_THAT(readiness.ready(kDvipa, 443), IsEmpty());
  update.set_epoch(epoch.value());
  update.set_port(443 + 65'536);
  role.listener("t1", NodeId(2), update);
  EXPECT_THAT(readiness.ready(kDvipa, 443), IsEmpty());
  update.set_port(443);
  role.listener("t1", NodeId(2), update);
  EXPECT_THAT(readiness.ready(kDvipa, 443), SizeIs(1));
  role.link_down("t1");
  EXPECT_THAT(readiness.ready(kDvipa, 443), IsEmpty());
}

// The table that the worker gets: of an owned DVIPA the owner's filters, of others those that its owner has sent.
TEST_F(OwnerRoleTest, FeedsFiltersToTheDataPlane) {
  EventLog events(executor, log);
  ShadowRole shadow{{.executor = executor,
                     .bus = bus,
                     .local_sas = local_sas,
                     .log = log,
                     .events = events,
                     .tables_changed = [] {},
                     .dvipas_changed = [] {}}};
  FilterFeed feed(factory.tunnels());
  const policy::Flow flow{kPeer, kDvipa, wire::kProtocolTcp, true, 40'000, 80};
  const auto action = [&]() -> std::string {
    const auto table = feed.update(role, shadow);
    const policy::Rule* rule = table->find(policy::Direction::kInbound, flow);
    if (rule == nullptr) return "none";
    return rule->action == policy::Action::kPermit ? "permit" : factory.tunnels().name(rule->tunnel);
  };
  EXPECT_EQ(action(), "permit");  // of the node file
  EXPECT_EQ(feed.update(role, shadow), feed.update(role, shadow));

  ike::Policy policy{.dvipa = kDvipa, .filters = {installation().filters()[0]}};
  policy.filters[0].set_id(0);
  policy.filters[0].set_action(xcf::v1::Filter::PROTECT);
  policy.filters[0].set_tunnel("a");
  policy.filters[0].set_priority(3);
  ASSERT_TRUE(role.add_policy(policy));
  EXPECT_EQ(action(), "a");
  ike::Policy newer = policy;
  newer.filters[0].set_tunnel("b");
  ASSERT_TRUE(role.add_policy(newer));
  EXPECT_EQ(action(), "b");
  ASSERT_TRUE(role.delete_policy(newer));
  EXPECT_EQ(action(), "a");  // comes back
  role.flush_policies();
  EXPECT_EQ(action(), "permit");

  // Another node claims it under a newer epoch; this one's filters count until it knows that it has lost.
  const xcf::v1::Hello rival = hello_of("rival", 9);
  xcf::v1::VipaList list;
  list.add_dvipas()->set_address(kDvipa.to_bytes());
  list.mutable_dvipas(0)->set_epoch(epoch.value() + 1);
  shadow.vipa_list(rival, list);
  xcf::v1::Install install;
  install.set_dvipa(kDvipa.to_bytes());
  install.set_epoch(epoch.value() + 1);
  install.set_replace_all(true);
  *install.add_filters() = policy.filters[0];
  install.mutable_filters(0)->set_id(1);
  shadow.install(rival, install);
  EXPECT_EQ(action(), "permit");
  role.lost(kDvipa);
  EXPECT_EQ(action(), "a");
  install.mutable_filters(0)->set_tunnel("c");
  install.set_replace_all(false);
  shadow.install(rival, install);
  EXPECT_EQ(action(), "c");
  install.clear_filters();
  install.add_delete_filters(1);
  shadow.install(rival, install);
  EXPECT_EQ(action(), "none");
  list.clear_dvipas();
  shadow.vipa_list(rival, list);
  EXPECT_EQ(feed.update(role, shadow)->size(), 0u);
}

// ---- a takeover ----

struct TakenOver : OwnerRoleTest {
  static constexpr SaId kIn = SaId(7ULL << 32 | 1), kOut = SaId(7ULL << 32 | 2);

  TakenOver() {
    ShadowRole::Inheritance left;
    for (auto sa :
         {sa_of(kIn.value(), Direction::kInbound, 0x9001), sa_of(kOut.value(), Direction::kOutbound, 0x9002)}) {
      EXPECT_TRUE(local_sas.install(sa, Epoch(7), NodeId(9), executor.now(), {}));
      left.sas[sa.id] = std::move(sa);
    }
    role.lost(kDvipa);
    role.became_owner(kDvipa, epoch, std::move(left));
    role.link_up(hello_of("t1", 2));
    found.window = [this](SaId) { return window; };
    window = distributor::WindowReport{.sa = kIn, .top = SeqNo(9), .floor = SeqNo(9), .blocks = {}};
    found.ceilings[kOut] = {.last = SeqNo(1000), .revision = facility::Revision(3)};
    plane.commands.clear();
    bus.take();
  }
  [[nodiscard]] std::vector<SaId> owned_sas() {
    std::vector<SaId> ids;
    for (const auto* own : plane.all<path::OwnSa>()) ids.push_back(own->id);
    return ids;
  }

  Takeover::Found found;
  std::optional<distributor::WindowReport> window;
};

TEST_F(TakenOver, GoesOnBehindWhatWasUsed) {
  role.go_on(kDvipa, found);
  const auto own = plane.all<path::OwnSa>();
  ASSERT_THAT(own, SizeIs(2));
  EXPECT_EQ(own[0]->known, *window);
  EXPECT_EQ(own[1]->first, SeqNo(1001));
  EXPECT_EQ(own[1]->epoch, epoch);
  EXPECT_THAT(bus.take(), IsEmpty()) << "members are told nothing before it serves";
  role.serve(kDvipa);
  EXPECT_THAT(installation().sas(), SizeIs(2));
  EXPECT_FALSE(bus.take().empty());
}

TEST_F(TakenOver, ClosesWhatNobodyKnows) {
  window.reset();
  found.ceilings.clear();
  role.go_on(kDvipa, found);
  EXPECT_THAT(owned_sas(), IsEmpty());
  EXPECT_THAT(plane.all<path::RemoveSa>(), IsEmpty()) << "the next owner may find it";
  role.serve(kDvipa);
  EXPECT_THAT(plane.all<path::RemoveSa>(), SizeIs(2));
  EXPECT_THAT(installation().sas(), IsEmpty());
}

TEST_F(OwnerRoleTest, LeavesToTheNextOwnerWhatWasSetAside) {
  const SaId id = add(Direction::kOutbound, 0x2001);
  role.need_ceiling(id, SeqNo(1000));
  executor.run_for(1s);
  ASSERT_EQ(ceiling(id), "1000");
  role.lost(kDvipa);
  executor.run_for(1s);
  EXPECT_EQ(ceiling(id), "1000");
}

}  // namespace
}  // namespace testudo::node
