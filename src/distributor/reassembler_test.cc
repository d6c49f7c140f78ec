// SPDX-License-Identifier: Apache-2.0
#include "distributor/reassembler.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "distributor/fragments_for_test.h"

namespace testudo::distributor {
namespace {

class ReassemblerTest : public testing::TestWithParam<bool> {
 protected:
  Bytes whole(std::size_t payload = 3000, std::uint8_t seed = 1) const {
    return packet_to_cut(GetParam(), payload, seed);
  }
  Bytes piece(std::size_t from, std::size_t to, std::uint32_t id = 7) const {
    return fragment_of(whole(), from, to, id);
  }
  Reassembler::Result add(const Bytes& fragment, std::uint32_t context = 0) {
    const auto ip = wire::parse_ip(fragment);
    EXPECT_TRUE(ip && ip->is_fragment());
    return reassembler.add(*ip, context, now);
  }
  static Bytes bytes(std::span<const std::uint8_t> span) { return {span.begin(), span.end()}; }

  Reassembler reassembler{{.packets = 4, .timeout = 15s}};
  Time now{1h};
};

INSTANTIATE_TEST_SUITE_P(Families, ReassemblerTest, testing::Values(false, true),
                         [](const auto& which) { return which.param ? "IPv6" : "IPv4"; });

TEST_P(ReassemblerTest, InAnyOrder) {
  std::vector<std::pair<std::size_t, std::size_t>> pieces = {{0, 1000}, {1000, 2000}, {2000, 2008}, {2008, 3000}};
  do {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const auto result = add(piece(pieces[i].first, pieces[i].second));
      ASSERT_FALSE(result.drop);
      if (i + 1 < pieces.size()) {
        ASSERT_TRUE(result.waits());
      } else {
        ASSERT_EQ(bytes(result.whole), whole());
      }
    }
    reassembler.recycle();
  } while (std::ranges::next_permutation(pieces).found);
  EXPECT_EQ(reassembler.take_lost(), 0u);
}

TEST_P(ReassemblerTest, KeepsApartWhatDoesNotBelongTogether) {
  EXPECT_TRUE(add(piece(0, 1000)).waits());
  EXPECT_TRUE(add(piece(1000, 3000, 8)).waits());  // another packet
  EXPECT_TRUE(add(piece(1000, 3000), 1).waits());  // by another tunnel
  EXPECT_FALSE(add(piece(1000, 3000)).whole.empty());
}

TEST_P(ReassemblerTest, OverlapIsTheEndOfThePacket) {
  const std::pair<std::size_t, std::size_t> overlapping[] = {{0, 1000}, {992, 2000}, {1600, 2400}, {1992, 3000}};
  for (const auto& [from, to] : overlapping) {
    reassembler = Reassembler({.packets = 4, .timeout = 15s});
    ASSERT_TRUE(add(piece(0, 800)).waits());
    ASSERT_TRUE(add(piece(1200, 2000)).waits());
    Bytes other = fragment_of(whole(3000, 9), from, to, 7);
    EXPECT_EQ(add(other).drop, Drop::kFragmentOverlap) << from;
    EXPECT_EQ(reassembler.take_lost(), 2u);
    EXPECT_EQ(add(piece(800, 1200)).drop, Drop::kFragmentOverlap);
    EXPECT_EQ(add(piece(2000, 3000)).drop, Drop::kFragmentOverlap);
    now += 15s;
    EXPECT_TRUE(add(piece(2000, 3000)).waits());  // a new one with its number
  }
}

TEST_P(ReassemblerTest, ACopyDoesNoHarm) {
  ASSERT_TRUE(add(piece(0, 1000)).waits());
  EXPECT_EQ(add(piece(0, 1000)).drop, Drop::kFragment);
  ASSERT_TRUE(add(piece(2000, 3000)).waits());
  EXPECT_EQ(add(piece(2000, 3000)).drop, Drop::kFragment);
  EXPECT_EQ(bytes(add(piece(1000, 2000)).whole), whole());
}

TEST_P(ReassemblerTest, ImpossibleFragments) {
  Bytes odd = piece(0, 1000);
  ASSERT_EQ(add(fragment_of(whole(), 0, 1001, 7)).drop, Drop::kMalformed);  // not a multiple of 8
  ASSERT_EQ(add(fragment_of(whole(), 8, 8, 9)).drop, Drop::kMalformed);     // empty
  ASSERT_TRUE(add(piece(2000, 3000, 10)).waits());                          // the end is at 3000
  EXPECT_EQ(add(fragment_of(whole(4000), 3000, 3200, 10)).drop, Drop::kFragmentOverlap);
  ASSERT_TRUE(add(fragment_of(whole(4000), 3200, 3400, 11)).waits());
  EXPECT_EQ(add(piece(2000, 3000, 11)).drop, Drop::kFragmentOverlap);  // an end before what is there
  // Past the end of the largest packet.
  Bytes far = fragment_of(whole(65000), 64000, 64800, 12);
  ASSERT_TRUE(add(far).waits());
  shift(far, 65528);
  EXPECT_EQ(add(far).drop, Drop::kMalformed);
}

TEST_P(ReassemblerTest, TimeAndRoomAreBounded) {
  EXPECT_EQ(reassembler.next_timer(), Time::max());
  for (std::uint32_t id = 0; id < 4; ++id) {
    ASSERT_TRUE(add(piece(0, 1000, id)).waits());
    now += 1s;
  }
  EXPECT_EQ(reassembler.next_timer(), now - 4s + 15s);
  ASSERT_TRUE(add(piece(0, 1000, 4)).waits());  // the oldest makes room
  EXPECT_EQ(reassembler.take_lost(), 1u);
  EXPECT_TRUE(add(piece(1000, 3000, 0)).waits());  // and another one for it
  EXPECT_FALSE(add(piece(1000, 3000, 4)).whole.empty());
  now += 15s;
  reassembler.expire(now);
  EXPECT_EQ(reassembler.take_lost(), 4u);
  EXPECT_EQ(reassembler.next_timer(), Time::max());
}

// What is complete stays until the burst is over, and no fragment takes its place.
TEST_P(ReassemblerTest, CompletePacketsStayUntilRecycled) {
  std::vector<std::span<std::uint8_t>> done;
  for (std::uint32_t id = 0; id < 4; ++id) {
    ASSERT_TRUE(add(piece(0, 1000, id)).waits());
    done.push_back(add(piece(1000, 3000, id)).whole);
  }
  EXPECT_EQ(add(piece(0, 1000, 9)).drop, Drop::kFragment);  // no room
  for (std::uint32_t id = 0; id < 4; ++id) {
    EXPECT_EQ(bytes(done[id]), packet_to_cut(GetParam(), 3000, 1, 0, id));
  }
  reassembler.recycle();
  EXPECT_TRUE(add(piece(0, 1000, 9)).waits());
}

TEST_P(ReassemblerTest, HeadersWithOptions) {
  const Bytes packet = packet_to_cut(GetParam(), 2000, 1, 24);
  ASSERT_TRUE(add(fragment_of(packet, 1000, 2000, 7)).waits());
  EXPECT_EQ(bytes(add(fragment_of(packet, 0, 1000, 7)).whole), packet);
}

}  // namespace
}  // namespace testudo::distributor
