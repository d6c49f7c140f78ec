// SPDX-License-Identifier: Apache-2.0
#include "wire/checksum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <vector>

namespace testudo::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

// As RFC 1071 section 1 says it, word by word.
std::uint16_t plain(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
    if (sum >> 16 != 0) sum = (sum & 0xffff) + 1;
  }
  return static_cast<std::uint16_t>(~sum);
}

// RFC 1071 section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2.
TEST(Checksum, OfTheRfcsExample) {
  const Bytes bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(checksum(bytes), static_cast<std::uint16_t>(~0xddf2));
}

RC_GTEST_PROP(Checksum, IsTheSumOfAllWords, (const Bytes& bytes)) { RC_ASSERT(checksum(bytes) == plain(bytes)); }

TEST(Checksum, OfLongRunsOfOnes) {
  for (const std::size_t size : {1u, 2u, 3u, 65'535u})
    EXPECT_EQ(checksum(Bytes(size, 0xff)), plain(Bytes(size, 0xff)));
}

RC_GTEST_PROP(Checksum, AddsUpFromPieces, (const Bytes& bytes)) {
  const std::size_t cut = *rc::gen::inRange<std::size_t>(0, bytes.size() / 2 + 1) * 2;
  const auto all = std::span(bytes);
  const std::size_t at = std::min(cut, bytes.size() / 2 * 2);
  RC_ASSERT(fold(add(add(0, all.first(at)), all.subspan(at))) == checksum(bytes));
}

RC_GTEST_PROP(Checksum, IsUpdatedAsIfComputedAnew, (std::array<std::uint8_t, 20> header, std::uint16_t word)) {
  RC_PRE(header[4] != 0 || header[5] != 0);  // all-zero data has two zeros (RFC 1624 section 3)
  const std::uint16_t before = checksum(header);
  const std::uint16_t old_word = static_cast<std::uint16_t>(header[2] << 8 | header[3]);
  header[2] = static_cast<std::uint8_t>(word >> 8);
  header[3] = static_cast<std::uint8_t>(word);
  RC_ASSERT(update_checksum(before, old_word, word) == checksum(header));
}

TEST(Checksum, OfAUdpDatagramWithItsPseudoHeader) {
  // 192.0.2.1:7 → 192.0.2.100:9, "abc"
  Bytes udp = {0, 7, 0, 9, 0, 11, 0, 0, 'a', 'b', 'c'};
  const auto pseudo = pseudo_header_sum(IpAddress(0xc0000201), IpAddress(0xc0000264), 17, udp.size());
  Bytes whole = {0xc0, 0, 2, 1, 0xc0, 0, 2, 100, 0, 17, 0, 11};
  whole.insert(whole.end(), udp.begin(), udp.end());
  EXPECT_EQ(fold(add(pseudo, udp)), plain(whole));
}

}  // namespace
}  // namespace testudo::wire
