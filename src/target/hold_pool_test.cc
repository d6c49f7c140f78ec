// SPDX-License-Identifier: Apache-2.0
#include "target/hold_pool.h"

#include <gtest/gtest.h>

#include <array>

namespace testudo::target {
namespace {

wire::Packet packet_of(std::span<std::uint8_t> bytes) {
  wire::Packet packet;
  packet.data = bytes.data();
  packet.size = static_cast<std::uint32_t>(bytes.size());
  return packet;
}

TEST(HoldPool, KeepsCopiesInOrder) {
  HoldPool pool(4, 16);
  HoldPool::List list;
  std::array<std::uint8_t, 3> bytes = {1, 2, 3};
  ASSERT_NE(pool.append(list, packet_of(bytes), Time{}), nullptr);
  bytes = {4, 5, 6};
  ASSERT_NE(pool.append(list, packet_of(bytes), Time{} + 1s), nullptr);
  EXPECT_EQ(pool.front(list)->packet.data[0], 1);
  pool.pop(list);
  EXPECT_EQ(pool.front(list)->packet.data[2], 6);
  EXPECT_EQ(pool.front(list)->since, Time{} + 1s);
  pool.pop(list);
  EXPECT_EQ(pool.front(list), nullptr);
  EXPECT_EQ(pool.free_slots(), 4u);
}

TEST(HoldPool, RefusesWhatDoesNotFit) {
  HoldPool pool(1, 4);
  HoldPool::List a;
  HoldPool::List b;
  std::array<std::uint8_t, 5> large{};
  EXPECT_EQ(pool.append(a, packet_of(large), Time{}), nullptr);
  EXPECT_NE(pool.append(a, packet_of(std::span(large).first(4)), Time{}), nullptr);
  EXPECT_EQ(pool.append(b, packet_of(std::span(large).first(1)), Time{}), nullptr);
  pool.pop(a);
  EXPECT_NE(pool.append(b, packet_of(std::span(large).first(1)), Time{}), nullptr);
}

}  // namespace
}  // namespace testudo::target
