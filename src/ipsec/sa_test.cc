// SPDX-License-Identifier: Apache-2.0
// Making SAs, their IVs, what they count, and the cache that holds them.
#include "ipsec/sa.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "ipsec/sa_for_test.h"
#include "ipsec/sad.h"

namespace testudo::ipsec {
namespace {

using crypto::Suite;

class SaTest : public testing::Test {
 protected:
  std::unique_ptr<Sa> make(SaParameters p) {
    auto sa = factory_.create(std::move(p));
    CHECK(sa.has_value());
    return std::move(*sa);
  }
  SeededRng rng_{1};
  SaFactory factory_{engine_for_test(), 0x123456, rng_};
};

TEST_F(SaTest, SaysWhatIsWrong) {
  struct Row {
    const char* message;
    void (*spoil)(SaParameters&);
  };
  const Row rows[] = {
      {"an SA without id: ids begin with 1", [](SaParameters& p) { p.id = SaId(); }},
      {"SPI 255 is reserved: 256 is the smallest (RFC 4303)", [](SaParameters& p) { p.spi = Spi(255); }},
      {"an SA without both tunnel addresses: local and remote are the outer header's",
       [](SaParameters& p) { p.remote = IpAddress(); }},
      {"an SA without tunnel name: filters could not refer to it", [](SaParameters& p) { p.tunnel.clear(); }},
      {"a replay window of 31 packets: 32 to 4096 can be had", [](SaParameters& p) { p.replay_window = 31; }},
      {"a replay window of 4097 packets: 32 to 4096 can be had", [](SaParameters& p) { p.replay_window = 4097; }},
      {"a key of 0 bytes for AES-GCM-128, which takes 20", [](SaParameters& p) { p.key = Secret(); }},
  };
  for (const Row& row : rows) {
    SaParameters p = parameters_for_test(Direction::kInbound, Suite::kAesGcm128Icv16);
    row.spoil(p);
    const auto sa = factory_.create(std::move(p));
    ASSERT_FALSE(sa.has_value()) << row.message;
    EXPECT_EQ(sa.error().message, row.message);
  }
}

TEST_F(SaTest, KeepsNoRawKey) {
  for (const Suite suite : kAllSuites) {
    EXPECT_EQ(make(parameters_for_test(Direction::kInbound, suite))->parameters().key.size(), 0u);
  }
}

TEST_F(SaTest, AeadIvIsIncarnationThenCounter) {
  const auto sa = make(parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16));
  std::array<std::uint8_t, 8> iv;
  for (std::uint8_t n = 0; n < 3; ++n) {
    ASSERT_TRUE(sa->next_iv(iv));
    EXPECT_EQ(iv, (std::array<std::uint8_t, 8>{0x12, 0x34, 0x56, 0, 0, 0, 0, n}));
  }
}

// The same SA, installed again by the same worker: its key is the same, so its IVs must go on.
TEST_F(SaTest, AeadIvGoesOnWhenTheSaComesAgain) {
  std::set<std::array<std::uint8_t, 8>> seen;
  const auto draw = [&](Sa& sa) {
    std::array<std::uint8_t, 8> iv;
    ASSERT_TRUE(sa.next_iv(iv));
    EXPECT_TRUE(seen.insert(iv).second);
  };
  auto first = make(parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16));
  for (int i = 0; i < 10; ++i) draw(*first);
  const auto second = make(parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16));
  for (int i = 0; i < 10; ++i) draw(i % 2 == 0 ? *first : *second);  // both are there for a while
  first.reset();
  const auto third = make(parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16));
  for (int i = 0; i < 10; ++i) draw(*third);
}

// Removed, forgotten and pushed again, at whatever moment: no IV comes twice.
TEST_F(SaTest, AeadIvGoesOnEvenAfterTheSaWasForgotten) {
  std::set<std::array<std::uint8_t, 8>> seen;
  const auto draw = [&](Sa& sa, int count) {
    for (int i = 0; i < count; ++i) {
      std::array<std::uint8_t, 8> iv;
      ASSERT_TRUE(sa.next_iv(iv));
      EXPECT_TRUE(seen.insert(iv).second);
    }
  };
  const auto params = [](std::uint64_t id) {
    return parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16, id);
  };
  auto one = make(params(5));
  draw(*one, 10);
  factory_.forget(SaId(5));
  draw(*one, 10);  // the worker has not been told yet
  auto again = make(params(5));
  draw(*one, 1);
  draw(*again, 10);
  factory_.forget(SaId(5));
  one.reset();
  factory_.forget(SaId(5));
  draw(*again, 10);  // its last user is still there
  again.reset();
  const auto third = make(params(5));
  draw(*third, 10);
}

