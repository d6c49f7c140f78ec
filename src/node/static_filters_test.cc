// SPDX-License-Identifier: Apache-2.0
#include "node/static_filters.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ike/filter_message.h"

namespace testudo::node {
namespace {

constexpr IpAddress kDvipa(0xc0000264), kOther(0xc0000265);

/// "permit in tcp 10.0.0.0/8 > 192.0.2.100/32:80 @5"
std::string text(const xcf::v1::Filter& m) {
  const policy::Filter f = ike::filter_from_message(m).value();
  return fmt::format("{} {} @{}{}{}",
                     f.action == policy::Action::kPermit    ? "permit"
                     : f.action == policy::Action::kProtect ? "protect"
                                                            : "deny",
                     ike::selectors_text(f), f.priority, f.log ? " log" : "", f.id != 0 ? " id" : "");
}

TEST(StaticFilters, AnyIsOfTheDvipasFamily) {
  StaticFilter rule;
  rule.dvipa = *IpAddress::parse("2001:db8::100");
  rule.direction = StaticFilter::Direction::kInbound;
  rule.priority = 1;
  EXPECT_EQ(text(static_filters({rule}, rule.dvipa).at(0)), "deny in any ::/0 > 2001:db8::100/128 @1");
}

TEST(StaticFilters, ByTable) {
  using Action = StaticFilter::Action;
  using Direction = StaticFilter::Direction;
  const policy::AddressRange net(IpPrefix{IpAddress(0x0a000000), 8});
  struct Row {
    StaticFilter rule;
    std::vector<std::string> filters;
  };
  const Row rows[] = {
      {{.dvipa = kDvipa,
        .action = Action::kPermit,
        .direction = Direction::kBoth,
        .protocol = 6,
        .ports = {{80, 80}},
        .remote_ports = {},
        .remote = net,
        .priority = 5},
       {"permit in tcp 10.0.0.0/8 > 192.0.2.100/32:80 @5", "permit out tcp 192.0.2.100/32:80 > 10.0.0.0/8 @5"}},
      {{.dvipa = kDvipa,
        .action = Action::kDeny,
        .direction = Direction::kInbound,
        .protocol = 0,
        .ports = {},
        .remote_ports = {},
        .remote = {},
        .priority = 7},
       {"deny in any 0.0.0.0/0 > 192.0.2.100/32 @7"}},
      {{.dvipa = kDvipa,
        .action = Action::kProtect,
        .direction = Direction::kOutbound,
        .protocol = 17,
        .ports = {{1, 2}, {9, 9}},
        .remote_ports = {{50, 60}, {70, 70}},
        .remote = net,
        .priority = 1},
       {"protect out udp 192.0.2.100/32:1-2 > 10.0.0.0/8:50-60 @1",
        "protect out udp 192.0.2.100/32:1-2 > 10.0.0.0/8:70 @1",
        "protect out udp 192.0.2.100/32:9 > 10.0.0.0/8:50-60 @1",
        "protect out udp 192.0.2.100/32:9 > 10.0.0.0/8:70 @1"}},
      {{.dvipa = kDvipa,
        .action = Action::kPermit,
        .direction = Direction::kBoth,
        .protocol = 1,
        .ports = {},
        .remote_ports = {},
        .icmp_types = {{0x800, 0x8ff}, {0x304, 0x304}},
        .remote = policy::AddressRange(IpAddress(0x0a000001), IpAddress(0x0a000009)),
        .priority = 1,
        .log = true},
       {"permit in icmp 10.0.0.1-10.0.0.9:8 > 192.0.2.100/32 @1 log",
        "permit in icmp 10.0.0.1-10.0.0.9:3/4 > 192.0.2.100/32 @1 log",
        "permit out icmp 192.0.2.100/32:8 > 10.0.0.1-10.0.0.9 @1 log",
        "permit out icmp 192.0.2.100/32:3/4 > 10.0.0.1-10.0.0.9 @1 log"}},
      {{.dvipa = kOther,
        .action = Action::kPermit,
        .direction = Direction::kBoth,
        .protocol = 6,
        .ports = {},
        .remote_ports = {},
        .remote = {},
        .priority = 1},
       {}},
  };
  std::vector<StaticFilter> all;
  std::vector<std::string> all_texts;
  const auto texts = [](const std::vector<StaticFilter>& rules) {
    std::vector<std::string> made;
    for (const auto& filter : static_filters(rules, kDvipa)) made.push_back(text(filter));
    return made;
  };
  for (const Row& row : rows) {
    EXPECT_EQ(texts({row.rule}), row.filters);
    all.push_back(row.rule);
    all_texts.insert(all_texts.end(), row.filters.begin(), row.filters.end());
  }
  EXPECT_EQ(texts(all), all_texts);
}

}  // namespace
}  // namespace testudo::node
