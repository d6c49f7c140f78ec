// SPDX-License-Identifier: Apache-2.0
#include "node/static_filters.h"

namespace testudo::node {
namespace {

using Range = StaticFilter::PortRange;

const std::vector<Range> kAnyPort = {Range{}};

xcf::v1::Filter::Action action_of(StaticFilter::Action action) {
  switch (action) {
    case StaticFilter::Action::kPermit:
      return xcf::v1::Filter::PERMIT;
    case StaticFilter::Action::kProtect:
      return xcf::v1::Filter::PROTECT;
    case StaticFilter::Action::kDeny:
      break;
  }
  return xcf::v1::Filter::DENY;
}

xcf::v1::Filter filter_of(const StaticFilter& rule, bool outbound, const Range& own, const Range& remote) {
  xcf::v1::Filter filter;
  filter.set_outbound(outbound);
  filter.set_priority(rule.priority);
  filter.set_action(action_of(rule.action));
  filter.set_protocol(rule.protocol);
  const IpPrefix dvipa{rule.dvipa, rule.dvipa.bits()};
  // "Any" is that of the DVIPA's family.
  const IpPrefix other = rule.remote.length == 0 ? IpPrefix{rule.dvipa.masked(0), 0} : rule.remote;
  const IpPrefix& source = outbound ? dvipa : other;
  const IpPrefix& destination = outbound ? other : dvipa;
  const Range& source_ports = outbound ? own : remote;
  const Range& destination_ports = outbound ? remote : own;
  filter.set_source(source.address.to_bytes());
  filter.set_source_prefix(source.length);
  filter.set_destination(destination.address.to_bytes());
  filter.set_destination_prefix(destination.length);
  filter.set_source_port_first(source_ports.first);
  filter.set_source_port_last(source_ports.last);
  filter.set_destination_port_first(destination_ports.first);
  filter.set_destination_port_last(destination_ports.last);
  return filter;
}

}  // namespace

std::vector<xcf::v1::Filter> static_filters(const std::vector<StaticFilter>& rules, IpAddress dvipa) {
  std::vector<xcf::v1::Filter> filters;
  for (const StaticFilter& rule : rules) {
    if (rule.dvipa != dvipa) continue;
    for (const Range& own : rule.ports.empty() ? kAnyPort : rule.ports) {
      for (const Range& remote : rule.remote_ports.empty() ? kAnyPort : rule.remote_ports) {
        if (rule.direction != StaticFilter::Direction::kOutbound)
          filters.push_back(filter_of(rule, false, own, remote));
        if (rule.direction != StaticFilter::Direction::kInbound)
          filters.push_back(filter_of(rule, true, own, remote));
      }
    }
  }
  return filters;
}

}  // namespace testudo::node