TEST(IvSpace, StartsAnewOnlyForNewSas) {
  IvSpace space(1);
  constexpr std::uint64_t kEpoch = 9ull << 32;
  const auto use = [&](std::uint64_t id, int count) {
    const auto counter = space.counter_of(SaId(id));
    std::array<std::uint8_t, 8> iv;
    for (int i = 0; i < count; ++i) CHECK(counter->next(iv));
  };
  use(kEpoch | 10, 100);
  use(kEpoch | 11, 7);
  space.forget(SaId(kEpoch | 10));
  EXPECT_EQ(space.counter_of(SaId(kEpoch | 12))->position(), 0u);  // higher: a new one
  EXPECT_EQ(space.counter_of(SaId(kEpoch | 11))->position(), 7u);  // never forgotten
  EXPECT_EQ(space.counter_of(SaId(kEpoch | 10))->position(), 100u);
  EXPECT_EQ(space.counter_of(SaId(kEpoch | 3))->position(), 100u);  // not higher: might have been there
  EXPECT_EQ(space.counter_of(SaId(1))->position(), 0u);             // another epoch's
}

TEST_F(SaTest, IvsOfTwoSasAreCountedApart) {
  const auto one = make(parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16, 1));
  const auto two = make(parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16, 2));
  std::array<std::uint8_t, 8> a;
  std::array<std::uint8_t, 8> b;
  ASSERT_TRUE(one->next_iv(a) && two->next_iv(b));
  EXPECT_EQ(a, b);  // another key
}

TEST(IvCounter, EndsInsteadOfWrapping) {
  IvCounter counter(0xffffff, (1ull << 40) - 2);
  std::array<std::uint8_t, 8> iv{};
  EXPECT_TRUE(counter.next(iv));
  EXPECT_TRUE(counter.next(iv));
  EXPECT_EQ(iv, (std::array<std::uint8_t, 8>{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  iv = {};
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(counter.next(iv));
  EXPECT_EQ(iv, (std::array<std::uint8_t, 8>{}));
}

TEST(IvSpaceDeathTest, RefusesAnIncarnationThatCameAround) { EXPECT_DEATH(IvSpace(0x1000000), "CHECK failed"); }

TEST_F(SaTest, CbcIvsNeverRepeatEvenWhenTheSaComesAgain) {
  std::set<std::array<std::uint8_t, 16>> seen;
  for (int again = 0; again < 3; ++again) {
    const auto sa = make(parameters_for_test(Direction::kOutbound, Suite::kAesCbc128HmacSha256));
    for (int i = 0; i < 300; ++i) {
      std::array<std::uint8_t, 16> iv;
      ASSERT_TRUE(sa->next_iv(iv));
      EXPECT_TRUE(seen.insert(iv).second);
    }
  }
}

TEST_F(SaTest, ReportsWhatItCountedOnce) {
  const auto sa = make(parameters_for_test(Direction::kInbound, Suite::kAesGcm128Icv16));
  sa->count(100);
  sa->count(50);
  EXPECT_EQ(sa->unreported(), (Lifesize{.bytes = 150, .packets = 2}));
  EXPECT_EQ(sa->take_unreported(), (Lifesize{.bytes = 150, .packets = 2}));
  EXPECT_EQ(sa->take_unreported(), Lifesize{});
  sa->count(1);
  EXPECT_EQ(sa->take_unreported(), (Lifesize{.bytes = 1, .packets = 1}));
  EXPECT_EQ(sa->totals().bytes.value(), 151u);
  EXPECT_EQ(sa->totals().packets.value(), 3u);
}

TEST_F(SaTest, InfersTheHighHalfOnlyWithEsn) {
  SaParameters p = parameters_for_test(Direction::kInbound, Suite::kAesGcm128Icv16);
  const auto plain = make(p);
  p.esn = true;
  const auto esn = make(p);
  for (const auto* sa : {&plain, &esn}) (*sa)->replay().commit(SeqNo(0xffffffff));
  EXPECT_EQ(plain->full_sequence(1), SeqNo(1));
  EXPECT_EQ(esn->full_sequence(1), SeqNo(0x100000001));
}

TEST(TunnelNames, GiveDenseIds) {
  TunnelNames names;
  EXPECT_EQ(names.intern(""), TunnelId(0));
  EXPECT_EQ(names.intern("a"), TunnelId(1));
  EXPECT_EQ(names.intern("b"), TunnelId(2));
  for (int i = 0; i < 1000; ++i) (void)names.intern("tunnel-" + std::to_string(i));
  EXPECT_EQ(names.intern("a"), TunnelId(1));
  EXPECT_EQ(names.name(TunnelId(2)), "b");
  EXPECT_EQ(names.name(TunnelId(1002)), "tunnel-999");
}

class SadTest : public SaTest {
 protected:
  std::unique_ptr<Sa> outbound(std::uint64_t id, const std::string& tunnel) {
    SaParameters p = parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16, id);
    p.tunnel = tunnel;
    return make(std::move(p));
  }
  std::unique_ptr<Sa> inbound(std::uint64_t id, Spi spi) {
    SaParameters p = parameters_for_test(Direction::kInbound, Suite::kAesGcm128Icv16, id);
    p.spi = spi;
    return make(std::move(p));
  }
  Sad sad_;
  const IpAddress peer_{0xc0000201}, dvipa_{0xc0000264};
};

TEST_F(SadTest, FindsInboundBySpiAndBothAddresses) {
  EXPECT_EQ(sad_.install(inbound(1, Spi(1000))), nullptr);
  ASSERT_NE(sad_.find_inbound(Spi(1000), peer_, dvipa_), nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), peer_, dvipa_)->id(), SaId(1));
  EXPECT_EQ(sad_.find_inbound(Spi(1001), peer_, dvipa_), nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), dvipa_, dvipa_), nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), peer_, peer_), nullptr);
  EXPECT_EQ(sad_.find_outbound(sad_.find(SaId(1))->tunnel()), nullptr);
  const auto removed = sad_.remove(SaId(1));
  ASSERT_NE(removed, nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), peer_, dvipa_), nullptr);
  EXPECT_EQ(sad_.find(SaId(1)), nullptr);
  EXPECT_EQ(sad_.remove(SaId(1)), nullptr);
}

