// SPDX-License-Identifier: Apache-2.0
// What members are sent, in which pieces, and what their acknowledgements mean.
#include <gmock/gmock.h>

#include <algorithm>
#include <deque>

#include "base/rng.h"
#include "ike/installation_world_for_test.h"

namespace testudo::ike {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(InstallationTest, AnSaReachesEveryMemberAndIsHeldOnceAcknowledged) {
  installation_.member_up("t1");
  installation_.member_up("t2");
  deliver();
  const auto id = installation_.add_sa(inbound(1000));
  ASSERT_TRUE(id);
  EXPECT_EQ(id->value() >> 32, 9U);  // low half of the epoch
  EXPECT_THAT(installation_.holders(*id), IsEmpty());
  auto out = take_outgoing(installation_);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[0].node, "t1");
  EXPECT_EQ(out[0].message.epoch(), kEpoch.value());
  installation_.acknowledged("t1", ack_of(out[0].message));
  EXPECT_THAT(installation_.holders(*id), ElementsAre("t1"));
  EXPECT_EQ(installation_.acknowledged("t2", ack_of(out[1].message, "no memory")), "no memory");
  EXPECT_THAT(installation_.holders(*id), ElementsAre("t1"));
}

TEST_F(InstallationTest, AcksThatMeanNothingAreIgnored) {
  installation_.member_up("t1");
  deliver();
  const auto id = installation_.add_sa(inbound(1000));
  const auto out = take_outgoing(installation_);
  xcf::v1::Ack stale = ack_of(out[0].message);
  stale.set_epoch(8);
  installation_.acknowledged("t1", stale);
  xcf::v1::Ack unknown = ack_of(out[0].message);
  unknown.set_number(999);
  installation_.acknowledged("t1", unknown);
  installation_.acknowledged("stranger", ack_of(out[0].message));
  EXPECT_THAT(installation_.holders(*id), IsEmpty());
}

TEST_F(InstallationTest, AnAckAfterTheDeleteMakesNoHolder) {
  installation_.member_up("t1");
  deliver();
  const auto id = installation_.add_sa(inbound(1000));
  const auto added = take_outgoing(installation_);
  EXPECT_EQ(installation_.delete_sa({Spi(1000), kDvipa}), *id);
  installation_.acknowledged("t1", ack_of(added[0].message));
  EXPECT_THAT(installation_.holders(*id), IsEmpty());
  const auto deleted = take_outgoing(installation_);
  ASSERT_EQ(deleted.size(), 1U);
  EXPECT_THAT(deleted[0].message.delete_sas(), ElementsAre(id->value()));
}

TEST_F(InstallationTest, AReconnectedMemberGetsAllAndHoldsNothingUntilItAcknowledges) {
  installation_.member_up("t1");
  deliver();
  const SaId in = *installation_.add_sa(inbound(1000));
  const SaId out = *installation_.add_sa(outbound(2000));
  installation_.add_filter(filter("clients{1}"));
  deliver();
  EXPECT_TRUE(installation_.holds("t1", in));
  installation_.member_down("t1");
  EXPECT_FALSE(installation_.holds("t1", in));
  installation_.member_up("t1");
  const auto all = take_outgoing(installation_);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].message.replace_all());
  EXPECT_EQ(all[0].message.sas_size(), 2);
  EXPECT_EQ(all[0].message.filters_size(), 1);
  EXPECT_FALSE(installation_.holds("t1", out));
  installation_.acknowledged("t1", ack_of(all[0].message));
  EXPECT_TRUE(installation_.holds("t1", out));
}

TEST_F(InstallationTest, WhatWasQueuedForAMemberGoesWithIt) {
  installation_.member_up("t1");
  ASSERT_TRUE(installation_.add_sa(inbound(1000)));
  installation_.member_down("t1");
  EXPECT_THAT(take_outgoing(installation_), IsEmpty());
}

