// SPDX-License-Identifier: Apache-2.0
// That each check bites.
#include "sim/invariants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sim/tcp_packet.h"

namespace testudo::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr IpAddress kDvipa{0xc0000264};
constexpr IpAddress kPlain{0xc0000265};
constexpr Spi kSpi{0xc1000000};
constexpr SaId kSa{7};

std::vector<std::uint8_t> esp(std::uint32_t spi, std::uint8_t seq, std::uint8_t iv) {
  std::vector<std::uint8_t> packet(64);
  for (int i = 0; i < 4; ++i) packet[i] = static_cast<std::uint8_t>(spi >> (24 - 8 * i));
  packet[7] = seq;
  packet[15] = iv;
  return packet;
}

class InvariantsTest : public testing::Test {
 protected:
  void SetUp() override {
    invariants.outbound_sa(kSpi, kSa, crypto::Suite::kAesGcm128Icv16);
    invariants.ceiling(kSa, SeqNo(10));
    invariants.clear_permitted(kPlain);
  }
  void send(const std::string& node, std::uint8_t seq, std::uint8_t iv) {
    invariants.protected_sent(node, esp(kSpi.value(), seq, iv));
  }
  Invariants invariants;
};

TEST_F(InvariantsTest, SayNothingWhenAllIsWell) {
  send("t1", 1, 1);
  send("t2", 2, 2);
  invariants.delivered("t1", 1);
  invariants.delivered("t2", 2);
  invariants.owners(kDvipa, {"owner"});
  invariants.ceiling(kSa, SeqNo(20));
  invariants.clear_sent("t1", build_tcp({.source = {kPlain, 80}, .destination = {IpAddress(1), 40000}}));
  EXPECT_THAT(invariants.violations(), IsEmpty());
}

TEST_F(InvariantsTest, NothingBeyondTheHardLimits) {
  invariants.limits({.hard_packets = 2});
  send("t1", 1, 1);
  send("t2", 2, 2);
  EXPECT_THAT(invariants.violations(), IsEmpty());
  send("t1", 3, 3);
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("was sent on beyond its hard limit: 3 packets")));
}

TEST_F(InvariantsTest, NothingAcceptedBeyondTheHardLimits) {
  invariants.limits({.hard_bytes = 100});
  for (std::uint32_t number = 1; number <= 4; ++number) invariants.client_sent(Spi(9), number);
  invariants.delivered("t1", 1, 60);
  invariants.delivered("t2", 2, 40);
  EXPECT_THAT(invariants.violations(), IsEmpty());
  invariants.delivered("t2", 3, 1);
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("SPI 0x9 brought more than its hard limit")));
}

TEST_F(InvariantsTest, NodesCountNoMoreThanTheHardLimits) {
  invariants.limits({.hard_bytes = 100});
  for (std::uint32_t number = 1; number <= 9; ++number) invariants.client_sent(Spi(9), number);
  const auto count = [&](const std::string& node, std::uint64_t life, std::uint64_t bytes) {
    invariants.carried({.node = node, .life = life, .id = SaId(5), .spi = Spi(9), .bytes = bytes, .packets = 1});
  };
  count("t1", 1, 60);
  count("t2", 1, 20);
  count("t2", 1, 30);
  count("t2", 2, 10);  // it has started anew
  EXPECT_THAT(invariants.violations(), IsEmpty());
  count("t2", 2, 11);
  EXPECT_THAT(invariants.violations(),
              ElementsAre(HasSubstr("SA 5 was used beyond its hard limit: 3 packets, 101")));
}

TEST_F(InvariantsTest, NothingAgesByWhatTheSenderHasNotSent) {
  invariants.client_sent(Spi(9), 1);
  invariants.carried({.node = "t1", .life = 1, .id = SaId(5), .spi = Spi(9), .bytes = 60, .packets = 1});
  EXPECT_THAT(invariants.violations(), IsEmpty());
  invariants.carried({.node = "t1", .life = 1, .id = SaId(5), .spi = Spi(9), .bytes = 120, .packets = 2});
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("has aged by 2 packets, and 1 were sent")));
}

TEST_F(InvariantsTest, NoSequenceNumberTwice) {
  send("t1", 1, 1);
  send("t2", 1, 2);
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("sent twice: by t1, then by t2")));
}

TEST_F(InvariantsTest, NoIvTwice) {
  send("t1", 1, 1);
  send("t2", 2, 1);
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("t2 used the IV 0000000000000001")));
}

TEST_F(InvariantsTest, NothingAboveTheCeiling) {
  send("t1", 11, 1);
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("above the ceiling 10")));
}

TEST_F(InvariantsTest, NoCeilingGoesDown) {
  invariants.ceiling(kSa, SeqNo(9));
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("went down from 10 to 9")));
}

TEST_F(InvariantsTest, NothingOnAnUnknownSa) {
  invariants.protected_sent("t1", esp(0xc1000099, 1, 1));
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("which no owner has installed")));
}

TEST_F(InvariantsTest, NothingInTheClear) {
  invariants.clear_sent("t1", build_tcp({.source = {kDvipa, 80}, .destination = {IpAddress(1), 40000}}));
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("from 192.0.2.100 to 0.0.0.1 in the clear")));
}

TEST_F(InvariantsTest, NothingDeliveredTwice) {
  invariants.delivered("t1", 5);
  invariants.delivered("t3", 5);
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("delivered twice: at t1, then at t3")));
}

TEST_F(InvariantsTest, NoTwoOwners) {
  invariants.owners(kDvipa, {"owner", "backup"});
  EXPECT_THAT(invariants.violations(), ElementsAre(HasSubstr("has 2 owners: owner, backup")));
}

}  // namespace
}  // namespace testudo::sim
