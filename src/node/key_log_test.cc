// SPDX-License-Identifier: Apache-2.0
#include "node/key_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "node/world_for_test.h"

namespace testudo::node {
namespace {

using testing::HasSubstr;
using testing::Not;

Secret counting(std::size_t size) {
  Secret key(size);
  for (std::size_t i = 0; i < size; ++i) key.mutable_bytes()[i] = static_cast<std::uint8_t>(i);
  return key;
}

ipsec::SaParameters sa_with(crypto::Suite suite, ipsec::Direction direction = ipsec::Direction::kOutbound) {
  ipsec::SaParameters sa = sa_of(1, direction, 0xc1d2e3f4);
  sa.suite = suite;
  sa.key = counting(crypto::sizes(suite).key);
  return sa;
}

class KeyLogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "testudo-keys-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    path = folder + "/esp_sa";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string logged(const ipsec::SaParameters& sa) {
    std::filesystem::remove(path);
    auto log = KeyLog::open(path);
    EXPECT_TRUE(log) << log.error().message;
    (*log)->add(sa);
    EXPECT_EQ((*log)->written(), 1u);
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::string folder, path;
};

TEST_F(KeyLogTest, LinesOfWiresharksTable) {
  EXPECT_THAT(
      logged(sa_with(crypto::Suite::kAesGcm128Icv16)),
      HasSubstr("\n\"IPv4\",\"192.0.2.100\",\"192.0.2.1\",\"0xc1d2e3f4\",\"AES-GCM with 16 octet ICV [RFC4106]\","
                "\"0x000102030405060708090a0b0c0d0e0f10111213\",\"NULL\",\"\"\n"));
  EXPECT_THAT(logged(sa_with(crypto::Suite::kAesCbc128HmacSha256, ipsec::Direction::kInbound)),
              HasSubstr("\n\"IPv4\",\"192.0.2.1\",\"192.0.2.100\",\"0xc1d2e3f4\",\"AES-CBC [RFC3602]\","
                        "\"0x000102030405060708090a0b0c0d0e0f\",\"HMAC-SHA-256-128 [RFC4868]\","
                        "\"0x101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\"\n"));
  EXPECT_THAT(logged(sa_with(*crypto::suite_of("NULL+AES-CMAC-96"))),
              HasSubstr("\"NULL\",\"\",\"ANY 96 bit authentication [no checking]\",\"\"\n"));
}

// Behind a NAT the peer's address changes, and the key stays.
TEST_F(KeyLogTest, AnyAddressBehindANat) {
  auto sa = sa_with(crypto::Suite::kAesGcm128Icv16);
  sa.udp_encapsulation = true;
  EXPECT_THAT(logged(sa), HasSubstr("\"192.0.2.100\",\"*\",\"0xc1d2e3f4\""));
}

// A line that Wireshark does not understand would make it refuse the whole table.
TEST_F(KeyLogTest, WhatTheTableHasNoWordsForIsAComment) {
  for (const crypto::Suite suite : crypto::all_suites()) {
    if (is_ah(suite)) continue;
    const std::string text = logged(sa_with(suite));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("#")) continue;
      EXPECT_EQ(std::count(line.begin(), line.end(), '"'), 16) << line;
    }
  }
  EXPECT_THAT(logged(sa_with(crypto::Suite::kChacha20Poly1305)), HasSubstr("# Wireshark cannot read CHACHA20"));
}

TEST_F(KeyLogTest, AhOverEspHasBoth) {
  auto sa = sa_with({crypto::Cipher::kNone, crypto::Integrity::kHmacSha256});
  sa.protocol = ipsec::Protocol::kAh;
  sa.inner_esp = ipsec::InnerEsp{.spi = Spi(0x1002),
                                 .suite = crypto::Suite::kAesCbc128HmacSha256,
                                 .key = counting(crypto::sizes(crypto::Suite::kAesCbc128HmacSha256).key)};
  const std::string text = logged(sa);
  EXPECT_THAT(text, HasSubstr("\n# AH \"IPv4\",\"192.0.2.100\",\"192.0.2.1\",\"0xc1d2e3f4\",\"0x000102"));
  EXPECT_THAT(text, HasSubstr("\n\"IPv4\",\"192.0.2.100\",\"192.0.2.1\",\"0x00001002\",\"AES-CBC [RFC3602]\""));
}

TEST_F(KeyLogTest, FileIsForItsOwnerAlone) {
  logged(sa_with(crypto::Suite::kAesGcm128Icv16));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  ::chmod(path.c_str(), 0644);
  EXPECT_FALSE(KeyLog::open(path));
  EXPECT_FALSE(KeyLog::open(folder));
  std::filesystem::create_symlink(path, folder + "/link");
  EXPECT_FALSE(KeyLog::open(folder + "/link"));
  EXPECT_FALSE(KeyLog::open(folder + "/no/such"));
}

}  // namespace
}  // namespace testudo::node
