// SPDX-License-Identifier: Apache-2.0
#include "policy/filter_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <tuple>

#include "policy/inbound_check.h"

namespace testudo::policy {
namespace {

IpPrefix prefix(const char* text) { return *IpPrefix::parse(text); }
IpAddress address(const char* text) { return *IpAddress::parse(text); }

Flow tcp(const char* source, std::uint16_t source_port, const char* destination, std::uint16_t destination_port) {
  return {address(source), address(destination), wire::kProtocolTcp, true, source_port, destination_port};
}

Filter filter(std::uint64_t id, Action action, const char* source, const char* destination) {
  Filter f;
  f.id = id;
  f.action = action;
  f.source = prefix(source);
  f.destination = prefix(destination);
  if (action == Action::kProtect) f.tunnel = "t";
  return f;
}

class FilterTableTest : public testing::Test {
 protected:
  const Rule* find(const std::vector<Filter>& filters, const Flow& flow, Direction d = Direction::kInbound) {
    table = FilterTable(filters, names);
    return table.find(d, flow);
  }
  ipsec::TunnelNames names;
  FilterTable table;
};

const Flow kFlow = tcp("10.1.2.3", 40000, "192.0.2.100", 443);

TEST_F(FilterTableTest, EmptyTableHasNoRule) {
  EXPECT_EQ(FilterTable().find(Direction::kInbound, kFlow), nullptr);
  EXPECT_EQ(find({}, kFlow), nullptr);
}

TEST_F(FilterTableTest, EachFieldCounts) {
  struct Row {
    const char* what;
    void (*change)(Filter&);
    bool matches;
  };
  const Row rows[] = {
      {"as it is", [](Filter&) {}, true},
      {"other direction", [](Filter& f) { f.direction = Direction::kOutbound; }, false},
      {"source, exact", [](Filter& f) { f.source = prefix("10.1.2.3"); }, true},
      {"source, other", [](Filter& f) { f.source = prefix("10.1.2.4"); }, false},
      {"any source", [](Filter& f) { f.source = prefix("0.0.0.0/0"); }, true},
      {"destination, other", [](Filter& f) { f.destination = prefix("192.0.2.101"); }, false},
      {"protocol", [](Filter& f) { f.protocol = wire::kProtocolTcp; }, true},
      {"protocol, other", [](Filter& f) { f.protocol = wire::kProtocolUdp; }, false},
      {"ports, at both ends",
       [](Filter& f) {
         f.destination_ports = {443, 443}, f.source_ports = {40000, 50000};
       },
       true},
      {"destination port below",
       [](Filter& f) {
         f.destination_ports = {444, 500};
       },
       false},
      {"source port above",
       [](Filter& f) {
         f.source_ports = {0, 39999};
       },
       false},
  };
  for (const Row& row : rows) {
    Filter f = filter(1, Action::kProtect, "10.1.0.0/16", "192.0.2.100");
    row.change(f);
    EXPECT_EQ(find({f}, kFlow) != nullptr, row.matches) << row.what;
  }
}

TEST_F(FilterTableTest, LowestPriorityValueThenLowestIdThenFirst) {
  Filter wide = filter(1, Action::kDeny, "0.0.0.0/0", "0.0.0.0/0");
  Filter narrow = filter(2, Action::kPermit, "10.1.2.3", "192.0.2.100");
  wide.priority = 5, narrow.priority = 6;
  EXPECT_EQ(find({narrow, wide}, kFlow)->id, 1u);  // not the longer prefix
  wide.priority = 7;
  EXPECT_EQ(find({narrow, wide}, kFlow)->id, 2u);
  wide.priority = 6;
  EXPECT_EQ(find({narrow, wide}, kFlow)->id, 1u);
  wide.id = 2;
  EXPECT_EQ(find({narrow, wide}, kFlow)->action, Action::kPermit);
  EXPECT_EQ(find({wide, narrow}, kFlow)->action, Action::kDeny);
}

TEST_F(FilterTableTest, OutboundIsGroupedByDestination) {
  Filter f = filter(1, Action::kProtect, "192.0.2.100", "10.1.0.0/16");
  f.direction = Direction::kOutbound;
  const Flow out = tcp("192.0.2.100", 443, "10.1.2.3", 40000);
  ASSERT_NE(find({f}, out, Direction::kOutbound), nullptr);
  EXPECT_EQ(find({f}, out, Direction::kOutbound)->tunnel, names.intern("t"));
  EXPECT_EQ(find({f}, out, Direction::kInbound), nullptr);
}

TEST_F(FilterTableTest, WithoutPortsOnlyAnyPortMatches) {
  Filter f = filter(1, Action::kPermit, "0.0.0.0/0", "0.0.0.0/0");
  Flow icmp = kFlow;
  icmp.protocol = wire::kProtocolIcmp;
  icmp.has_ports = false;
  icmp.source_port = icmp.destination_port = 0;
  EXPECT_NE(find({f}, icmp), nullptr);
  f.destination_ports = {0, 65534};
  EXPECT_EQ(find({f}, icmp), nullptr);
}

// What find() must say, the slow way.
std::optional<std::size_t> reference(const std::vector<Filter>& filters, Direction direction, const Flow& flow) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < filters.size(); ++i) {
    const Filter& f = filters[i];
    const bool ports = flow.has_ports ? f.source_ports.contains(flow.source_port) &&
                                            f.destination_ports.contains(flow.destination_port)
                                      : f.source_ports.is_any() && f.destination_ports.is_any();
    if (f.direction != direction || !ports || !f.source.contains(flow.source) ||
        !f.destination.contains(flow.destination) || (f.protocol != 0 && f.protocol != flow.protocol)) {
      continue;
    }
    if (!best || std::tie(f.priority, f.id) < std::tie(filters[*best].priority, filters[*best].id)) best = i;
  }
  return best;
}

