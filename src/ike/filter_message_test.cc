// SPDX-License-Identifier: Apache-2.0
#include "ike/filter_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <string>

namespace testudo::ike {
namespace {

using testing::HasSubstr;

policy::Filter valid() {
  policy::Filter f;
  f.id = 7;
  f.direction = policy::Direction::kOutbound;
  f.priority = 1000;
  f.action = policy::Action::kProtect;
  f.log = true;
  f.tunnel = "clients{1}";
  f.source = *policy::AddressRange::parse("192.0.2.0/24");
  f.destination = *policy::AddressRange::parse("10.0.0.1-10.0.0.9");
  f.protocol = 6;
  f.source_ports = {80, 90};
  f.destination_ports = policy::PortRange::opaque();
  return f;
}

TEST(FilterMessage, SurvivesTheWayThereAndBack) {
  const xcf::v1::Filter m = filter_to_message(valid());
  const auto back = filter_from_message(m);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(filter_to_message(*back).SerializeAsString(), m.SerializeAsString());
  EXPECT_EQ(selectors_text(*back), "out tcp 192.0.2.0/24:80-90 > 10.0.0.1-10.0.0.9:opaque");
  EXPECT_TRUE(back->log);
  EXPECT_EQ(back->tunnel, "clients{1}");
}

struct Case {
  const char* what;
  std::function<void(xcf::v1::Filter&)> spoil;
  const char* says;
};

TEST(FilterMessage, EveryFieldIsChecked) {
  const std::string v6 = IpAddress::parse("2001:db8::1")->to_bytes();
  std::string mapped(16, '\0');
  mapped[10] = mapped[11] = '\xff';
  const Case cases[] = {
      {"action", [](auto& f) { f.set_action(static_cast<xcf::v1::Filter::Action>(9)); }, "filter 7: action"},
      {"tunnel without PROTECT", [](auto& f) { f.set_action(xcf::v1::Filter::PERMIT); }, "not PROTECT"},
      {"long tunnel", [](auto& f) { f.set_tunnel(std::string(257, 'x')); }, "tunnel: name"},
      {"protocol", [](auto& f) { f.set_protocol(256); }, "protocol: 256"},
      {"no address", [](auto& f) { f.clear_source_first(); }, "source_first: "},
      {"odd address", [](auto& f) { f.set_destination_last("12345"); },
       "destination_last: an IP address of 5 bytes"},
      {"v4-mapped", [&](auto& f) { f.set_source_first(mapped); },
       "source_first: an IPv6 address that is v4-mapped"},
      {"families of a range", [&](auto& f) { f.set_source_last(v6); }, "source: 192.0.2.0 and 2001:db8::1 are of"},
      {"families of the sides", [&](auto& f) { f.set_source_first(v6), f.set_source_last(v6); }, "source and dest"},
      {"order", [](auto& f) { f.mutable_source_first()->swap(*f.mutable_source_last()); },
       "192.0.2.255 comes after"},
      {"ports", [](auto& f) { f.set_source_port_first(91); }, "source_ports: 91–90 is no range"},
      {"port", [](auto& f) { f.set_destination_port_first(65536); }, "destination_ports: 65536–0"},
      {"nearly opaque", [](auto& f) { f.set_destination_port_last(1); }, "destination_ports: 65535–1"},
      {"types at the wrong side", [](auto& f) { f.set_protocol(1); }, "types and codes belong"},
      {"ICMPv6 for IPv4", [](auto& f) { f.set_protocol(58); }, "ICMPv6 between IPv4"},
      {"ICMP for IPv6",
       [&](auto& f) {
         f.set_protocol(1);
         for (auto* a : {f.mutable_source_first(), f.mutable_source_last(), f.mutable_destination_first(),
                         f.mutable_destination_last()}) {
           *a = v6;
         }
       },
       "between IPv6 addresses"},
  };
  for (const Case& c : cases) {
    xcf::v1::Filter m = filter_to_message(valid());
    c.spoil(m);
    const auto filter = filter_from_message(m);
    ASSERT_FALSE(filter) << c.what;
    EXPECT_THAT(filter.error().message, HasSubstr(c.says)) << c.what;
  }
}

TEST(FilterMessage, PortsAsText) {
  EXPECT_EQ(ports_text({}, 6), "any");
  EXPECT_EQ(ports_text({80, 80}, 6), "80");
  EXPECT_EQ(ports_text({80, 90}, 17), "80-90");
  EXPECT_EQ(ports_text(policy::PortRange::opaque(), 17), "opaque");
  EXPECT_EQ(ports_text({0x0800, 0x08ff}, 1), "8");
  EXPECT_EQ(ports_text({0x0300, 0x04ff}, 1), "3-4");
  EXPECT_EQ(ports_text({0x0304, 0x0304}, 1), "3/4");
  EXPECT_EQ(ports_text({0x8000, 0x8103}, 58), "128/0-129/3");
  EXPECT_EQ(protocol_name(58), "icmpv6");
  EXPECT_EQ(protocol_name(200), "200");
}

// Whatever bytes come: a filter that passes is one that a table can hold.
RC_GTEST_PROP(FilterMessage, WhatPassesIsSound, (const std::string& bytes)) {
  xcf::v1::Filter m;
  if (!m.ParseFromString(bytes)) return;
  const auto f = filter_from_message(m);
  if (!f) return;
  RC_ASSERT(f->source.first <= f->source.last && f->destination.first <= f->destination.last);
  RC_ASSERT(f->source.first.is_v4() == f->destination.last.is_v4());
}

}  // namespace
}  // namespace testudo::ike
