// SPDX-License-Identifier: Apache-2.0
#include "vipa/readiness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace testudo::vipa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr IpAddress kDvipa(0xc0000264);  // 192.0.2.100
constexpr IpAddress kOther(0xc0000265);
constexpr NodeId kOwner(1), kT1(2), kT2(3);

IpAddress xcf(NodeId node) { return IpAddress(0x0a4d0000U + node.value()); }
TargetMember member(NodeId node, bool ipsec = true, bool distributed = true) {
  return {node, xcf(node), ipsec, distributed};
}
Distribute distribute(std::vector<std::uint16_t> ports, std::vector<IpAddress> targets) {
  Distribute d;
  d.address = kDvipa;
  d.ports = std::move(ports);
  d.targets = std::move(targets);
  return d;
}

TEST(Readiness, NeedsDestipLinkAndListener) {
  // DESTIP names T1 only for 80, ALL for 443.
  struct Row {
    bool link, listens;
    std::uint16_t port;
    NodeId node;
    bool ready;
  };
  const std::vector<Row> table = {
      {true, true, 80, kT1, true},    {true, false, 80, kT1, false},  {false, true, 80, kT1, false},
      {true, true, 80, kT2, false},   {true, true, 443, kT2, true},   {true, true, 8080, kT1, false},
      {false, false, 80, kT1, false}, {true, false, 443, kT2, false},
  };
  for (const Row& row : table) {
    Readiness r(kOwner);
    r.distribute(kDvipa, {distribute({80}, {xcf(kT1)}), distribute({443}, {})});
    if (row.link) r.link_up(member(row.node));
    if (row.listens) r.listener(row.node, kDvipa, row.port, true);
    EXPECT_EQ(!r.ready(kDvipa, row.port).empty(), row.ready) << row.port << " at " << row.node.value();
  }
}

TEST(Readiness, ListenerStopsAndLinkBreaks) {
  Readiness r(kOwner);
  r.distribute(kDvipa, {distribute({80, 443}, {})});
  r.link_up(member(kT2));
  r.link_up(member(kT1));
  EXPECT_TRUE(r.listener(kT2, kDvipa, 80, true));
  EXPECT_FALSE(r.listener(kT2, kDvipa, 80, true));  // nothing new
  EXPECT_TRUE(r.listener(kT1, kDvipa, 80, true));
  EXPECT_TRUE(r.listener(kT1, kDvipa, 443, true));
  EXPECT_THAT(r.ready(kDvipa, 80), ElementsAre(ReadyTarget{kT1, true}, ReadyTarget{kT2, true}));
  EXPECT_TRUE(r.listener(kT1, kDvipa, 80, false));
  EXPECT_THAT(r.ready(kDvipa, 80), ElementsAre(ReadyTarget{kT2, true}));
  r.link_down(kT2);
  EXPECT_THAT(r.ready(kDvipa), ElementsAre(testing::Key(443)));
  r.link_up(member(kT2));  // says its listeners anew
  EXPECT_THAT(r.ready(kDvipa, 80), IsEmpty());
  EXPECT_FALSE(r.listener(NodeId{9}, kDvipa, 80, true));  // no link
}

// Spec A5: traffic that needs a cache which a host lacks is not sent to it.
TEST(Readiness, SaysWhoTakesIpsec) {
  Readiness r(kOwner);
  r.distribute(kDvipa, {distribute({}, {})});
  r.link_up(member(kOwner, true, false));  // the owner needs no shadow cache
  r.link_up(member(kT1, true, false));
  r.link_up(member(kT2, false, true));
  for (const NodeId n : {kOwner, kT1, kT2}) r.listener(n, kDvipa, 22, true);
  EXPECT_THAT(r.ready(kDvipa, 22),
              ElementsAre(ReadyTarget{kOwner, true}, ReadyTarget{kT1, false}, ReadyTarget{kT2, false}));
}

TEST(Readiness, DvipasAreApart) {
  Readiness r(kOwner);
  r.distribute(kDvipa, {distribute({80}, {})});
  r.link_up(member(kT1));
  r.listener(kT1, kOther, 80, true);
  EXPECT_THAT(r.ready(kDvipa), IsEmpty());
  EXPECT_THAT(r.ready(kOther), IsEmpty());
  EXPECT_TRUE(r.distributed(kDvipa, 80));
  EXPECT_FALSE(r.distributed(kDvipa, 81));
  EXPECT_FALSE(r.distributed(kOther, 80));
  EXPECT_THAT(r.potential_targets(kDvipa), ElementsAre(kT1));
  EXPECT_THAT(r.potential_targets(kOther), IsEmpty());
  r.listener(kT1, kDvipa, 80, true);
  r.distribute(kDvipa, {});
  EXPECT_FALSE(r.distributed(kDvipa, 80));
  EXPECT_THAT(r.ready(kDvipa), IsEmpty());
}

// Against the plain definition: whoever was last told to listen since its link came up, and is named, is ready.
RC_GTEST_PROP(Readiness, MatchesItsDefinition, ()) {
  Readiness r(kOwner);
  r.distribute(kDvipa, {distribute({1, 2}, {xcf(kT1)}), distribute({3}, {})});
  std::map<NodeId, std::set<std::uint16_t>> model;  // of nodes whose link is up
  const int steps = *rc::gen::inRange(0, 60);
  for (int i = 0; i < steps; ++i) {
    const NodeId node(*rc::gen::inRange<std::uint16_t>(1, 4));
    const auto port = *rc::gen::inRange<std::uint16_t>(1, 5);
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        r.link_up(member(node));
        model[node];
        break;
      case 1:
        r.link_down(node);
        model.erase(node);
        break;
      default: {
        const bool listens = *rc::gen::arbitrary<bool>();
        r.listener(node, kDvipa, port, listens);
        if (!model.contains(node)) break;
        listens ? void(model[node].insert(port)) : void(model[node].erase(port));
      }
    }
  }
  Readiness::PerPort expected;
  for (const auto& [node, ports] : model) {
    for (const std::uint16_t port : ports) {
      if (port == 3 || (port <= 2 && node == kT1)) expected[port].push_back({node, true});
    }
  }
  RC_ASSERT(r.ready(kDvipa) == expected);
}

}  // namespace
}  // namespace testudo::vipa
