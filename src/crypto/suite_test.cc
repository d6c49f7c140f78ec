// SPDX-License-Identifier: Apache-2.0
// The tables of suites, RFC 8221's word on them, and their documentation.
#include "crypto/suite.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "crypto/advice.h"
#include "crypto/engine.h"

namespace testudo::crypto {
namespace {

TEST(Suite, EveryCombinationThatMakesSenseExistsOnce) {
  // NULL, CBC and CTR with six MACs; 9 GCM, 3 GMAC, 9 CCM, ChaCha20; and AH's: six MACs and 3 GMAC.
  EXPECT_EQ(all_suites().size(), 7u * 6 + 9 + 3 + 9 + 1 + 6 + 3);
  std::unordered_set<Suite> different(all_suites().begin(), all_suites().end());
  EXPECT_EQ(different.size(), all_suites().size());
  std::set<std::string_view> names;
  for (const Suite suite : all_suites()) names.insert(sizes(suite).name);
  EXPECT_EQ(names.size(), all_suites().size());
}

TEST(Suite, NothingElseExists) {
  for (const Suite suite :
       {Suite{}, Suite{Cipher::kAesCbc128, Integrity::kNone}, Suite{Cipher::kNull, Integrity::kNone},
        Suite{Cipher::kAesGcm128Icv16, Integrity::kHmacSha256},
        Suite{Cipher::kAesCbc128, Integrity::kAesGmac128}}) {
    EXPECT_FALSE(is_suite(suite));
    EXPECT_FALSE(suite_of_number(suite_number(suite)));
    EXPECT_FALSE(frame_fits(suite, 100));
  }
  EXPECT_FALSE(suite_of(""));
  EXPECT_FALSE(suite_of("AES-CBC-128"));
  EXPECT_FALSE(suite_of_number(0xffffffff));
  EXPECT_FALSE(suite_of_number(static_cast<std::uint32_t>(internal::kCiphers.size()) << 8));
}

// Comparing them counts on it (crypto/frame_parts.h).
TEST(Suite, IcvsHaveAtLeast8BytesAndAtMostIcvMax) {
  for (const Suite suite : all_suites()) {
    EXPECT_GE(sizes(suite).icv, 8u) << sizes(suite).name;
    EXPECT_LE(sizes(suite).icv, kIcvMax) << sizes(suite).name;
  }
}

TEST(Suite, NamesAndNumbersLeadBack) {
  for (const Suite suite : all_suites()) {
    EXPECT_EQ(suite_of(sizes(suite).name), suite);
    EXPECT_EQ(suite_of_number(suite_number(suite)), suite);
  }
  EXPECT_EQ(sizes(Suite::kAesGcm128Icv16).name, "AES-GCM-128");
  EXPECT_EQ(sizes(Suite::kAesCbc256HmacSha256).name, "AES-CBC-256+HMAC-SHA256-128");
  EXPECT_EQ(sizes({Cipher::kNone, Integrity::kHmacSha512}).name, "HMAC-SHA512-256");
  // Nodes of different versions tell each other these.
  EXPECT_EQ(suite_number(Suite::kAesGcm128Icv16), 0x0a00u);
  EXPECT_EQ(suite_number(Suite::kAesCbc128HmacSha256), 0x0202u);
  EXPECT_EQ(suite_number(Suite::kChacha20Poly1305), 0x1d00u);
}

TEST(Suite, KnowsWhatItsIvMustBe) {
  EXPECT_TRUE(needs_unique_iv(Suite::kAesGcm128Icv16));
  EXPECT_TRUE(needs_unique_iv({Cipher::kAesCtr128, Integrity::kHmacSha256}));
  EXPECT_TRUE(needs_unique_iv({Cipher::kNone, Integrity::kAesGmac128}));
  EXPECT_FALSE(needs_unique_iv(Suite::kAesCbc128HmacSha256));
  EXPECT_TRUE(needs_random_iv(Suite::kAesCbc128HmacSha256));
  for (const Suite suite : all_suites()) {
    EXPECT_FALSE(needs_unique_iv(suite) && needs_random_iv(suite));
    EXPECT_EQ(needs_unique_iv(suite) || needs_random_iv(suite), sizes(suite).iv != 0) << sizes(suite).name;
  }
}

TEST(Advice, IsTheWorseOfBoth) {
  EXPECT_EQ(advice(Suite::kAesGcm128Icv16), Advice::kMust);
  EXPECT_EQ(advice(Suite::kAesCbc128HmacSha256), Advice::kMust);
  EXPECT_EQ(advice({Cipher::kAesCbc128, Integrity::kHmacSha1}), Advice::kMustMinus);
  EXPECT_EQ(advice({Cipher::kAesCbc192, Integrity::kHmacSha1}), Advice::kMay);
  for (const Suite suite : all_suites()) EXPECT_FALSE(forbidden(suite));
}

TEST(Advice, KnowsWhatIsForbiddenByName) {
  ASSERT_NE(unfit("des"), nullptr);
  EXPECT_EQ(unfit("des")->advice, Advice::kMustNot);
  EXPECT_EQ(unfit("3des")->advice, Advice::kShouldNot);
  EXPECT_EQ(unfit("AUTH_HMAC_MD5_96"), unfit("md5"));
  EXPECT_EQ(unfit(3, 1), unfit("md5"));
  EXPECT_EQ(unfit(1, 3), unfit("3des"));
  EXPECT_EQ(unfit("aes128"), nullptr);
  EXPECT_EQ(unfit(""), nullptr);
  EXPECT_EQ(unfit(1, 12), nullptr);
}

/// The rows of docs/suites.md that begin with a name in backquotes. Tests run in the project's root.
std::vector<std::string> documented() {
  std::ifstream file("docs/suites.md");
  std::vector<std::string> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| `")) rows.push_back(line);
  }
  return rows;
}

TEST(Advice, IsWhatTheDocumentationSays) {
  std::vector<std::string> expected;
  for (std::size_t i = 1; i < internal::kCiphers.size(); ++i) {
    const auto cipher = static_cast<Cipher>(i);
    const internal::CipherRow& r = internal::row(cipher);
    expected.push_back(fmt::format("| `{}` | {} | {} | {} | {} | {} |", r.name, r.key, r.salt, r.iv,
                                   r.icv == 0 ? "" : std::to_string(r.icv), to_string(advice(cipher))));
  }
  for (std::size_t i = 1; i < internal::kIntegrities.size(); ++i) {
    const auto integrity = static_cast<Integrity>(i);
    const internal::IntegrityRow& r = internal::row(integrity);
    expected.push_back(fmt::format("| `{}` | {} | {} | {} | {} | {} |", r.name, r.key, r.salt, r.iv, r.icv,
                                   to_string(advice(integrity))));
  }
  for (const Unfit& u : kUnfit) {
    expected.push_back(fmt::format("| `{}` | {} | {} | {} |", u.name, u.proposal, to_string(u.advice), u.section));
  }
  EXPECT_THAT(documented(), testing::ElementsAreArray(expected)) << "bring docs/suites.md and src/crypto/ in step";
}

}  // namespace
}  // namespace testudo::crypto
