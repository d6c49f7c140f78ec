// SPDX-License-Identifier: Apache-2.0
// Making SAs, their IVs, what they count, and the cache that holds them.
#include "ipsec/sa.h"

#include <gtest/gtest.h>

#include <functional>
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
  /// The IV that the SA's next packet gets.
  Bytes next_iv(Sa& sa) {
    const Bytes packet = protect_bare(*transforms_, sa, inner_packet(60), SeqNo(++sequence_));
    const auto first = packet.begin() + 8;
    return {first, first + sa.shape().esp_iv};
  }
  std::unique_ptr<Transforms> transforms_ = transforms_for_test(rng_);
  std::uint64_t sequence_ = 0;
  SaFactory factory_{0x123456};
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

TEST_F(SaTest, RefusesCombinationsThatDoNotExist) {
  const Suite ah{crypto::Cipher::kNone, crypto::Integrity::kHmacSha256};
  const auto with_ah = [&](SaParameters& p) {
    p.protocol = Protocol::kAh;
    p.suite = ah;
    p.key = Secret(crypto::sizes(ah).key);
  };
  const auto inner = [](Suite suite) { return InnerEsp{Spi(300), suite, Secret(crypto::sizes(suite).key)}; };
  struct Row {
    const char* message;
    std::function<void(SaParameters&)> spoil;
  };
  const Row rows[] = {
      {"an SA between 192.0.2.100 and 2001:db8::1: one outer header cannot have both",
       [](SaParameters& p) { p.remote = *IpAddress::parse("2001:db8::1"); }},
      {"HMAC-SHA256-128 is no suite of ESP",
       [&](SaParameters& p) {
         with_ah(p);
         p.protocol = Protocol::kEsp;
       }},
      {"AES-GCM-128 is no suite of AH", [](SaParameters& p) { p.protocol = Protocol::kAh; }},
      {"UDP encapsulation is for ESP only (RFC 3948)",
       [&](SaParameters& p) {
         with_ah(p);
         p.udp_encapsulation = true;
       }},
      {"an inner ESP header is only for an SA of protocol AH",
       [&](SaParameters& p) { p.inner_esp = inner(Suite::kAesGcm128Icv16); }},
      {"extended sequence numbers cannot be had for AH over ESP in one SA",
       [&](SaParameters& p) {
         with_ah(p);
         p.esn = true;
         p.inner_esp = inner(Suite::kAesGcm128Icv16);
       }},
      {"HMAC-SHA256-128 is no suite of ESP",
       [&](SaParameters& p) {
         with_ah(p);
         p.inner_esp = inner(ah);
       }},
      {"SPI 5 is reserved: 256 is the smallest (RFC 4303)",
       [&](SaParameters& p) {
         with_ah(p);
         p.inner_esp = inner(Suite::kAesGcm128Icv16);
         p.inner_esp->spi = Spi(5);
       }},
  };
  for (const Row& row : rows) {
    SaParameters p = parameters_for_test(Direction::kInbound, Suite::kAesGcm128Icv16);
    row.spoil(p);
    const auto sa = factory_.create(std::move(p));
    ASSERT_FALSE(sa.has_value()) << row.message;
    EXPECT_EQ(sa.error().message, row.message);
  }
}

TEST_F(SaTest, SaysEverythingButKeysAndTunnelName) {
  SaParameters p =
      parameters_for_test(Direction::kOutbound, {crypto::Cipher::kNone, crypto::Integrity::kAesCmac}, 7);
  p.protocol = Protocol::kAh;
  p.mode = Mode::kTransport;
  p.reqid = 12;
  p.replay_window = 4096;
  p.inner_esp = InnerEsp{Spi(300), Suite::kAesGcm128Icv16, Secret(std::size_t{20})};
  p.dont_fragment = DontFragment::kClear;
  p.copy_dscp = false;
  p.limits.hard_packets = 99;
  const SaParameters said = make(p)->parameters();
  EXPECT_EQ(said.id, p.id);
  EXPECT_EQ(said.direction, p.direction);
  EXPECT_EQ(said.protocol, p.protocol);
  EXPECT_EQ(said.mode, p.mode);
  EXPECT_EQ(said.spi, p.spi);
  EXPECT_EQ(said.local, p.local);
  EXPECT_EQ(said.remote, p.remote);
  EXPECT_EQ(said.reqid, 12u);
  EXPECT_EQ(said.suite, p.suite);
  EXPECT_EQ(said.replay_window, 4096u);
  ASSERT_TRUE(said.inner_esp.has_value());
  EXPECT_EQ(said.inner_esp->spi, Spi(300));
  EXPECT_EQ(said.inner_esp->suite, Suite::kAesGcm128Icv16);
  EXPECT_EQ(said.dont_fragment, DontFragment::kClear);
  EXPECT_FALSE(said.copy_dscp);
  EXPECT_EQ(said.limits.hard_packets, 99u);
  EXPECT_EQ(said.key.size() + said.inner_esp->key.size() + said.tunnel.size(), 0u);
}