TEST_F(SadTest, UsesTheNewestOutboundSaThatIsThere) {
  const TunnelId a = factory_.tunnels().intern("a");
  EXPECT_EQ(sad_.find_outbound(a), nullptr);
  EXPECT_EQ(sad_.find_outbound(TunnelId(77)), nullptr);
  for (const std::uint64_t id : {1, 2, 3}) EXPECT_EQ(sad_.install(outbound(id, "a")), nullptr);
  EXPECT_EQ(sad_.install(outbound(4, "b")), nullptr);
  EXPECT_EQ(sad_.find_outbound(a)->id(), SaId(3));
  (void)sad_.remove(SaId(2));
  EXPECT_EQ(sad_.find_outbound(a)->id(), SaId(3));
  (void)sad_.remove(SaId(3));
  EXPECT_EQ(sad_.find_outbound(a)->id(), SaId(1));
  (void)sad_.remove(SaId(1));
  EXPECT_EQ(sad_.find_outbound(a), nullptr);
  EXPECT_EQ(sad_.find_outbound(factory_.tunnels().intern("b"))->id(), SaId(4));
}

TEST_F(SadTest, ARepeatedInstallationKeepsTheReplayWindow) {
  (void)sad_.install(inbound(1, Spi(1000)));
  sad_.find(SaId(1))->replay().commit(SeqNo(5));
  auto again = inbound(1, Spi(1000));
  const Sa* repeated = again.get();
  EXPECT_EQ(sad_.install(std::move(again)).get(), repeated);
  EXPECT_EQ(sad_.find(SaId(1))->replay().newest(), SeqNo(5));
  EXPECT_EQ(sad_.all().size(), 1u);
}

TEST_F(SadTest, ANewerInboundSaTakesThePlaceOfOneWithTheSameSpi) {
  (void)sad_.install(inbound(1, Spi(1000)));
  const auto displaced = sad_.install(inbound(2, Spi(1000)));
  ASSERT_NE(displaced, nullptr);
  EXPECT_EQ(displaced->id(), SaId(1));
  EXPECT_EQ(sad_.find_inbound(Spi(1000), peer_, dvipa_)->id(), SaId(2));
  EXPECT_EQ(sad_.find(SaId(1)), nullptr);
  EXPECT_EQ(sad_.all().size(), 1u);
}

}  // namespace
}  // namespace testudo::ipsec
