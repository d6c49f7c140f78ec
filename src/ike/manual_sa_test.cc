// SPDX-License-Identifier: Apache-2.0
#include "ike/manual_sa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/rng.h"
#include "crypto/advice.h"

namespace testudo::ike {
namespace {

using testing::HasSubstr;

ipsec::SaParameters sa_of(crypto::Suite suite, std::uint64_t seed) {
  ipsec::SaParameters sa;
  sa.direction = ipsec::Direction::kOutbound;
  sa.suite = suite;
  sa.key = Secret(crypto::sizes(suite).key);
  SeededRng(seed).fill(sa.key.mutable_bytes());
  return sa;
}

TEST(ManualSa, TunnelNamesAreUnlikeCharons) {
  EXPECT_EQ(manual_tunnel("branch"), "manual:branch");
  EXPECT_TRUE(is_manual(manual_tunnel("branch")));
  EXPECT_FALSE(is_manual("clients{1}"));
  EXPECT_FALSE(is_manual("manual:x{1}@2"));  // a connection that somebody has called so
  EXPECT_FALSE(is_manual(""));
}

TEST(ManualSa, SuitesThatMustNeverSeeAnIvTwiceAreRefused) {
  for (const crypto::Suite suite : crypto::all_suites()) {
    const auto taken = check_manual_suite(suite);
    EXPECT_EQ(taken.has_value(), !crypto::manual_keys_forbidden(suite)) << crypto::sizes(suite).name;
    if (!taken) {
      EXPECT_THAT(taken.error().message, HasSubstr("RFC 8221 section 3"));
    }
  }
}

TEST(ManualSa, NumbersAreNamedByTheAuthenticationKeyAlone) {
  std::set<std::string> names;
  std::size_t suites = 0;
  for (const crypto::Suite suite : crypto::all_suites()) {
    if (!check_manual_suite(suite)) continue;
    const auto name = sequence_name(sa_of(suite, ++suites));
    EXPECT_EQ(name.size(), 32u);
    EXPECT_EQ(name.find_first_not_of("0123456789abcdef"), std::string::npos);
    names.insert(name);
  }
  EXPECT_EQ(names.size(), suites);
  ipsec::SaParameters sa = sa_of(crypto::Suite::kAesCbc128HmacSha256, 1);
  const std::string name = sequence_name(sa);
  sa.spi = Spi(7777);  // another SPI, peer or encryption key: the same ICVs
  sa.remote = IpAddress(0x01020304);
  sa.key.mutable_bytes()[0] ^= 1;
  EXPECT_EQ(sequence_name(sa), name);
  sa.key.mutable_bytes().back() ^= 1;
  EXPECT_NE(sequence_name(sa), name);
  ipsec::SaParameters ah = sa_of({crypto::Cipher::kNone, crypto::Integrity::kHmacSha256}, 1);
  std::ranges::copy(sa.key.bytes().last(32), ah.key.mutable_bytes().begin());
  EXPECT_EQ(sequence_name(ah), sequence_name(sa));  // AH with the same key
}

}  // namespace
}  // namespace testudo::ike