TEST_F(SaTest, AeadIvIsIncarnationThenCounter) {
  const auto sa = make(parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16));
  for (std::uint8_t n = 0; n < 3; ++n) EXPECT_EQ(next_iv(*sa), (Bytes{0x12, 0x34, 0x56, 0, 0, 0, 0, n}));
}

// The same SA, installed again by the same worker: its key is the same, so its IVs must go on.
TEST_F(SaTest, AeadIvGoesOnWhenTheSaComesAgain) {
  std::set<Bytes> seen;
  const auto draw = [&](Sa& sa) { EXPECT_TRUE(seen.insert(next_iv(sa)).second); };
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
  std::set<Bytes> seen;
  const auto draw = [&](Sa& sa, int count) {
    for (int i = 0; i < count; ++i) EXPECT_TRUE(seen.insert(next_iv(sa)).second);
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
  EXPECT_EQ(next_iv(*one), next_iv(*two));  // another key
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
  std::set<Bytes> seen;
  for (int again = 0; again < 3; ++again) {
    const auto sa = make(parameters_for_test(Direction::kOutbound, Suite::kAesCbc128HmacSha256));
    for (int i = 0; i < 300; ++i) EXPECT_TRUE(seen.insert(next_iv(*sa)).second);
  }
}

TEST_F(SaTest, CarriesNoMoreThanItsShareOfTheHardLimits) {
  SaParameters p = parameters_for_test(Direction::kInbound, Suite::kAesGcm128Icv16);
  p.limits = {.hard_bytes = 1000, .hard_packets = 10};
  const auto sa = make(std::move(p));
  sa->allow({.bytes = 100, .packets = 3});
  EXPECT_TRUE(sa->carry(60));
  EXPECT_FALSE(sa->refused());
  EXPECT_FALSE(sa->carry(41));
  EXPECT_TRUE(sa->refused());
  EXPECT_TRUE(sa->carry(40));  // a smaller one fits
  EXPECT_TRUE(sa->refused());  // until there is more
  sa->allow({.bytes = 200, .packets = 3});
  EXPECT_FALSE(sa->refused());
  EXPECT_TRUE(sa->carry(1));
  EXPECT_FALSE(sa->carry(1));  // the packets are used up
  EXPECT_TRUE(sa->refused());
  EXPECT_EQ(sa->totals().bytes.value(), 101u);  // what was refused is not counted
  EXPECT_EQ(sa->totals().packets.value(), 3u);
}

TEST_F(SaTest, CarriesTheWholeHardLimitUnlessToldOtherwise) {
  SaParameters p = parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16);
  p.limits = {.soft_bytes = 1, .hard_packets = 2};
  const auto sa = make(std::move(p));
  EXPECT_TRUE(sa->carry(~std::uint64_t{0} / 4));
  EXPECT_TRUE(sa->carry(1));
  EXPECT_FALSE(sa->carry(1));
}

TEST_F(SaTest, CarriesAnythingWithoutHardLimits) {
  SaParameters p = parameters_for_test(Direction::kOutbound, Suite::kAesGcm128Icv16);
  p.limits = {.soft_bytes = 1, .soft_packets = 1};
  const auto sa = make(std::move(p));
  sa->allow({});
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(sa->carry(1 << 30));
  EXPECT_FALSE(sa->refused());
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
  ASSERT_NE(sad_.find_inbound(Spi(1000), Protocol::kEsp, peer_, dvipa_), nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), Protocol::kEsp, peer_, dvipa_)->id(), SaId(1));
  EXPECT_EQ(sad_.find_inbound(Spi(1001), Protocol::kEsp, peer_, dvipa_), nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), Protocol::kEsp, dvipa_, dvipa_), nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), Protocol::kEsp, peer_, peer_), nullptr);
  EXPECT_EQ(sad_.find_outbound(sad_.find(SaId(1))->tunnel()), nullptr);
  const auto removed = sad_.remove(SaId(1));
  ASSERT_NE(removed, nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), Protocol::kEsp, peer_, dvipa_), nullptr);
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
  EXPECT_EQ(sad_.size(), 1u);
}