IpAddress random_address() {  // few, alike in many of their first bits
  return IpAddress(0x0a000000 | *rc::gen::element<std::uint32_t>(0, 1, 2, 3, 0x100, 0x101, 0x10000, 0x800000));
}

IpPrefix random_prefix() {
  const auto length = *rc::gen::element<std::uint8_t>(0, 8, 9, 16, 24, 30, 31, 32);
  const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  return {IpAddress(random_address().value() & mask), length};
}

PortRange random_ports() {
  if (*rc::gen::arbitrary<bool>()) return {};
  const auto first = *rc::gen::inRange<std::uint16_t>(0, 4);
  return {first, static_cast<std::uint16_t>(first + *rc::gen::inRange<std::uint16_t>(0, 3))};
}

Direction random_direction() { return *rc::gen::element(Direction::kInbound, Direction::kOutbound); }

RC_GTEST_PROP(FilterTable, FindsWhatALinearSearchFinds, ()) {
  std::vector<Filter> filters(*rc::gen::inRange<std::size_t>(0, 40));
  for (Filter& f : filters) {
    f.id = *rc::gen::inRange<std::uint64_t>(1, 20);
    f.direction = random_direction();
    f.priority = *rc::gen::inRange<std::uint32_t>(0, 3);
    f.action = *rc::gen::element(Action::kDeny, Action::kPermit, Action::kProtect);
    f.tunnel = f.action == Action::kProtect ? *rc::gen::element<std::string>("a", "b") : "";
    f.source = random_prefix();
    f.destination = random_prefix();
    f.protocol = *rc::gen::element<std::uint8_t>(0, 6, 17);
    f.source_ports = random_ports();
    f.destination_ports = random_ports();
  }
  ipsec::TunnelNames names;
  const FilterTable table(filters, names);
  RC_ASSERT(table.size() == filters.size());
  for (int i = 0; i < 30; ++i) {
    const Direction direction = random_direction();
    Flow flow{random_address(), random_address(), *rc::gen::element<std::uint8_t>(1, 6, 17), false, 0, 0};
    flow.has_ports = flow.protocol != 1;
    if (flow.has_ports) {
      flow.source_port = *rc::gen::inRange<std::uint16_t>(0, 8);
      flow.destination_port = *rc::gen::inRange<std::uint16_t>(0, 8);
    }
    const auto expected = reference(filters, direction, flow);
    const Rule* found = table.find(direction, flow);
    RC_ASSERT((found != nullptr) == expected.has_value());
    if (found == nullptr) continue;
    RC_ASSERT(found->order == *expected);
    RC_ASSERT(found->action == filters[*expected].action);
    RC_ASSERT(names.name(found->tunnel) == filters[*expected].tunnel);
  }
}

TEST(InboundCheck, TruthTable) {
  ipsec::TunnelNames names;
  const ipsec::TunnelId t = names.intern("t"), other = names.intern("other");
  struct Row {
    std::vector<Filter> filters;
    std::optional<Drop> by_t, by_other, clear;
  };
  const Row rows[] = {
      {{}, Drop::kNotSelected, Drop::kNotSelected, Drop::kNoFilter},
      {{filter(1, Action::kProtect, "0.0.0.0/0", "0.0.0.0/0")},
       std::nullopt,
       Drop::kNotSelected,
       Drop::kClearButProtected},
      {{filter(1, Action::kPermit, "0.0.0.0/0", "0.0.0.0/0")},
       Drop::kNotSelected,
       Drop::kNotSelected,
       std::nullopt},
      {{filter(1, Action::kDeny, "0.0.0.0/0", "0.0.0.0/0")},
       Drop::kFilterDenied,
       Drop::kFilterDenied,
       Drop::kFilterDenied},
  };
  for (const Row& row : rows) {
    const FilterTable table(row.filters, names);
    EXPECT_EQ(check_protected(table, kFlow, t), row.by_t);
    EXPECT_EQ(check_protected(table, kFlow, other), row.by_other);
    EXPECT_EQ(check_clear(table, kFlow), row.clear);
  }
}

TEST(FlowOf, PortsOnlyWhereThereAreSome) {
  std::vector<std::uint8_t> bytes(40);
  const auto flow = [&](std::uint8_t protocol, std::size_t payload, std::uint16_t fragment) {
    wire::build_ipv4(std::span(bytes).first<20>(),
                     {.source = IpAddress(1), .destination = IpAddress(2), .protocol = protocol}, payload);
    bytes[6] = static_cast<std::uint8_t>(fragment >> 8);
    bytes[7] = static_cast<std::uint8_t>(fragment);
    bytes[20] = 0x12, bytes[21] = 0x34, bytes[22] = 0x56, bytes[23] = 0x78;
    return flow_of(*wire::parse_ipv4(bytes));
  };
  const Flow with{IpAddress(1), IpAddress(2), 6, true, 0x1234, 0x5678};
  EXPECT_EQ(flow(6, 20, 0), with);
  EXPECT_EQ(flow(17, 4, 0)->destination_port, 0x5678);
  EXPECT_EQ(flow(17, 3, 0), std::nullopt);
  EXPECT_EQ(flow(1, 0, 0), (Flow{IpAddress(1), IpAddress(2), 1, false, 0, 0}));
  EXPECT_EQ(flow(6, 20, wire::kMoreFragments), std::nullopt);
  EXPECT_EQ(flow(1, 20, 3), std::nullopt);
  EXPECT_NE(flow(6, 20, wire::kDontFragment), std::nullopt);
}

}  // namespace
}  // namespace testudo::policy
