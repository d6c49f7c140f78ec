// SPDX-License-Identifier: Apache-2.0
#include "ike/installation.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "ike/installation_world_for_test.h"

namespace testudo::ike {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(InstallationTest, TheSameNameTwiceIsRefused) {
  ASSERT_TRUE(installation_.add_sa(inbound(1000)));
  EXPECT_FALSE(installation_.add_sa(inbound(1000)));
  EXPECT_TRUE(installation_.add_sa(outbound(1000)));  // another destination
  EXPECT_TRUE(installation_.add_sa(outbound(1000, kOtherPeer)));
  ipsec::SaParameters foreign = inbound(1001);
  foreign.local = kOtherPeer;
  EXPECT_FALSE(installation_.add_sa(foreign));
}

TEST_F(InstallationTest, SpisAreValidAndUniqueAndFreedByDelete) {
  std::set<Spi> spis;
  for (int i = 0; i < 1000; ++i) {
    const Spi spi = installation_.allocate_spi();
    EXPECT_GE(spi.value(), 256U);
    EXPECT_TRUE(spis.insert(spi).second);
  }
  EXPECT_EQ(installation_.delete_sa({*spis.begin(), kDvipa}), std::nullopt);
}

/// Says small numbers first: reserved SPIs, and the same one twice.
class StubbornRng final : public Rng {
 public:
  void fill(std::span<std::uint8_t> out) override {
    std::ranges::fill(out, std::uint8_t{0});
    static constexpr std::uint16_t kValues[] = {0, 255, 256, 256, 257};
    const std::uint16_t value = kValues[std::min(next_++, std::size(kValues) - 1)];
    out[0] = static_cast<std::uint8_t>(value);
    out[1] = static_cast<std::uint8_t>(value >> 8);
  }