TEST_F(SadTest, ANewerInboundSaTakesThePlaceOfOneWithTheSameSpi) {
  (void)sad_.install(inbound(1, Spi(1000)));
  const auto displaced = sad_.install(inbound(2, Spi(1000)));
  ASSERT_NE(displaced, nullptr);
  EXPECT_EQ(displaced->id(), SaId(1));
  EXPECT_EQ(sad_.find_inbound(Spi(1000), Protocol::kEsp, peer_, dvipa_)->id(), SaId(2));
  EXPECT_EQ(sad_.find(SaId(1)), nullptr);
  EXPECT_EQ(sad_.size(), 1u);
}

TEST_F(SadTest, AhAndEspAreSpacesOfTheirOwn) {
  SaParameters p =
      parameters_for_test(Direction::kInbound, {crypto::Cipher::kNone, crypto::Integrity::kHmacSha256}, 2);
  p.protocol = Protocol::kAh;
  p.spi = Spi(1000);
  EXPECT_EQ(sad_.install(inbound(1, Spi(1000))), nullptr);
  EXPECT_EQ(sad_.install(make(std::move(p))), nullptr);
  EXPECT_EQ(sad_.find_inbound(Spi(1000), Protocol::kEsp, peer_, dvipa_)->id(), SaId(1));
  EXPECT_EQ(sad_.find_inbound(Spi(1000), Protocol::kAh, peer_, dvipa_)->id(), SaId(2));
}

// RFC 3948: the NAT may give the peer another address and port between two packets.
TEST_F(SadTest, FollowsAPeerBehindANat) {
  SaParameters p = parameters_for_test(Direction::kInbound, Suite::kAesGcm128Icv16, 1);
  p.udp_encapsulation = true;
  p.remote_port = 1024;
  (void)sad_.install(make(p));
  const IpAddress elsewhere(0xcb007105);
  Sa* sa = sad_.find_inbound(p.spi, Protocol::kEsp, elsewhere, dvipa_);
  ASSERT_NE(sa, nullptr);
  EXPECT_EQ(sad_.find_inbound(p.spi, Protocol::kEsp, elsewhere, peer_), nullptr);
  EXPECT_FALSE(sa->moved({peer_, 1024}));
  EXPECT_FALSE(sa->moved({elsewhere, 0}));  // did not come in UDP
  EXPECT_TRUE(sa->moved({peer_, 1025}));
  EXPECT_TRUE(sa->moved({elsewhere, 1024}));
  sa->set_remote_endpoint({elsewhere, 1025});
  EXPECT_FALSE(sa->moved({elsewhere, 1025}));
  EXPECT_EQ(sa->remote_endpoint(), (Endpoint{elsewhere, 1025}));
  EXPECT_EQ(sad_.find_inbound(p.spi, Protocol::kEsp, elsewhere, dvipa_), sa);
  p.id = SaId(2);  // the same SPI under UDP is the same SA, wherever the peer is
  EXPECT_EQ(sad_.install(make(p))->id(), SaId(1));
  EXPECT_NE(sad_.remove(SaId(2)), nullptr);
  EXPECT_EQ(sad_.size(), 0u);
}

TEST_F(SadTest, GivesEachSaOnce) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t id = 1; id <= 20; ++id) {
    (void)sad_.install(id % 2 == 0 ? inbound(id, Spi(1000 + static_cast<std::uint32_t>(id))) : outbound(id, "a"));
  }
  (void)sad_.remove(SaId(4));
  sad_.for_each([&](const Sa& sa) { EXPECT_TRUE(seen.insert(sa.id().value()).second); });
  EXPECT_EQ(seen.size(), 19u);
  EXPECT_FALSE(seen.contains(4));
}

}  // namespace
}  // namespace testudo::ipsec
