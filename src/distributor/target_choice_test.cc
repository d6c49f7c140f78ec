// SPDX-License-Identifier: Apache-2.0
#include "distributor/target_choice.h"

#include <gtest/gtest.h>

#include "distributor/forwarding.h"

namespace testudo::distributor {
namespace {

constexpr IpAddress kA(1), kB(2);
constexpr auto kIpsec = TargetChoice::Protection::kIpsec;
constexpr auto kClear = TargetChoice::Protection::kClear;

ReadyTarget node(std::uint16_t n, bool takes_ipsec = true) { return {NodeId(n), takes_ipsec}; }

Distribution distribution(std::vector<ReadyPort> ready_a, std::vector<ReadyPort> ready_b = {}) {
  std::vector<Member> members;
  for (std::uint16_t n = 1; n <= 5; ++n) members.push_back({NodeId(n), {IpAddress(n), 4754}, {IpAddress(n), 4755}});
  return Distribution(
      NodeId(1), std::move(members),
      {{.address = kB, .owner = NodeId(1), .all_ports = true, .ports = {}, .ready = std::move(ready_b)},
       {.address = kA, .owner = NodeId(1), .ports = {443, 80}, .ready = std::move(ready_a)}});
}

std::vector<std::uint16_t> choose(TargetChoice& choice, const Distribution& d, std::size_t times,
                                  std::uint16_t port = 80, TargetChoice::Protection protection = kIpsec,
                                  IpAddress dvipa = kA) {
  std::vector<std::uint16_t> chosen;
  for (std::size_t i = 0; i < times; ++i) chosen.push_back(choice.choose(*d.find(dvipa), port, protection).value());
  return chosen;
}

using Nodes = std::vector<std::uint16_t>;

TEST(TargetChoice, EachInTurnForEachPortByItself) {
  const Distribution d =
      distribution({{80, {node(4), node(2), node(3)}}, {443, {node(2), node(3)}}}, {{80, {node(5), node(2)}}});
  TargetChoice choice;
  choice.set_distribution(d);
  EXPECT_EQ(choose(choice, d, 4), (Nodes{2, 3, 4, 2}));
  EXPECT_EQ(choose(choice, d, 3, 443), (Nodes{2, 3, 2}));
  EXPECT_EQ(choose(choice, d, 2, 80, kIpsec, kB), (Nodes{2, 5}));
  EXPECT_EQ(choose(choice, d, 1), (Nodes{3}));
}

TEST(TargetChoice, GoesOnWhereItWasWhenTheTargetsChange) {
  TargetChoice choice;
  const Distribution d3 = distribution({{80, {node(2), node(3), node(4)}}});
  choice.set_distribution(d3);
  EXPECT_EQ(choose(choice, d3, 2), (Nodes{2, 3}));
  const Distribution without3 = distribution({{80, {node(2), node(4)}}, {443, {node(2)}}});
  choice.set_distribution(without3);
  EXPECT_EQ(choose(choice, without3, 3), (Nodes{4, 2, 4}));
}

TEST(TargetChoice, OnlyTargetsThatTakeWhatTheConnectionNeeds) {
  TargetChoice choice;
  const Distribution d = distribution({{80, {node(2), node(3, false), node(4)}}, {443, {node(3, false)}}});
  choice.set_distribution(d);
  EXPECT_EQ(choose(choice, d, 3), (Nodes{2, 4, 2}));
  EXPECT_EQ(choose(choice, d, 2, 80, kClear), (Nodes{3, 4}));
  EXPECT_EQ(choose(choice, d, 1, 443), (Nodes{0}));
  EXPECT_EQ(choose(choice, d, 1, 443, kClear), (Nodes{3}));
}

TEST(TargetChoice, NoneReady) {
  TargetChoice choice;
  const Distribution d = distribution({{443, {}}});
  EXPECT_EQ(choose(choice, d, 1, 80), (Nodes{0}));  // nothing set yet
  choice.set_distribution(d);
  EXPECT_EQ(choose(choice, d, 1, 80), (Nodes{0}));
  EXPECT_EQ(choose(choice, d, 1, 443), (Nodes{0}));
}

TEST(Distribution, FindsAndKnowsPorts) {
  const Distribution d = distribution({{80, {node(2), node(9)}}});  // 9 is no member
  ASSERT_NE(d.find(kA), nullptr);
  EXPECT_EQ(d.find(IpAddress(3)), nullptr);
  EXPECT_TRUE(d.owns(*d.find(kA)));
  EXPECT_TRUE(d.find(kA)->distributes(80) && d.find(kA)->distributes(443));
  EXPECT_FALSE(d.find(kA)->distributes(81));
  EXPECT_TRUE(d.find(kB)->distributes(81));
  ASSERT_EQ(d.find(kA)->ready_for(80).size(), 1u);
  EXPECT_EQ(d.find(kA)->ready_for(80)[0], node(2));
  EXPECT_TRUE(d.find(kA)->ready_for(443).empty());
  ASSERT_NE(d.member(NodeId(4)), nullptr);
  EXPECT_EQ(d.member(NodeId(9)), nullptr);
  EXPECT_EQ(d.member_at(IpAddress(4)), d.member(NodeId(4)));
  EXPECT_EQ(d.member_at(IpAddress(9)), nullptr);
}

TEST(ForwardKey, KeepsTheLowBitsOfTheEpoch) {
  const ForwardKey key = ForwardKey::of(Epoch(0xff123456), ForwardKey::kClear);
  EXPECT_EQ(key.field, 0x12345602u);
  EXPECT_TRUE(key.matches(Epoch(0xff123456)) && key.matches(Epoch(0x123456)));
  EXPECT_FALSE(key.matches(Epoch(0xff123457)));
  EXPECT_TRUE(key.clear());
  EXPECT_FALSE(key.filtered());
}

}  // namespace
}  // namespace testudo::distributor
