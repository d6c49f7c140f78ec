// SPDX-License-Identifier: Apache-2.0
#include "policy/filter_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <tuple>

#include "policy/filter_set.h"

namespace testudo::policy {
namespace {

AddressRange range(const char* text) { return *AddressRange::parse(text); }
IpAddress address(const char* text) { return *IpAddress::parse(text); }

Filter filter(std::uint64_t id, Action action, const char* source, const char* destination) {
  Filter f;
  f.id = id;
  f.action = action;
  f.source = range(source);
  f.destination = range(destination);
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

const Flow kFlow{address("10.1.2.3"), address("192.0.2.100"), wire::kProtocolTcp, true, 40000, 443};

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
      {"source, exact", [](Filter& f) { f.source = range("10.1.2.3"); }, true},
      {"source, other", [](Filter& f) { f.source = range("10.1.2.4"); }, false},
      {"source, range", [](Filter& f) { f.source = range("10.1.2.1-10.1.2.3"); }, true},
      {"source, range below", [](Filter& f) { f.source = range("10.1.2.1-10.1.2.2"); }, false},
      {"source, range above", [](Filter& f) { f.source = range("10.1.2.4-10.1.3.0"); }, false},
      {"any source", [](Filter& f) { f.source = range("0.0.0.0/0"); }, true},
      {"IPv6", [](Filter& f) { f.source = range("::/0"), f.destination = range("::/0"); }, false},
      {"destination, other", [](Filter& f) { f.destination = range("192.0.2.101"); }, false},
      {"protocol", [](Filter& f) { f.protocol = wire::kProtocolTcp; }, true},
      {"protocol, other", [](Filter& f) { f.protocol = wire::kProtocolUdp; }, false},
      {"ports",
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
      {"opaque", [](Filter& f) { f.source_ports = PortRange::opaque(); }, false},
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
  EXPECT_EQ(find({narrow, wide}, kFlow)->rank.id, 1u);  // not the longer prefix
  wide.priority = 7;
  EXPECT_EQ(find({narrow, wide}, kFlow)->rank.id, 2u);
  wide.priority = 6;
  EXPECT_EQ(find({narrow, wide}, kFlow)->rank.id, 1u);
  wide.id = 2;
  EXPECT_EQ(find({narrow, wide}, kFlow)->action, Action::kPermit);
  EXPECT_EQ(find({wide, narrow}, kFlow)->action, Action::kDeny);
}

TEST_F(FilterTableTest, OutboundIsTheOtherWayRound) {
  Filter f = filter(1, Action::kProtect, "192.0.2.100", "10.1.0.0/16");
  f.direction = Direction::kOutbound;
  f.log = true;
  f.source_ports = {443, 443};
  const Flow out{address("192.0.2.100"), address("10.1.2.3"), wire::kProtocolTcp, true, 443, 40000};
  ASSERT_NE(find({f}, out, Direction::kOutbound), nullptr);
  EXPECT_EQ(find({f}, out, Direction::kOutbound)->tunnel, names.intern("t"));
  EXPECT_TRUE(find({f}, out, Direction::kOutbound)->log);
  EXPECT_EQ(find({f}, out, Direction::kInbound), nullptr);
}

// RFC 4301 section 4.4.1.1.
TEST_F(FilterTableTest, WithoutPortsAnyAndOpaqueMatch) {
  Filter f = filter(1, Action::kPermit, "0.0.0.0/0", "0.0.0.0/0");
  Flow gre = kFlow;
  gre.protocol = 47;
  gre.has_ports = false;
  gre.source_port = gre.destination_port = 0;
  EXPECT_NE(find({f}, gre), nullptr);
  f.destination_ports = PortRange::opaque();
  EXPECT_NE(find({f}, gre), nullptr);
  f.destination_ports = {0, 65534};
  EXPECT_EQ(find({f}, gre), nullptr);
}

// RFC 4301 section 4.4.1.1: one range over type · 256 + code.
TEST_F(FilterTableTest, IcmpTypesAndCodes) {
  Filter f = filter(1, Action::kPermit, "0.0.0.0/0", "0.0.0.0/0");
  f.protocol = wire::kProtocolIcmp;
  f.source_ports = {0x0301, 0x0304};
  Flow icmp{kFlow.source, kFlow.destination, wire::kProtocolIcmp, true, 0x0301, 0x0301};
  const auto of_type = [&](std::uint16_t value) {
    icmp.source_port = icmp.destination_port = value;
    return find({f}, icmp) != nullptr;
  };
  EXPECT_TRUE(of_type(0x0301));
  EXPECT_TRUE(of_type(0x0304));
  EXPECT_FALSE(of_type(0x0300));
  EXPECT_FALSE(of_type(0x0305));
}

TEST(FilterSet, OneIdOneFilterAndSnapshotsStay) {
  ipsec::TunnelNames names;
  FilterSet set(names);
  const IpAddress a(1), b(2);
  set.put(a, filter(1, Action::kPermit, "10.0.0.0/8", "192.0.2.100"));
  const auto before = set.snapshot();
  EXPECT_EQ(before, set.snapshot());
  set.put(a, filter(1, Action::kPermit, "10.0.0.0/8", "192.0.2.100"));
  EXPECT_EQ(before, set.snapshot());  // nothing new
  set.put(a, filter(1, Action::kDeny, "10.0.0.0/8", "192.0.2.100"));
  set.put(b, filter(1, Action::kPermit, "10.0.0.0/8", "192.0.2.100"));
  const auto after = set.snapshot();
  EXPECT_NE(before->generation(), after->generation());
  EXPECT_EQ(before->find(Direction::kInbound, kFlow)->action, Action::kPermit);
  EXPECT_EQ(after->find(Direction::kInbound, kFlow)->action, Action::kDeny);  // the lower DVIPA's
  EXPECT_EQ(after->size(), 2u);
  set.erase(a, 1);
  set.erase(a, 7);
  EXPECT_EQ(set.snapshot()->find(Direction::kInbound, kFlow)->action, Action::kPermit);
  set.put(b, filter(2, Action::kPermit, "10.0.0.0/8", "192.0.2.100"));
  set.erase(b);
  EXPECT_EQ(set.snapshot()->find(Direction::kInbound, kFlow), nullptr);
  EXPECT_EQ(set.size(), 0u);
  EXPECT_EQ(after->size(), 2u);
}

// ---- against a linear search ----

using Names = std::map<std::pair<IpAddress, std::uint64_t>, Filter>;

bool port_matches(const PortRange& ports, const Flow& flow, std::uint16_t port) {
  if (!flow.has_ports) return ports.is_any() || ports.is_opaque();
  return ports.first <= port && port <= ports.last;
}

bool matches(const Filter& f, Direction direction, const Flow& flow) {
  return f.direction == direction && f.source.contains(flow.source) && f.destination.contains(flow.destination) &&
         (f.protocol == 0 || f.protocol == flow.protocol) && port_matches(f.source_ports, flow, flow.source_port) &&
         port_matches(f.destination_ports, flow, flow.destination_port);
}

/// What find() must say, the slow way.
const Names::value_type* reference(const Names& filters, Direction direction, const Flow& flow) {
  const Names::value_type* best = nullptr;
  const auto rank = [](const auto& entry) {
    return std::make_tuple(entry.second.priority, entry.second.id, entry.first.first);
  };
  for (const auto& entry : filters) {
    if (!matches(entry.second, direction, flow)) continue;
    if (best == nullptr || rank(entry) < rank(*best)) best = &entry;
  }
  return best;
}

/// Of few, alike in many of their first bits; sometimes of many.
IpAddress random_address(bool v4) {
  std::uint32_t low = *rc::gen::element<std::uint32_t>(0, 1, 2, 3, 0x100, 0x101, 0x10000, 0x800000);
  if (*rc::gen::inRange(0, 3) == 0) low = *rc::gen::inRange<std::uint32_t>(0, 0x200);
  if (v4) return IpAddress(0x0a000000 | low);
  std::array<std::uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8};
  for (unsigned i = 0; i < 4; ++i)
    bytes[*rc::gen::element(4u, 12u) + i] = static_cast<std::uint8_t>(low >> (24 - 8 * i));
  return IpAddress(std::span<const std::uint8_t, 16>(bytes));
}

AddressRange random_range(bool v4) {
  const IpAddress a = random_address(v4), b = random_address(v4);
  switch (*rc::gen::inRange(0, 4)) {
    case 0:
      return AddressRange(a);
    case 1:
      return {std::min(a, b), std::max(a, b)};
    case 2:
      return AddressRange::all(a);
    default:
      const unsigned length = *rc::gen::element(0u, 8u, 9u, 16u, 24u, 30u, 31u) * (v4 ? 1 : 4);
      return AddressRange(IpPrefix{a.masked(length), static_cast<std::uint8_t>(length)});
  }
}

PortRange random_ports() {
  const int kind = *rc::gen::inRange(0, 5);
  if (kind == 0) return PortRange::opaque();
  if (kind < 3) return {};
  const auto first = *rc::gen::inRange<std::uint16_t>(0, 4);
  return {first, static_cast<std::uint16_t>(first + *rc::gen::inRange<std::uint16_t>(0, 3))};
}

Direction random_direction() { return *rc::gen::element(Direction::kInbound, Direction::kOutbound); }

Filter random_filter() {
  Filter f;
  const bool v4 = *rc::gen::arbitrary<bool>();
  f.id = *rc::gen::inRange<std::uint64_t>(1, 60);
  f.direction = random_direction();
  f.priority = *rc::gen::inRange<std::uint32_t>(0, 3);
  f.action = *rc::gen::element(Action::kDeny, Action::kPermit, Action::kProtect);
  f.tunnel = f.action == Action::kProtect ? *rc::gen::element<std::string>("a", "b") : "";
  f.source = random_range(v4);
  f.destination = random_range(v4);
  f.protocol = *rc::gen::element<std::uint8_t>(0, 6, 17);
  f.source_ports = random_ports();
  f.destination_ports = random_ports();
  return f;
}

Flow random_flow() {
  const bool v4 = *rc::gen::arbitrary<bool>();
  Flow flow{random_address(v4), random_address(v4), *rc::gen::element<std::uint8_t>(1, 6, 17), false, 0, 0};
  flow.has_ports = *rc::gen::inRange(0, 4) != 0;
  if (!flow.has_ports) return flow;
  flow.source_port = *rc::gen::inRange<std::uint16_t>(0, 8);
  flow.destination_port = *rc::gen::inRange<std::uint16_t>(0, 8);
  return flow;
}

void check(const FilterTable& table, const Names& filters, const ipsec::TunnelNames& names, int flows) {
  RC_ASSERT(table.size() == filters.size());
  for (int i = 0; i < flows; ++i) {
    const Direction direction = random_direction();
    const Flow flow = random_flow();
    const auto* expected = reference(filters, direction, flow);
    const Rule* found = table.find(direction, flow);
    RC_ASSERT((found != nullptr) == (expected != nullptr));
    if (found == nullptr) continue;
    RC_ASSERT(std::pair(found->rank.dvipa, found->rank.id) == expected->first);
    RC_ASSERT(found->action == expected->second.action);
    RC_ASSERT(names.name(found->tunnel) == expected->second.tunnel);
  }
}

RC_GTEST_PROP(FilterTable, FindsWhatALinearSearchFinds, ()) {
  ipsec::TunnelNames names;
  FilterSet set(names);
  Names filters, former;
  std::shared_ptr<const FilterTable> snapshot = set.snapshot();
  const int steps = *rc::gen::inRange(0, 300);
  for (int step = 0; step < steps; ++step) {
    const IpAddress dvipa(*rc::gen::inRange<std::uint32_t>(1, 4));
    const Filter f = random_filter();
    const int what = *rc::gen::inRange(0, 40);
    if (what == 0) {
      set.erase(dvipa);
      std::erase_if(filters, [&](const auto& entry) { return entry.first.first == dvipa; });
    } else if (what < 10) {
      set.erase(dvipa, f.id);
      filters.erase({dvipa, f.id});
    } else {
      set.put(dvipa, f);
      filters[{dvipa, f.id}] = f;
    }
    if (what == 1) former = filters, snapshot = set.snapshot();
  }
  check(*set.snapshot(), filters, names, 60);
  if (!former.empty()) check(*snapshot, former, names, 20);
}

// More peers than a leaf holds, and more rules for one peer than may be alike: they go different ways.
TEST(FilterTable, ManyPeersAndManyPortsOfOnePeer) {
  ipsec::TunnelNames names;
  FilterSet set(names);
  Filter f = filter(0, Action::kProtect, "0.0.0.0/0", "192.0.2.100");
  f.protocol = wire::kProtocolTcp;
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    f.id = i + 1;
    f.source = AddressRange(IpAddress(0x0a000000 + (i + 1) / 2 * (i % 2)));  // every other rule: of one peer
    f.source_ports =
        i % 2 == 0 ? PortRange{static_cast<std::uint16_t>(i), static_cast<std::uint16_t>(i)} : PortRange();
    set.put(IpAddress(1), f);
  }
  const auto found = [&](std::uint32_t source, std::uint16_t port) {
    const Rule* rule = set.snapshot()->find(
        Direction::kInbound, {IpAddress(source), address("192.0.2.100"), wire::kProtocolTcp, true, port, 1});
    return rule == nullptr ? 0 : rule->rank.id;
  };
  EXPECT_EQ(found(0x0a000000, 0), 1u);
  EXPECT_EQ(found(0x0a000000, 19'998), 19'999u);
  EXPECT_EQ(found(0x0a000000, 19'999), 0u);
  EXPECT_EQ(found(0x0a000001, 19'999), 2u);  // any port
  EXPECT_EQ(found(0x0a000000 + 10'000, 7), 20'000u);
  EXPECT_EQ(found(0x0a000000 + 10'001, 7), 0u);
  for (std::uint32_t i = 0; i < 20'000; ++i) set.erase(IpAddress(1), i + 1);
  EXPECT_EQ(set.snapshot()->size(), 0u);
  EXPECT_EQ(found(0x0a000000 + 10'000, 7), 0u);
}

}  // namespace
}  // namespace testudo::policy