// A link's queue is bounded, and so is what a member has to acknowledge.
TEST_F(InstallationTest, WhatWaitsForAcknowledgementsIsPutTogether) {
  installation_.member_up("t1");
  deliver();
  for (std::uint32_t spi = 1000; spi < 1100; ++spi) ASSERT_TRUE(installation_.add_sa(inbound(spi)));
  installation_.delete_sa({Spi(1099), kDvipa});
  const auto first = take_outgoing(installation_);
  ASSERT_EQ(first.size(), 16U);
  for (std::uint32_t spi = 1100; spi < 1200; ++spi) ASSERT_TRUE(installation_.add_sa(inbound(spi)));
  EXPECT_THAT(take_outgoing(installation_), IsEmpty());
  for (const auto& out : first) {
    members_["t1"].apply(out.message);
    installation_.acknowledged("t1", ack_of(out.message));
  }
  const auto then = take_outgoing(installation_);
  EXPECT_EQ(then.size(), 16U);
  EXPECT_EQ(then[0].message.sas_size(), 1);  // there was room when it was added
  for (const auto& out : then) {
    members_["t1"].apply(out.message);
    installation_.acknowledged("t1", ack_of(out.message));
  }
  for (int i = 0; i < 20; ++i) deliver();
  EXPECT_EQ(members_["t1"].sas.size(), 199U);
}

// It waits by its id: what is sent is what it is by then, and nothing of one that is gone.
TEST_F(InstallationTest, AnSaThatWaitsIsSentAsItIsByThen) {
  installation_.member_up("t1");
  deliver();
  for (std::uint32_t spi = 1000; spi < 1016; ++spi) ASSERT_TRUE(installation_.add_sa(inbound(spi)));
  const auto first = take_outgoing(installation_);
  const SaId gone = *installation_.add_sa(inbound(2000));
  const SaId moved = *installation_.add_sa(inbound(2001));
  ASSERT_TRUE(installation_.update_sa({Spi(2001), kDvipa}, {{kOtherPeer, 6000}, {kDvipa, 4500}, true}));
  EXPECT_EQ(installation_.delete_sa({Spi(2000), kDvipa}), gone);
  for (const auto& out : first) installation_.acknowledged("t1", ack_of(out.message));
  const auto then = take_outgoing(installation_);
  ASSERT_EQ(then.size(), 1U);
  ASSERT_EQ(then[0].message.sas_size(), 1);
  EXPECT_EQ(then[0].message.sas(0).id(), moved.value());
  EXPECT_EQ(then[0].message.sas(0).remote_port(), 6000U);
  EXPECT_THAT(then[0].message.delete_sas(), ElementsAre(gone.value()));
}

TEST_F(InstallationTest, NothingIsLeftInAMessageThatIsUsedAgain) {
  ipsec::SaParameters over_esp = inbound(1000);
  over_esp.inner_esp = ipsec::InnerEsp{.spi = Spi(3000), .suite = {}, .key = Secret(20)};
  over_esp.limits.hard_seconds = 9;
  ASSERT_TRUE(installation_.add_sa(over_esp));
  installation_.add_filter(filter("clients{1}"));
  installation_.member_up("t1");
  xcf::v1::Install install;
  ASSERT_NE(installation_.next_outgoing(install), nullptr);
  ASSERT_TRUE(install.replace_all() && install.sas(0).has_inner_esp());
  scrub(install);
  EXPECT_EQ(install.sas(0).key(), "");
  ASSERT_TRUE(installation_.add_sa(inbound(1001)));
  ASSERT_NE(installation_.next_outgoing(install), nullptr);
  ASSERT_EQ(install.sas_size(), 1);
  EXPECT_EQ(install.sas(0).SerializeAsString(),
            sa_to_message(*installation_.find(SaName{Spi(1001), kDvipa})).SerializeAsString());
  EXPECT_FALSE(install.replace_all() || install.replace_begins());
  EXPECT_EQ(install.filters_size(), 0);
  EXPECT_EQ(installation_.next_outgoing(install), nullptr);
}

