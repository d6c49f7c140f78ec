// SPDX-License-Identifier: Apache-2.0
#include "node/static_filters.h"
#include "xcf/address_field.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace testudo::node {
namespace {

constexpr IpAddress kDvipa(0xc0000264), kOther(0xc0000265);

/// "in permit 6 10.0.0.0/8:0-65535 > 192.0.2.100/32:80-80 @5"
std::string text(const xcf::v1::Filter& f) {
  return fmt::format("{} {} {} {}/{}:{}-{} > {}/{}:{}-{} @{}{}", f.outbound() ? "out" : "in",
                     std::string_view(f.action() == xcf::v1::Filter::PERMIT    ? "permit"
                                      : f.action() == xcf::v1::Filter::PROTECT ? "protect"
                                                                               : "deny"),
                     f.protocol(), xcf::address_of(f.source()).to_string(), f.source_prefix(),
                     f.source_port_first(), f.source_port_last(), xcf::address_of(f.destination()).to_string(),
                     f.destination_prefix(), f.destination_port_first(), f.destination_port_last(), f.priority(),
                     f.id() != 0 ? " id" : "");
}

TEST(StaticFilters, ByTable) {
  using Action = StaticFilter::Action;
  using Direction = StaticFilter::Direction;
  const IpPrefix net{IpAddress(0x0a000000), 8};
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
       {"in permit 6 10.0.0.0/8:0-65535 > 192.0.2.100/32:80-80 @5",
        "out permit 6 192.0.2.100/32:80-80 > 10.0.0.0/8:0-65535 @5"}},
      {{.dvipa = kDvipa,
        .action = Action::kDeny,
        .direction = Direction::kInbound,
        .protocol = 0,
        .ports = {},
        .remote_ports = {},
        .remote = {},
        .priority = 7},
       {"in deny 0 0.0.0.0/0:0-65535 > 192.0.2.100/32:0-65535 @7"}},
      {{.dvipa = kDvipa,
        .action = Action::kProtect,
        .direction = Direction::kOutbound,
        .protocol = 17,
        .ports = {{1, 2}, {9, 9}},
        .remote_ports = {{50, 60}, {70, 70}},
        .remote = net,
        .priority = 1},
       {"out protect 17 192.0.2.100/32:1-2 > 10.0.0.0/8:50-60 @1",
        "out protect 17 192.0.2.100/32:1-2 > 10.0.0.0/8:70-70 @1",
        "out protect 17 192.0.2.100/32:9-9 > 10.0.0.0/8:50-60 @1",
        "out protect 17 192.0.2.100/32:9-9 > 10.0.0.0/8:70-70 @1"}},
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