 private:
  std::size_t next_ = 0;
};

TEST(InstallationSpi, ReservedAndUsedNumbersArePassedOver) {
  StubbornRng rng;
  Installation installation(kDvipa, kEpoch, rng);
  EXPECT_EQ(installation.allocate_spi(), Spi(256));
  EXPECT_EQ(installation.allocate_spi(), Spi(257));
}

TEST_F(InstallationTest, UpdateKeepsTheIdAndFollowsThePeer) {
  installation_.member_up("t1");
  deliver();
  const SaId id = *installation_.add_sa(outbound(2000));
  deliver();
  EXPECT_EQ(*installation_.update_sa({Spi(2000), kPeer}, {{kDvipa, 4500}, {kOtherPeer, 6000}, true}), id);
  EXPECT_EQ(installation_.find(id)->remote_port, 6000);
  EXPECT_EQ(installation_.find(SaName{Spi(2000), kPeer}), nullptr);
  EXPECT_NE(installation_.find(SaName{Spi(2000), kOtherPeer}), nullptr);
  const auto out = take_outgoing(installation_);
  EXPECT_EQ(out.at(0).message.sas_size(), 0);  // no key travels again
  EXPECT_EQ(out.at(0).message.update_sas(0).id(), id.value());
  EXPECT_EQ(out.at(0).message.update_sas(0).remote(), kOtherPeer.to_bytes());
  EXPECT_EQ(out.at(0).message.update_sas(0).remote_port(), 6000U);
  EXPECT_TRUE(check_install(out.at(0).message));
  EXPECT_FALSE(installation_.update_sa({Spi(2000), kOtherPeer},
                                       {{kDvipa, 4500}, {*IpAddress::parse("2001:db8::1"), 6000}, true}));
  EXPECT_FALSE(installation_.update_sa({Spi(2000), kOtherPeer}, {{kPeer, 4500}, {kOtherPeer, 6000}, true}));
  EXPECT_FALSE(installation_.update_sa({Spi(1), kPeer}, {{kDvipa, 4500}, {kOtherPeer, 6000}, true}));
}

TEST_F(InstallationTest, AFilterGoesWithItsLastUse) {
  installation_.member_up("t1");
  EXPECT_TRUE(installation_.add_filter(filter("clients{1}")));
  EXPECT_FALSE(installation_.add_filter(filter("clients{1}")));  // the rekeyed CHILD_SA's
  deliver();
  EXPECT_EQ(members_["t1"].filters.size(), 1U);
  EXPECT_FALSE(installation_.delete_filter(filter("clients{1}")));
  deliver();
  EXPECT_EQ(members_["t1"].filters.size(), 1U);
  EXPECT_TRUE(installation_.delete_filter(filter("clients{1}")));
  deliver();
  EXPECT_THAT(members_["t1"].filters, IsEmpty());
  EXPECT_FALSE(installation_.delete_filter(filter("clients{1}")));
}

TEST_F(InstallationTest, OfEqualSelectorsTheLastOneIsInForce) {
  installation_.member_up("t1");
  installation_.add_filter(filter("clients{1}"));
  installation_.add_filter(filter("clients{2}"));
  deliver();
  ASSERT_EQ(members_["t1"].filters.size(), 1U);
  EXPECT_EQ(members_["t1"].filters.begin()->second, "clients{2}");
  EXPECT_TRUE(installation_.delete_filter(filter("clients{2}")));
  deliver();
  ASSERT_EQ(members_["t1"].filters.size(), 1U);
  EXPECT_EQ(members_["t1"].filters.begin()->second, "clients{1}");
  EXPECT_FALSE(installation_.delete_filter(filter("clients{9}")));
}

TEST_F(InstallationTest, AWaitingFilterGoesUnseen) {
  installation_.member_up("t1");
  installation_.add_filter(filter("clients{1}"));
  installation_.add_filter(filter("clients{2}"));
  deliver();
  EXPECT_FALSE(installation_.delete_filter(filter("clients{1}")));
  EXPECT_THAT(take_outgoing(installation_), IsEmpty());
}

TEST_F(InstallationTest, WhatACrashedDaemonLeftGoesWhenItsPeerHasNegotiatedAnew) {
  installation_.member_up("t1");
  installation_.add_filter(filter("", IpAddress(0x01020304).to_bytes()));  // the operator's own
  const SaId in = *installation_.add_sa(inbound(1000));
  const SaId out = *installation_.add_sa(outbound(2000));
  const SaId other = *installation_.add_sa(outbound(2001, kOtherPeer, "clients{2}"));
  installation_.add_filter(filter("clients{1}", kPeer.to_bytes(), true));
  installation_.add_filter(filter("clients{1}", kPeer.to_bytes(), false));
  installation_.add_filter(filter("clients{2}", kOtherPeer.to_bytes(), true));
  installation_.daemon_restarted();
  deliver();
  EXPECT_EQ(members_["t1"].sas.size(), 3U);

  installation_.add_filter(filter("clients{1}@1", kPeer.to_bytes(), true));
  EXPECT_THAT(installation_.take_deleted(), IsEmpty());  // the inbound one still names the tunnel
  installation_.add_filter(filter("clients{1}@1", kPeer.to_bytes(), false));
  EXPECT_THAT(installation_.take_deleted(), ElementsAre(in, out));
  deliver();
  EXPECT_THAT(members_["t1"].sas, ElementsAre(testing::Pair(other.value(), 2001U)));
  EXPECT_EQ(members_["t1"].filters.size(), 4U);
  EXPECT_EQ(installation_.find(in), nullptr);
}

TEST_F(InstallationTest, FlushEmptiesEveryMember) {
  installation_.member_up("t1");
  const SaId id = *installation_.add_sa(inbound(1000));
  installation_.add_filter(filter("clients{1}"));
  deliver();
  EXPECT_THAT(installation_.flush_sas(), ElementsAre(id));
  EXPECT_EQ(installation_.flush_filters().size(), 1U);
  deliver();
  EXPECT_THAT(members_["t1"].sas, IsEmpty());
  EXPECT_THAT(members_["t1"].filters, IsEmpty());
  EXPECT_THAT(installation_.flush_sas(), IsEmpty());
  EXPECT_THAT(take_outgoing(installation_), IsEmpty());
}

// charon flushes when it starts and when it ends: what the operator has loaded is not charon's.
TEST_F(InstallationTest, TheOperatorsStayWhateverTheDaemonDoes) {
  installation_.member_up("t1");
  const SaId negotiated = *installation_.add_sa(inbound(1000));
  const SaId manual = *installation_.add_sa(outbound(2001, kOtherPeer, "manual:branch"));
  installation_.add_filter(filter("clients{1}"));
  installation_.add_filter(filter("manual:branch", kOtherPeer.to_bytes()), Origin::kOperator);
  installation_.add_filter(filter("", IpAddress(0x01020304).to_bytes(), true), Origin::kOperator);
  installation_.add_filter(filter("", IpAddress(0x01020304).to_bytes(), true));  // charon's, the same
  installation_.daemon_restarted();
  EXPECT_FALSE(installation_.delete_filter(filter("manual:branch", kOtherPeer.to_bytes())));  // not the daemon's
  EXPECT_THAT(installation_.flush_sas(Origin::kDaemon), ElementsAre(negotiated));
  EXPECT_EQ(installation_.flush_filters().size(), 1U);
  deliver();
  EXPECT_THAT(members_["t1"].sas, ElementsAre(testing::Pair(manual.value(), 2001U)));
  EXPECT_EQ(members_["t1"].filters.size(), 2U);
  EXPECT_TRUE(installation_.delete_filter(filter("", IpAddress(0x01020304).to_bytes(), true), Origin::kOperator));
  EXPECT_FALSE(installation_.delete_filter(filter("", IpAddress(0x01020304).to_bytes(), true), Origin::kOperator));
  EXPECT_TRUE(installation_.delete_filter(filter("manual:branch", kOtherPeer.to_bytes()), Origin::kOperator));
  deliver();
  EXPECT_THAT(members_["t1"].filters, IsEmpty());
}

TEST_F(InstallationTest, AnOperatorsFilterComesBackWhenTheDaemonsGoes) {
  installation_.member_up("t1");
  installation_.add_filter(filter("manual:branch"), Origin::kOperator);
  installation_.add_filter(filter("clients{1}"));  // the same selectors: it is in force now
  deliver();
  EXPECT_EQ(members_["t1"].filters.begin()->second, "clients{1}");
  EXPECT_EQ(installation_.flush_filters().size(), 1U);
  deliver();
  ASSERT_EQ(members_["t1"].filters.size(), 1U);
  EXPECT_EQ(members_["t1"].filters.begin()->second, "manual:branch");
}

/// Whatever happens in whatever order, a member that has applied everything has what the owner has.
RC_GTEST_PROP(Installation, MembersThatHaveAppliedEverythingAgreeWithTheOwner, (std::vector<std::uint8_t> steps)) {
  SeededRng rng(1);
  Installation installation(kDvipa, kEpoch, rng);
  std::map<std::string, Member> members;
  std::set<std::string> up;
  for (const std::uint8_t step : steps) {
    const std::uint32_t number = 1000 + step % 4U;
    const std::string node = step % 2 != 0 ? "t1" : "t2";
    const std::string tunnel = step % 2 != 0 ? "a{1}" : "b{2}";
    switch (step / 4 % 8) {
      case 0:
        installation.member_up(node);
        up.insert(node);
        break;
      case 1:
        installation.member_down(node);
        up.erase(node);
        members.erase(node);
        break;
      case 2:
        static_cast<void>(installation.add_sa(inbound(number, kPeer, tunnel)));
        break;
      case 3:
        installation.delete_sa({Spi(number), kDvipa});
        break;
      case 4:
      case 5:
        installation.add_filter(filter(tunnel, IpAddress(0x0a000000 + step % 3U).to_bytes()));
        break;
      case 6:
        installation.delete_filter(filter(tunnel, IpAddress(0x0a000000 + step % 3U).to_bytes()));
        break;
      default:
        installation.daemon_restarted();
    }
    for (const Outgoing& out : take_outgoing(installation)) {
      RC_ASSERT(up.contains(out.node));
      members[out.node].apply(out.message);
      installation.acknowledged(out.node, ack_of(out.message));
    }
    for (const std::string& each : up) {
      std::map<std::uint64_t, std::uint32_t> sas;
      for (const auto& [id, sa] : installation.sas()) sas[id.value()] = sa.spi.value();
      RC_ASSERT(members[each].sas == sas);
      std::map<std::uint64_t, std::string> filters;
      for (const auto& f : installation.filters()) filters[f.id()] = f.tunnel();
      RC_ASSERT(members[each].filters == filters);
      for (const auto& [id, sa] : installation.sas()) RC_ASSERT(installation.holds(each, id));
    }
  }
}

}  // namespace
}  // namespace testudo::ike