TEST_F(InstallationTest, EverythingComesInPartsThatFitTheLink) {
  constexpr std::uint32_t kSas = 14'000;
  for (std::uint32_t spi = 1000; spi < 1000 + kSas; ++spi) ASSERT_TRUE(installation_.add_sa(inbound(spi)));
  installation_.add_filter(filter("clients{1}"));
  members_["t1"].sas[7] = 7;  // of an SA that was deleted while the link was down
  members_["t1"].filters[99] = "gone";
  installation_.member_up("t1");
  const auto first = take_outgoing(installation_);
  ASSERT_EQ(first.size(), 16U);
  EXPECT_TRUE(first[0].message.replace_begins());
  EXPECT_FALSE(first[15].message.replace_all());
  installation_.delete_sa({Spi(1001), kDvipa});             // in the first part
  installation_.delete_sa({Spi(999 + kSas), kDvipa});       // in a later one
  ASSERT_TRUE(installation_.add_sa(inbound(2000 + kSas)));  // once in a part, once alone
  for (const auto& out : first) {
    EXPECT_LT(out.message.ByteSizeLong(), 70'000U);
    members_["t1"].apply(out.message);
    installation_.acknowledged("t1", ack_of(out.message));
  }
  EXPECT_TRUE(members_["t1"].sas.contains(7));
  for (int i = 0; i < 5; ++i) deliver();
  EXPECT_EQ(members_["t1"].sas.size(), kSas - 1);
  EXPECT_FALSE(members_["t1"].sas.contains(7));
  EXPECT_THAT(members_["t1"].filters, testing::SizeIs(1));
  EXPECT_EQ(installation_.holders(*installation_.add_sa(inbound(900))).size(), 0U);
  EXPECT_TRUE(installation_.holds("t1", installation_.find(SaName{Spi(1500), kDvipa})->id));
}

TEST_F(InstallationTest, OneSaThatIsRefusedKeepsNoOtherOut) {
  const SaId good = *installation_.add_sa(inbound(1000));
  const SaId bad = *installation_.add_sa(inbound(1001));
  installation_.add_filter(filter("clients{1}"));
  installation_.member_up("t1");
  const auto all = take_outgoing(installation_);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(installation_.acknowledged("t1", ack_of(all[0].message, "unknown suite")));
  const auto apart = take_outgoing(installation_);
  ASSERT_EQ(apart.size(), 3U);
  for (const auto& out : apart) {
    const bool refused = out.message.sas_size() > 0 && out.message.sas(0).id() == bad.value();
    installation_.acknowledged("t1", ack_of(out.message, refused ? "unknown suite" : ""));
    if (!refused) members_["t1"].apply(out.message);
  }
  EXPECT_TRUE(installation_.holds("t1", good));
  EXPECT_FALSE(installation_.holds("t1", bad));
  EXPECT_THAT(members_["t1"].filters, testing::SizeIs(1));
  EXPECT_THAT(take_outgoing(installation_), IsEmpty());
}

// A filter that goes and comes back cannot be put together with itself. So much of it takes no memory.
TEST_F(InstallationTest, WhoFallsFarBehindGetsEverythingAnew) {
  installation_.member_up("t1");
  deliver();
  auto deny = filter("clients{1}");
  deny.set_action(xcf::v1::Filter::DENY);
  installation_.add_filter(filter("clients{1}"));
  for (int i = 0; i < 5000; ++i) {
    installation_.add_filter(deny);
    installation_.delete_filter(deny);
  }
  auto out = take_outgoing(installation_);
  EXPECT_EQ(out.size(), 16U);
  std::size_t installs = 0;
  bool anew = false;
  while (!out.empty()) {
    for (const auto& one : out) {
      anew |= one.message.replace_begins();
      members_["t1"].apply(one.message);
      installation_.acknowledged("t1", ack_of(one.message));
    }
    installs += out.size();
    out = take_outgoing(installation_);
  }
  EXPECT_TRUE(anew);
  EXPECT_LT(installs, 4200U);
  EXPECT_THAT(members_["t1"].filters, testing::SizeIs(1));
  EXPECT_EQ(members_["t1"].filters.begin()->first, installation_.filters()[0].id());
}

TEST_F(InstallationTest, Pull) {
  installation_.member_up("t1");
  deliver();
  const SaId id = *installation_.add_sa(inbound(1000));
  xcf::v1::Pull pull;
  pull.set_dvipa(kDvipa.to_bytes());
  pull.set_epoch(kEpoch.value());
  pull.set_spi(1000);
  pull.set_remote(kPeer.to_bytes());
  const auto answer = installation_.answer("t1", pull);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->sas_size(), 1);
  EXPECT_EQ(answer->sas(0).id(), id.value());
  installation_.acknowledged("t1", ack_of(*answer));
  EXPECT_TRUE(installation_.holds("t1", id));

  pull.set_remote(kOtherPeer.to_bytes());
  EXPECT_EQ(installation_.answer("t1", pull)->sas_size(), 0);
  pull.set_spi(1001);
  EXPECT_EQ(installation_.answer("t1", pull)->sas_size(), 0);
  EXPECT_FALSE(installation_.answer("stranger", pull));
  pull.set_epoch(8);
  EXPECT_FALSE(installation_.answer("t1", pull));
}

