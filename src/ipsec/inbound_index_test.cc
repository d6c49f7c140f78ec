// SPDX-License-Identifier: Apache-2.0
#include "ipsec/inbound_index.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/rng.h"
#include "ipsec/sa_for_test.h"

namespace testudo::ipsec {
namespace {

class InboundIndexTest : public testing::Test {
 protected:
  std::unique_ptr<Sa> make(std::uint32_t spi) {
    SaParameters p = parameters_for_test(Direction::kInbound, crypto::Suite::kAesGcm128Icv16, spi);
    p.spi = Spi(spi);
    return std::move(*factory_.create(std::move(p)));
  }
  Sa* find(std::uint32_t spi) {
    const auto hash = InboundIndex::hash(Spi(spi), local_);
    index_.prefetch(hash);
    if (const Sa* sa = index_.guess(hash)) sa->prefetch();
    return index_.find(hash, [spi](const Sa& sa) { return sa.spi() == Spi(spi); });
  }

  SaFactory factory_{1};
  const IpAddress local_ = parameters_for_test(Direction::kInbound, crypto::Suite::kAesGcm128Icv16).local;
  InboundIndex index_;
};

TEST_F(InboundIndexTest, AgainstAModelWhileItGrowsAndShrinks) {
  constexpr std::uint32_t kSpis = 3000;
  std::vector<std::unique_ptr<Sa>> all(kSpis), in(kSpis);
  for (std::uint32_t i = 0; i < kSpis; ++i) all[i] = make(1000 + i);
  SeededRng rng(9);
  for (int step = 0; step < 30'000; ++step) {
    const auto i = static_cast<std::size_t>(rng.next() % kSpis);
    if (all[i]) {
      index_.insert(*all[i]);
      in[i] = std::move(all[i]);
    } else if (step % 3 != 0) {
      index_.erase(*in[i]);
      all[i] = std::move(in[i]);
    }
    const auto asked = static_cast<std::size_t>(rng.next() % kSpis);
    ASSERT_EQ(find(static_cast<std::uint32_t>(1000 + asked)), in[asked].get());
  }
  for (std::uint32_t i = 0; i < kSpis; ++i) ASSERT_EQ(find(1000 + i), in[i].get());
}

// Peers may have chosen one SPI: the index says which SAs to look at.
TEST_F(InboundIndexTest, KeepsSasOfOneSpiApart) {
  const auto a = make(5000), b = make(5000), c = make(5000);
  for (Sa* sa : {a.get(), b.get(), c.get()}) index_.insert(*sa);
  const auto is = [&](const Sa* wanted) {
    return index_.find(InboundIndex::hash(*wanted), [wanted](const Sa& sa) { return &sa == wanted; }) == wanted;
  };
  index_.erase(*a);
  EXPECT_TRUE(!is(a.get()) && is(b.get()) && is(c.get()));
  index_.erase(*c);
  EXPECT_TRUE(is(b.get()) && !is(c.get()));
}

}  // namespace
}  // namespace testudo::ipsec
