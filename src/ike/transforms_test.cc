// SPDX-License-Identifier: Apache-2.0
#include "ike/transforms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>

namespace testudo::ike {
namespace {

using crypto::Cipher;
using crypto::Integrity;
using crypto::Suite;
using ipsec::Protocol;
using testing::HasSubstr;

struct Row {
  const char* proposal;
  Algorithms algorithms;
  const char* suite;  // its name; empty: refused
};
constexpr auto kEsp = Protocol::kEsp;
constexpr auto kAh = Protocol::kAh;

// What strongSwan makes of each entry of esp_proposals and ah_proposals, and what becomes of it.
const Row kRows[] = {
    {"aes128gcm16", {kEsp, 20, 20, 1024, 0}, "AES-GCM-128"},
    {"aes256gcm16, integrity 0", {kEsp, 20, 36, 0, 0}, "AES-GCM-256"},
    {"aes192gcm12", {kEsp, 19, 28, 1024, 0}, "AES-GCM-192-ICV12"},
    {"aes256gcm8", {kEsp, 18, 36, 1024, 0}, "AES-GCM-256-ICV8"},
    {"aes128gcm16 without its salt", {kEsp, 20, 16, 1024, 0}, ""},
    {"aes128gcm16 with an integrity algorithm", {kEsp, 20, 20, 12, 32}, ""},
    {"aes128ccm8", {kEsp, 14, 19, 1024, 0}, "AES-CCM-128-ICV8"},
    {"aes192ccm12", {kEsp, 15, 27, 1024, 0}, "AES-CCM-192-ICV12"},
    {"aes256ccm16", {kEsp, 16, 35, 1024, 0}, "AES-CCM-256"},
    {"aes192gmac", {kEsp, 21, 28, 1024, 0}, "NULL-AES-GMAC-192"},
    {"chacha20poly1305", {kEsp, 28, 36, 1024, 0}, "CHACHA20-POLY1305"},
    {"aes128-sha256", {kEsp, 12, 16, 12, 32}, "AES-CBC-128+HMAC-SHA256-128"},
    {"aes192-sha384", {kEsp, 12, 24, 13, 48}, "AES-CBC-192+HMAC-SHA384-192"},
    {"aes256-sha512", {kEsp, 12, 32, 14, 64}, "AES-CBC-256+HMAC-SHA512-256"},
    {"aes128ctr-sha1", {kEsp, 13, 20, 2, 20}, "AES-CTR-128+HMAC-SHA1-96"},
    {"aes256ctr-aesxcbc", {kEsp, 13, 36, 5, 16}, "AES-CTR-256+AES-XCBC-96"},
    {"null-aescmac", {kEsp, 11, 0, 8, 16}, "NULL+AES-CMAC-96"},
    {"aes128-sha256 with a short key", {kEsp, 12, 16, 12, 20}, ""},
    {"aes128, no integrity", {kEsp, 12, 16, 1024, 0}, ""},
    {"null, no integrity", {kEsp, 11, 0, 0, 0}, ""},
    {"no encryption", {kEsp, 0, 0, 12, 32}, ""},
    {"aes128-aes128gmac", {kEsp, 12, 16, 9, 20}, ""},
    {"3des-md5", {kEsp, 3, 24, 1, 16}, ""},
    {"private use", {kEsp, 60000, 16, 1024, 0}, ""},
    {"ah sha1", {kAh, 1024, 0, 2, 20}, "HMAC-SHA1-96"},
    {"ah sha256", {kAh, 1024, 0, 12, 32}, "HMAC-SHA256-128"},
    {"ah aesxcbc", {kAh, 0, 0, 5, 16}, "AES-XCBC-96"},
    {"ah aes256gmac", {kAh, 0, 0, 11, 36}, "AES-GMAC-256"},
    {"ah md5", {kAh, 0, 0, 1, 16}, ""},
    {"ah, nothing", {kAh, 0, 0, 0, 0}, ""},
};

TEST(Transforms, TruthTable) {
  for (const Row& row : kRows) {
    const auto suite = suite_of(row.algorithms);
    ASSERT_EQ(suite.has_value(), *row.suite != '\0') << row.proposal;
    if (suite) {
      EXPECT_EQ(sizes(*suite).name, row.suite) << row.proposal;
      EXPECT_EQ(sizes(*suite).key, row.algorithms.encryption_key + row.algorithms.integrity_key) << row.proposal;
    } else {
      EXPECT_THAT(suite.error().message, HasSubstr(row.algorithms.protocol == kAh ? "Supported: ah_proposals"
                                                                                  : "Supported: esp_proposals"))
          << row.proposal;
    }
  }
}

TEST(Transforms, RefusalNamesTheProposal) {
  EXPECT_THAT(suite_of({kEsp, 3, 24, 1, 16}).error().message,
              HasSubstr("ESP proposal 3DES_CBC(3) with a key of 192 bits, HMAC_MD5_96(1) with 128 bits"));
  EXPECT_THAT(suite_of({kAh, 0, 0, 1, 16}).error().message, HasSubstr("AH proposal HMAC_MD5_96(1) with 128 bits"));
}

// Whatever the engine can do has numbers by which charon can negotiate it.
TEST(Transforms, EverySuiteHasNumbers) {
  std::set<std::string_view> reached;
  for (std::uint32_t e = 0; e <= 40; ++e) {
    for (const std::uint32_t bits : {0U, 128U, 192U, 256U}) {
      const auto cipher_key = encryption_key_size(e, bits);
      for (std::uint32_t i = 0; i <= 20; ++i) {
        const auto integrity_key = integrity_key_size(i);
        if (const auto esp = suite_of({kEsp, e, cipher_key.value_or(0), i, integrity_key.value_or(0)}))
          reached.insert(sizes(*esp).name);
        if (const auto ah = suite_of({kAh, 0, 0, i, integrity_key.value_or(0)})) reached.insert(sizes(*ah).name);
      }
    }
  }
  for (const Suite suite : crypto::all_suites())
    EXPECT_TRUE(reached.contains(sizes(suite).name)) << sizes(suite).name;
}

TEST(Transforms, KeySizesOfProposals) {
  EXPECT_EQ(encryption_key_size(20, 192), 28U);
  EXPECT_EQ(encryption_key_size(28, 0), 36U);
  EXPECT_EQ(encryption_key_size(28, 256), 36U);
  EXPECT_EQ(encryption_key_size(12, 64), std::nullopt);
  EXPECT_EQ(encryption_key_size(3, 0), std::nullopt);
  EXPECT_EQ(integrity_key_size(14), 64U);
  EXPECT_EQ(integrity_key_size(1), std::nullopt);
  EXPECT_TRUE(is_aead(20));
  EXPECT_TRUE(is_aead(21));
  EXPECT_FALSE(is_aead(12));
  EXPECT_FALSE(is_aead(11));
}

}  // namespace
}  // namespace testudo::ike
