// SPDX-License-Identifier: Apache-2.0
// OwnerRole's keeping of lifesize, lifetime and sequence numbers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "node/owner_role.h"
#include "node/owner_world_for_test.h"
#include "xcf/address_field.h"

namespace testudo::node {
namespace {

using ipsec::Direction;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Spec D2, E4: use of all hosts together; charon is told once of each limit, and nothing outlives the hard one.
TEST_F(OwnerRoleTest, AddsUpUseAndTellsOfExpiry) {
  target("t1", 2);
  constexpr std::uint64_t kMega = 1'000'000;
  const SaId id = add(Direction::kInbound, 0x1001, {.soft_bytes = 1000 * kMega, .hard_bytes = 2000 * kMega});
  report(id, 600 * kMega, 1, epoch);
  report(id, 900 * kMega, 1, Epoch(epoch.value() + 1));  // of another epoch: ignored
  EXPECT_THAT(ike.expired, IsEmpty());
  role.used({.sa = id, .dvipa = kDvipa, .used = {.bytes = 400 * kMega, .packets = 1}});
  const RecordingIke::Expired soft{Spi(0x1001), kDvipa, kPeer, ike::Expiry::kSoft};
  EXPECT_THAT(ike.expired, ElementsAre(soft));
  report(id, 601 * kMega, 2, epoch);
  EXPECT_THAT(ike.expired, SizeIs(1));
  const auto use = role.query_sa({Spi(0x1001), kDvipa});
  ASSERT_TRUE(use);
  EXPECT_EQ(use->bytes, 1001 * kMega);
  EXPECT_EQ(use->packets, 3u);
  bus.take();
  report(id, 1600 * kMega, 3, epoch);
  EXPECT_THAT(ike.expired,
              ElementsAre(soft, RecordingIke::Expired{Spi(0x1001), kDvipa, kPeer, ike::Expiry::kHard}));
  EXPECT_FALSE(local_sas.has(id));
  const auto sent = bus.take();
  ASSERT_THAT(sent, SizeIs(2));  // what was left to give, and that the SA is gone
  EXPECT_THAT(sent[1].message.install().delete_sas(), ElementsAre(id.value()));
}

TEST_F(OwnerRoleTest, TellsAgainWhenTheIkeDaemonWasAway) {
  const SaId id = add(Direction::kOutbound, 0x2001, {.soft_packets = 10'000, .hard_packets = 20'000});
  ike.here = false;
  role.used({.sa = id, .dvipa = kDvipa, .used = {.bytes = 1, .packets = 10'000}});
  role.tick();
  EXPECT_THAT(ike.expired, IsEmpty());
  ike.here = true;
  role.tick();
  role.tick();
  EXPECT_THAT(ike.expired, ElementsAre(RecordingIke::Expired{Spi(0x2001), kPeer, kDvipa, ike::Expiry::kSoft}));
  ike.here = false;  // the hard limit holds whether it is there or not
  role.used({.sa = id, .dvipa = kDvipa, .used = {.bytes = 1, .packets = 20'000}});
  EXPECT_FALSE(local_sas.has(id));
}

// Spec D2, E4: each host has a share of the hard limit, which grows with its reports.
TEST_F(OwnerRoleTest, GivesEachHostAShare) {
  target("t1", 2);
  target("t2", 3);
  const SaId id = add(Direction::kInbound, 0x1001, {.soft_packets = 80'000, .hard_packets = 100'000});
  const auto installs = bus.take();
  ASSERT_THAT(installs, SizeIs(2));
  for (const auto& sent : installs) {
    const xcf::v1::Share& share = sent.message.install().sas(0).share();
    EXPECT_EQ(share.report_packets(), 5'000u);
    EXPECT_EQ(share.allowed_packets(), 5'000u);
  }
  EXPECT_EQ(local_sas.all().at(id).share.allowed.packets, 5'000u);
  report(id, 1, 2'000, epoch);
  const auto answers = bus.take();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].to, "t1");
  const xcf::v1::LifesizeGrant& grant = answers[0].message.lifesize_grant();
  EXPECT_EQ(Epoch(grant.epoch()), epoch);
  ASSERT_EQ(grant.granted_size(), 1);
  EXPECT_EQ(SaId(grant.granted(0).sa()), id);
  EXPECT_EQ(grant.granted(0).share().allowed_packets(), 12'000u);
  report(id, 1, 2'000, epoch);  // the same again
  EXPECT_THAT(bus.take(), IsEmpty());
  role.used({.sa = id, .dvipa = kDvipa, .used = {.bytes = 1, .packets = 100}});
  EXPECT_EQ(local_sas.all().at(id).share.allowed.packets, 10'100u);
  // The link was down: what t1 had been given is still its own. A t1 that has started anew has used nothing.
  role.link_down("t1");
  target_again("t1", 2);
  EXPECT_EQ(bus.take().back().message.install().sas(0).share().allowed_packets(), 12'000u);
  role.link_down("t1");
  xcf::v1::Hello hello = hello_of("t1", 2);
  hello.set_incarnation(77);
  role.link_up(hello);
  EXPECT_EQ(bus.take().back().message.install().sas(0).share().allowed_packets(), 4'556u);  // there is less left
}

// Spec D2: the threshold is lower after a late refresh, and up again after timely ones.
TEST_F(OwnerRoleTest, AdaptsTheThreshold) {
  target("t1", 2);
  const ipsec::LifesizeLimits limits{.soft_packets = 80'000, .hard_packets = 100'000};
  std::uint32_t spi = 0x1000;
  SaId id = add(Direction::kInbound, ++spi, limits);
  const auto replace = [&] {
    const ike::SaName old{Spi(spi), kDvipa};
    id = add(Direction::kInbound, ++spi, limits);
    EXPECT_TRUE(role.delete_sa(old));
    return local_sas.all().at(id).share.report.packets;
  };
  report(id, 1, 99'000, epoch);  // far more than the soft limit, and hardly anything left
  EXPECT_EQ(replace(), 2'500u);
  report(id, 1, 81'000, epoch);
  EXPECT_EQ(replace(), 2'500u);  // it was there before the verdict
  report(id, 1, 70'000, epoch);
  EXPECT_EQ(replace(), 3'120u);  // a quarter up; and that this one was rekeyed for another reason says nothing
  EXPECT_EQ(replace(), 3'120u);
  EXPECT_EQ(role.thresholds().counts().late, 1u);
  EXPECT_EQ(role.thresholds().counts().timely, 1u);
}

TEST_F(OwnerRoleTest, KeepsTimeLimits) {
  const SaId id = add(Direction::kInbound, 0x1001, {.soft_seconds = 60, .hard_seconds = 90});
  executor.run_for(59s);
  role.tick();
  EXPECT_THAT(ike.expired, IsEmpty());
  executor.run_for(1s);
  role.tick();
  EXPECT_THAT(ike.expired, SizeIs(1));
  executor.run_for(30s);
  role.tick();
  EXPECT_THAT(ike.expired, SizeIs(2));
  EXPECT_FALSE(local_sas.has(id));
}

TEST_F(OwnerRoleTest, ReservesNumbersWhileTheSaLives) {
  const SaId id = add(Direction::kOutbound, 0x2001);
  role.need_ceiling(id, SeqNo(1000));
  executor.run_for(1s);
  EXPECT_THAT(reserved, ElementsAre(testing::Pair(id, SeqNo(1000))));
  EXPECT_EQ(ceiling(id), "1000");
  ASSERT_TRUE(role.delete_sa({Spi(0x2001), kPeer}));
  executor.run_for(1s);
  EXPECT_EQ(ceiling(id), "none");
  role.need_ceiling(id, SeqNo(2000));  // was under way when the SA went
  executor.run_for(1s);
  EXPECT_EQ(ceiling(id), "none");
}

TEST_F(OwnerRoleTest, RekeysWhenTheNumbersEnd) {
  const SaId id = add(Direction::kOutbound, 0x2001);
  role.near_exhaustion(id);
  EXPECT_THAT(ike.expired, ElementsAre(RecordingIke::Expired{Spi(0x2001), kPeer, kDvipa, ike::Expiry::kSoft}));
}

}  // namespace
}  // namespace testudo::node
