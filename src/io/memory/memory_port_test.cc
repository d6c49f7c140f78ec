// SPDX-License-Identifier: Apache-2.0
#include "io/memory/memory_port.h"

#include <gtest/gtest.h>

#include <array>

namespace testudo::io {
namespace {

TEST(MemoryPort, ReceivesWhatWasInjected) {
  MemoryPort port;
  const std::array<std::uint8_t, 3> bytes = {1, 2, 3};
  const Endpoint peer{IpAddress(1), 2};
  ASSERT_TRUE(port.inject(bytes, {.source = peer, .train = 7}));
  ASSERT_TRUE(port.inject(bytes, {.train = 7}));
  ASSERT_TRUE(port.inject(bytes));
  std::array<wire::Packet, 2> burst;
  ASSERT_EQ(port.receive(burst), 2u);
  EXPECT_EQ(burst[0].source, peer);
  EXPECT_EQ(burst[0].size, 3u);
  EXPECT_EQ(burst[0].data[2], 3);
  EXPECT_EQ(burst[0].train, 7u);
  EXPECT_EQ(burst[1].train, 7u);
  ASSERT_EQ(port.receive(burst), 1u);
  EXPECT_NE(burst[0].train, 0u);
  EXPECT_EQ(port.receive(burst), 0u);
  EXPECT_EQ(port.counters().packets_in.value(), 3u);
}

TEST(MemoryPort, KeepsWhatWasSent) {
  MemoryPort port;
  const std::array<std::uint8_t, 2> body = {8, 9};
  wire::Outgoing o;
  o.head[0] = 7;
  o.head_size = 1;
  o.body = body.data();
  o.body_size = 2;
  o.destination = {IpAddress(3), 4};
  port.send(std::span(&o, 1));
  const auto sent = port.take_sent();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, (std::vector<std::uint8_t>{7, 8, 9}));
  EXPECT_EQ(sent[0].destination, o.destination);
  EXPECT_TRUE(port.take_sent().empty());
}

TEST(MemoryPort, IsBounded) {
  MemoryPort port(1);
  const std::array<std::uint8_t, 1> bytes = {1};
  EXPECT_TRUE(port.inject(bytes));
  EXPECT_FALSE(port.inject(bytes));
  wire::Outgoing o;
  o.body = bytes.data();
  o.body_size = 1;
  port.send(std::array{o, o});
  EXPECT_EQ(port.take_sent().size(), 1u);
  EXPECT_EQ(port.counters().send_failed.value(), 1u);
}

}  // namespace
}  // namespace testudo::io