TEST_F(InstallationTest, OutboundSasAreNotPulled) {
  installation_.member_up("t1");
  ASSERT_TRUE(installation_.add_sa(outbound(2000)));
  xcf::v1::Pull pull;
  pull.set_dvipa(kDvipa.to_bytes());
  pull.set_epoch(kEpoch.value());
  pull.set_spi(2000);
  pull.set_remote(kPeer.to_bytes());
  EXPECT_EQ(installation_.answer("t1", pull)->sas_size(), 0);
}

// Messages and acknowledgements take their time, and members come and go meanwhile.
TEST(Installation, SlowMembersAgreeInTheEnd) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SeededRng rng(seed), dice(seed + 1000);
    Installation installation(kDvipa, kEpoch, rng);
    std::map<std::string, Member> members;
    std::map<std::string, std::deque<xcf::v1::Install>> under_way;
    const auto carry = [&](std::uint64_t some) {
      for (Outgoing& out : take_outgoing(installation)) under_way[out.node].push_back(std::move(out.message));
      for (auto& [node, messages] : under_way) {
        for (std::uint64_t n = some; n > 0 && !messages.empty(); --n) {
          members[node].apply(messages.front());
          installation.acknowledged(node, ack_of(messages.front()));
          messages.pop_front();
        }
      }
    };
    for (int step = 0; step < 1500; ++step) {
      const auto number = static_cast<std::uint32_t>(1000 + dice.next() % 400);
      const std::string tunnel = "clients{" + std::to_string(number % 5) + "}";
      const std::string node = "t" + std::to_string(dice.next() % 2);
      const auto peer = IpAddress(0x0a000000 + number % 3U).to_bytes();
      switch (dice.next() % 12) {
        case 0:
          if (dice.next() % 40 == 0) installation.member_up(node), under_way[node].clear();
          break;
        case 1:
          if (dice.next() % 80 == 0) installation.member_down(node), under_way[node].clear();
          break;
        case 2:
          installation.add_filter(filter(tunnel, peer));
          break;
        case 3:
          installation.delete_filter(filter(tunnel, peer));
          break;
        case 4:
        case 5:
          installation.delete_sa({Spi(number), kDvipa});
          break;
        case 6:
          carry(dice.next() % 4);
          break;
        default:
          static_cast<void>(installation.add_sa(inbound(number, kPeer, tunnel)));
      }
    }
    installation.member_up("t1");
    under_way["t1"].clear();
    for (int i = 0; i < 1000; ++i) carry(50);
    std::map<std::uint64_t, std::uint32_t> sas;
    for (const auto& [id, sa] : installation.sas()) sas[id.value()] = sa.spi.value();
    EXPECT_EQ(members["t1"].sas, sas) << "seed " << seed;
    std::map<std::uint64_t, std::string> filters;
    for (const auto& f : installation.filters()) filters[f.id()] = f.tunnel();
    EXPECT_EQ(members["t1"].filters, filters) << "seed " << seed;
    for (const auto& [id, sa] : installation.sas()) EXPECT_TRUE(installation.holds("t1", id)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace testudo::ike
