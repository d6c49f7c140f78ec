// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "ipsec/sa_for_test.h"
#include "ipsec/sad.h"

namespace testudo::ipsec {
namespace {

constexpr auto kSuite = crypto::Suite::kAesGcm128Icv16;
constexpr IpAddress kElsewhere(0xcb007105);

class SadMove : public testing::Test {
 protected:
  Sa& install(Direction direction, std::uint64_t id, IpAddress remote = IpAddress(0xc0000201)) {
    SaParameters p = parameters_for_test(direction, kSuite, id);
    p.remote = remote;
    auto sa = pair_.factory.create(std::move(p));
    EXPECT_TRUE(sa);
    EXPECT_EQ(sad_.install(std::move(*sa)), nullptr);
    return *sad_.find(SaId(id));
  }
  Sa* inbound(IpAddress remote) {
    return sad_.find_inbound(Spi(0xc0ffee00), Protocol::kEsp, remote, IpAddress(0xc0000264));
  }

  SaPair pair_{kSuite};
  Sad sad_;
};

TEST_F(SadMove, AnInboundSaIsFoundAtItsNewPlaceAndKeepsItsWindow) {
  Sa& sa = install(Direction::kInbound, 1);
  sa.replay().commit(SeqNo(5));
  EXPECT_EQ(sad_.move(SaId(1), {{kElsewhere, 6000}, 4500, true}), nullptr);
  EXPECT_EQ(inbound(kElsewhere), &sa);
  EXPECT_EQ(sa.replay().newest(), SeqNo(5));
  EXPECT_EQ(sa.parameters().remote_port, 6000);
  EXPECT_TRUE(sa.parameters().udp_encapsulation);
  EXPECT_EQ(sad_.move(SaId(1), {{kElsewhere, 0}, 0, false}), nullptr);  // the NAT is gone
  EXPECT_EQ(inbound(kElsewhere), &sa);
  EXPECT_EQ(inbound(IpAddress(0xc0000201)), nullptr);
  EXPECT_NE(sad_.remove(SaId(1)), nullptr);
  EXPECT_EQ(inbound(kElsewhere), nullptr);
}

TEST_F(SadMove, AnOutboundSaSendsToItsNewPlace) {
  Sa& sa = install(Direction::kOutbound, 1);
  EXPECT_EQ(sad_.move(SaId(1), {{kElsewhere, 6000}, 4500, true}), nullptr);
  EXPECT_EQ(sad_.find_outbound(sa.tunnel()), &sa);
  EXPECT_EQ(sa.parameters().remote, kElsewhere);
}

TEST_F(SadMove, WhatStandsInTheWayGoes) {
  install(Direction::kInbound, 1);
  install(Direction::kInbound, 2, kElsewhere);
  const auto displaced = sad_.move(SaId(1), {{kElsewhere, 0}, 0, false});
  ASSERT_NE(displaced, nullptr);
  EXPECT_EQ(displaced->id(), SaId(2));
  EXPECT_EQ(inbound(kElsewhere)->id(), SaId(1));
  EXPECT_EQ(sad_.find(SaId(2)), nullptr);
}

TEST_F(SadMove, AnUnknownSaIsLeftAlone) {
  EXPECT_EQ(sad_.move(SaId(7), {{kElsewhere, 6000}, 4500, true}), nullptr);
}

}  // namespace
}  // namespace testudo::ipsec
