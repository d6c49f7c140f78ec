// SPDX-License-Identifier: Apache-2.0
#include "policy/inbound_check.h"

#include <gtest/gtest.h>

#include <vector>

namespace testudo::policy {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Family {
  const char *peer, *router, *dvipa, *other_dvipa, *all;
  std::uint8_t icmp, too_big;
};
const Family kFamilies[] = {
    {"10.1.2.3", "10.9.9.9", "192.0.2.100", "192.0.2.101", "0.0.0.0/0", 1, 3},
    {"2001:db8:1::3", "2001:db8:9::9", "2001:db8::64", "2001:db8::65", "::/0", 58, 2},
};

Bytes packet(const char* source, const char* destination, std::uint8_t protocol, const Bytes& payload) {
  const IpAddress from = *IpAddress::parse(source);
  Bytes bytes(wire::ip_header_size(from));
  wire::build_ip(bytes, {.source = from, .destination = *IpAddress::parse(destination), .protocol = protocol},
                 payload.size());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

Filter filter(Action action, const char* source, const char* destination, std::uint8_t protocol = 0) {
  Filter f;
  f.id = 1;
  f.action = action;
  f.source = *AddressRange::parse(source);
  f.destination = *AddressRange::parse(destination);
  f.protocol = protocol;
  if (action == Action::kProtect) f.tunnel = "t";
  return f;
}

class InboundCheck : public testing::TestWithParam<Family> {
 protected:
  Judgement by(const FilterTable& table, const Bytes& bytes, ipsec::TunnelId tunnel) {
    const auto ip = wire::parse_ip(bytes).value();
    return judge_protected(table, ip, flow_of(ip).value(), tunnel);
  }
  FilterTable table(const std::vector<Filter>& filters) { return {filters, names}; }

  const Family& f = GetParam();
  ipsec::TunnelNames names;
  const ipsec::TunnelId t = names.intern("t"), other = names.intern("other");
  const Bytes tcp = packet(f.peer, f.dvipa, 6, {0x80, 0, 0, 80, 0, 0, 0, 0});
};

TEST_P(InboundCheck, TruthTable) {
  struct Row {
    std::vector<Filter> filters;
    std::optional<Drop> by_t, by_other, clear;
  };
  const Row rows[] = {
      {{}, Drop::kNotSelected, Drop::kNotSelected, Drop::kNoFilter},
      {{filter(Action::kProtect, f.all, f.all)}, std::nullopt, Drop::kNotSelected, Drop::kClearButProtected},
      {{filter(Action::kPermit, f.all, f.all)}, Drop::kNotSelected, Drop::kNotSelected, std::nullopt},
      {{filter(Action::kDeny, f.all, f.all)}, Drop::kFilterDenied, Drop::kFilterDenied, Drop::kFilterDenied},
  };
  for (const Row& row : rows) {
    const FilterTable all = table(row.filters);
    const Flow flow = flow_of(wire::parse_ip(tcp).value()).value();
    EXPECT_EQ(by(all, tcp, t).drop, row.by_t);
    EXPECT_EQ(by(all, tcp, other).drop, row.by_other);
    EXPECT_EQ(judge_clear(all, flow).drop, row.clear);
    EXPECT_EQ(judge_clear(all, flow).rule != nullptr, !row.filters.empty());
    EXPECT_EQ(judge_selected(all, flow, t).drop, row.by_t);
  }
}

// RFC 4301 section 6.2.
TEST_P(InboundCheck, IcmpErrors) {
  Bytes sent = packet(f.dvipa, f.peer, 6, {0, 80, 0x80, 0, 0, 0, 0, 0});
  const auto error = [&](std::uint8_t type, const char* to, const Bytes& enclosed) {
    Bytes payload{type, 4, 0, 0, 0, 0, 5, 0};
    payload.insert(payload.end(), enclosed.begin(), enclosed.end());
    return packet(f.router, to, f.icmp, payload);
  };
  const Filter own = filter(Action::kProtect, f.peer, f.dvipa, 6);
  FilterTable only = table({own});
  const Bytes good = error(f.too_big, f.dvipa, sent);
  EXPECT_EQ(by(only, good, t).drop, std::nullopt);
  EXPECT_EQ(by(only, good, t).rule->action, Action::kProtect);
  EXPECT_EQ(by(only, good, other).drop, Drop::kNotSelected);
  EXPECT_EQ(by(only, error(200, f.dvipa, sent), t).drop, Drop::kNotSelected);              // no error
  EXPECT_EQ(by(only, error(f.too_big, f.other_dvipa, sent), t).drop, Drop::kNotSelected);  // to somebody else
  const Bytes foreign = packet(f.dvipa, f.router, 6, {0, 80, 0x80, 0, 0, 0, 0, 0});
  EXPECT_EQ(by(only, error(f.too_big, f.dvipa, foreign), t).drop, Drop::kNotSelected);
  EXPECT_EQ(by(only, error(f.too_big, f.dvipa, tcp), t).drop, Drop::kNotSelected);  // not sent by us

  Filter denied = filter(Action::kDeny, f.all, f.dvipa, f.icmp);
  denied.id = 2;
  EXPECT_EQ(by(table({own, denied}), good, t).drop, Drop::kFilterDenied);
  only.set_accepts_icmp_errors(false);
  EXPECT_EQ(by(only, good, t).drop, Drop::kNotSelected);
}

// RFC 4301 section 7.1: fragments behind the first one show no ports, so a tunnel for all ports takes them, one for
// some does not.
TEST_P(InboundCheck, Fragments) {
  if (!wire::parse_ip(tcp)->is_v4()) return;
  Bytes later = packet(f.peer, f.dvipa, 17, Bytes(16));
  later[7] = 8;  // offset
  Filter any = filter(Action::kProtect, f.peer, f.dvipa, 17);
  EXPECT_EQ(by(table({any}), later, t).drop, std::nullopt);
  any.destination_ports = {0, 65534};
  EXPECT_EQ(by(table({any}), later, t).drop, Drop::kNotSelected);
  any.destination_ports = PortRange::opaque();
  EXPECT_EQ(by(table({any}), later, t).drop, std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Families, InboundCheck, testing::ValuesIn(kFamilies),
                         [](const auto& param) { return param.index == 0 ? "ipv4" : "ipv6"; });

}  // namespace
}  // namespace testudo::policy
