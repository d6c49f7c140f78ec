// SPDX-License-Identifier: Apache-2.0
#include "node/local_sas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "node/world_for_test.h"

namespace testudo::node {
namespace {

using ipsec::Direction;
using testing::IsEmpty;
using testing::SizeIs;

class LocalSasTest : public testing::Test {
 protected:
  Result<void> install(std::uint64_t id, ipsec::LifesizeLimits limits = {}, Epoch epoch = kEpoch,
                       NodeId owner = NodeId(1), const ike::Share& share = {}) {
    auto sa = sa_of(id, Direction::kInbound, 0x1000 + static_cast<std::uint32_t>(id));
    sa.limits = limits;
    return sas.install(std::move(sa), epoch, owner, now, share);
  }
  ipsec::Sa& installed() { return *plane.all<path::InstallSa>()[0]->sa; }
  /// One use of SA 1 is due, and this much in all.
  void expect_use(std::uint64_t bytes, std::uint64_t packets) {
    const auto uses = sas.take_use(now);
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_EQ(uses[0].sa, SaId(1));
    EXPECT_EQ(uses[0].dvipa, kDvipa);
    EXPECT_EQ(uses[0].used.bytes, bytes);
    EXPECT_EQ(uses[0].used.packets, packets);
  }

  SeededRng rng{1};
  ipsec::SaFactory factory{1};
  RecordingPlane plane;
  LocalSas sas{{.report_interval = 1s}, factory, plane};
  Time now{100s};
};

TEST_F(LocalSasTest, InstallsOnce) {
  ASSERT_TRUE(install(1, {}, kEpoch, NodeId(7)));
  ASSERT_TRUE(install(1));
  const auto installs = plane.all<path::InstallSa>();
  ASSERT_THAT(installs, SizeIs(1));
  EXPECT_EQ(installs[0]->epoch, kEpoch);
  EXPECT_EQ(installs[0]->owner, NodeId(7));
  EXPECT_EQ(installs[0]->sa->id(), SaId(1));
  EXPECT_TRUE(sas.has(SaId(1)));
}

TEST_F(LocalSasTest, InstallsNothingThatIsWrong) {
  auto sa = sa_of(1, Direction::kInbound, 0x1001);
  sa.key = Secret(3);
  EXPECT_FALSE(sas.install(std::move(sa), kEpoch, NodeId(1), now, {}));
  EXPECT_FALSE(sas.has(SaId(1)));
  EXPECT_THAT(plane.commands, IsEmpty());
}

// Spec D2: at the threshold that the owner has said, of bytes or of packets, whichever is first.
TEST_F(LocalSasTest, ReportsAtTheThreshold) {
  ASSERT_TRUE(install(1, {.soft_bytes = 20'000, .soft_packets = 200}, kEpoch, NodeId(1),
                      {.allowed = {}, .report = {.bytes = 1000, .packets = 10}}));
  EXPECT_THAT(sas.take_use(now), IsEmpty());
  plane.use(SaId(1), 1, 999);
  EXPECT_THAT(sas.take_use(now), IsEmpty());
  plane.use(SaId(1), 1, 1);
  expect_use(1000, 2);
  EXPECT_THAT(sas.take_use(now), IsEmpty());  // each use once
  plane.use(SaId(1), 9, 1);
  EXPECT_THAT(sas.take_use(now), IsEmpty());
  plane.use(SaId(1), 1, 1);
  expect_use(1010, 12);
}

TEST_F(LocalSasTest, ReportsWhenHalfOfItsShareIsUsed) {
  ASSERT_TRUE(install(1, {.hard_bytes = 100'000}, kEpoch, NodeId(1),
                      {.allowed = {.bytes = 1000, .packets = 0}, .report = {.bytes = 5000, .packets = 0}}));
  plane.use(SaId(1), 1, 499);
  EXPECT_THAT(sas.take_use(now), IsEmpty());
  plane.use(SaId(1), 1, 1);
  expect_use(500, 2);
  EXPECT_THAT(sas.take_use(now), IsEmpty());
  plane.use(SaId(1), 1, 250);  // of the 500 that were left
  expect_use(750, 3);
  sas.allow(SaId(1), {.allowed = {.bytes = 3000, .packets = 0}, .report = {.bytes = 5000, .packets = 0}});
  plane.use(SaId(1), 1, 1000);
  EXPECT_THAT(sas.take_use(now), IsEmpty());
}

TEST_F(LocalSasTest, TheWorkerCarriesNoMoreThanTheShare) {
  ASSERT_TRUE(install(1, {.hard_bytes = 100'000}, kEpoch, NodeId(1), {.allowed = {1000, 0}, .report = {}}));
  EXPECT_FALSE(installed().carry(1001));
  const auto refused = sas.take_use(now);
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_TRUE(refused[0].refused);
  EXPECT_EQ(refused[0].used.bytes, 0u);
  EXPECT_FALSE(installed().carry(1001));
  EXPECT_THAT(sas.take_use(now), IsEmpty());  // it was told
  EXPECT_THAT(sas.take_use(now + 1s), SizeIs(1));
  sas.allow(SaId(1), {.allowed = {2000, 0}, .report = {}});
  sas.allow(SaId(1), {.allowed = {1500, 0}, .report = {}});  // came late
  EXPECT_TRUE(installed().carry(2000));
  EXPECT_FALSE(installed().carry(1));
  // Repeated by an owner whose link was broken.
  ASSERT_TRUE(install(1, {.hard_bytes = 100'000}, kEpoch, NodeId(1), {.allowed = {2100, 0}, .report = {}}));
  EXPECT_TRUE(installed().carry(100));
}

TEST_F(LocalSasTest, ReportsAgainWhatMayBeLost) {
  ASSERT_TRUE(install(1));
  plane.use(SaId(1), 3, 100);
  now += 1s;
  expect_use(300, 3);
  sas.report_again(IpAddress(1));
  EXPECT_THAT(sas.take_use(now), IsEmpty());
  sas.report_again(kDvipa);
  expect_use(300, 3);
  EXPECT_THAT(sas.take_use(now + 10s), IsEmpty());
}

TEST_F(LocalSasTest, ReportsByTimeAtTheLatest) {
  ASSERT_TRUE(install(1));
  plane.use(SaId(1), 3, 100);
  now += 999ms;
  EXPECT_THAT(sas.take_use(now), IsEmpty());
  now += 1ms;
  expect_use(300, 3);
  now += 10s;
  EXPECT_THAT(sas.take_use(now), IsEmpty());  // nothing new
}

TEST_F(LocalSasTest, RemovalReportsTheRest) {
  ASSERT_TRUE(install(1));
  plane.use(SaId(1), 3, 100);
  sas.remove(SaId(1), now);
  sas.remove(SaId(1), now);
  const auto removals = plane.all<path::RemoveSa>();
  ASSERT_THAT(removals, SizeIs(1));
  EXPECT_EQ(removals[0]->id, SaId(1));
  EXPECT_FALSE(sas.has(SaId(1)));
  expect_use(300, 3);
  EXPECT_THAT(sas.take_use(now + 10s), IsEmpty());
}

TEST_F(LocalSasTest, AnotherOwnerChangesNothingButWhoIsToldOfTheUse) {
  ASSERT_TRUE(install(1));
  plane.use(SaId(1), 3, 100);
  ASSERT_THAT(sas.take_use(now + 10s), SizeIs(1));
  sas.follow_owner(kDvipa, Epoch(77), NodeId(9));
  EXPECT_EQ(sas.all().at(SaId(1)).epoch, Epoch(77));
  EXPECT_EQ(sas.all().at(SaId(1)).owner, NodeId(9));
  const auto told = plane.all<path::FollowOwner>();
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0]->epoch, Epoch(77));
  EXPECT_EQ(told[0]->owner, NodeId(9));
  EXPECT_THAT(plane.all<path::RemoveSa>(), IsEmpty());
  expect_use(300, 3);  // all of it: the new owner has heard of nothing
}

TEST_F(LocalSasTest, RemovesAllOfOneDvipa) {
  ASSERT_TRUE(install(1));
  ASSERT_TRUE(install(2, {}, Epoch(40)));
  auto other = sa_of(4, Direction::kInbound, 0x1004);
  other.local = IpAddress(0xc0000265);
  ASSERT_TRUE(sas.install(std::move(other), Epoch(3), NodeId(9), now, {}));
  sas.remove_all(kDvipa, now);
  EXPECT_FALSE(sas.has(SaId(1)));
  EXPECT_FALSE(sas.has(SaId(2)));
  EXPECT_TRUE(sas.has(SaId(4)));
}

// The worker has put a newer SA in its place: what it had carried is not lost, and it is not looked at again.
TEST_F(LocalSasTest, RetirementReportsTheRest) {
  ASSERT_TRUE(install(1));
  plane.use(SaId(1), 2, 100);
  sas.retired(*plane.all<path::InstallSa>()[0]->sa);
  EXPECT_FALSE(sas.has(SaId(1)));
  plane.commands.clear();  // destroys it
  expect_use(200, 2);
  EXPECT_THAT(sas.take_use(now + 10s), IsEmpty());
}

TEST_F(LocalSasTest, RetirementOfAFormerSaLeavesTheNewOne) {
  ASSERT_TRUE(install(1));
  sas.remove(SaId(1), now);
  ASSERT_TRUE(install(1));
  sas.retired(*plane.all<path::InstallSa>()[0]->sa);
  EXPECT_TRUE(sas.has(SaId(1)));
}

}  // namespace
}  // namespace testudo::node
