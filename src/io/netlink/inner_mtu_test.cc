// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/inner_mtu.h"

#include <gtest/gtest.h>

namespace testudo::io {
namespace {

TEST(InnerMtu, TruthTable) {
  struct Row {
    const char* what;
    InterfaceMtus mtus;
    bool v4;
    InnerSizes sizes;
  };
  const Row rows[] = {
      {"XCF with jumbo frames: the TUN's MTU", {1400, 1500, 9000}, true, {1400, 1360}},
      {"IPv6: a larger outer header", {1400, 1500, 9000}, false, {1390, 1330}},
      {"no XCF", {1400, 1500, 0}, true, {1400, 1360}},
      {"the network says", {9000, 1500, 9000}, true, {1406, 1366}},
      {"XCF of the network's size", {1400, 1500, 1500}, true, {1400, 1302}},
      {"the same, IPv6", {1400, 1500, 1500}, false, {1390, 1266}},
      {"IPv6 is never below 1280", {1280, 1280, 1500}, false, {1280, 1220}},
      {"a link that is too small for anything", {1400, 100, 100}, true, {68, 28}},
  };
  for (const Row& row : rows) {
    const InnerSizes sizes = inner_sizes(row.mtus, row.v4);
    EXPECT_EQ(sizes.mtu, row.sizes.mtu) << row.what;
    EXPECT_EQ(sizes.mss, row.sizes.mss) << row.what;
  }
}

// AES-CBC with HMAC-SHA2-512-256 in UDP, as RFC 4303 lays it out.
std::uint32_t protected_size(std::uint32_t inner, std::uint32_t ip_header) {
  const std::uint32_t padded = (inner + 2 + 15) / 16 * 16;
  return ip_header + 8 + 8 + 16 + padded + 32;
}

TEST(InnerMtu, IsTheLargestThatFits) {
  for (std::uint32_t network = 1400; network < 1600; ++network) {
    for (const bool v4 : {true, false}) {
      const std::uint32_t mtu = inner_sizes({65535, network, 0}, v4).mtu;
      if (!v4 && mtu == 1280) continue;
      EXPECT_LE(protected_size(mtu, v4 ? 20 : 40), network);
      EXPECT_GT(protected_size(mtu + 1, v4 ? 20 : 40), network);
    }
  }
}

}  // namespace
}  // namespace testudo::io
