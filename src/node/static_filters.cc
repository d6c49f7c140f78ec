// SPDX-License-Identifier: Apache-2.0
#include "node/static_filters.h"

#include "ike/filter_message.h"
#include "ike/manual_sa.h"

namespace testudo::node {
namespace {

using policy::AddressRange;
using policy::PortRange;

const std::vector<PortRange> kAny = {PortRange{}};

policy::Action action_of(StaticFilter::Action action) {
  switch (action) {
    case StaticFilter::Action::kPermit:
      return policy::Action::kPermit;
    case StaticFilter::Action::kProtect:
      return policy::Action::kProtect;
    case StaticFilter::Action::kDeny:
      break;
  }
  return policy::Action::kDeny;
}

policy::Filter filter_of(const StaticFilter& rule, policy::Direction direction) {
  const AddressRange own(rule.dvipa);
  const AddressRange other = rule.remote.value_or(AddressRange::all(rule.dvipa));
  const bool outbound = direction == policy::Direction::kOutbound;
  policy::Filter filter;
  filter.direction = direction;
  filter.priority = rule.priority;
  filter.action = action_of(rule.action);
  filter.log = rule.log;
  if (!rule.tunnel.empty()) filter.tunnel = ike::manual_tunnel(rule.tunnel);
  filter.protocol = rule.protocol;
  filter.source = outbound ? own : other;
  filter.destination = outbound ? other : own;
  return filter;
}

/// One filter for each pair of port ranges, or each range of types: these are the sender's, whoever it is.
void add(const StaticFilter& rule, policy::Direction direction, std::vector<xcf::v1::Filter>& out) {
  policy::Filter filter = filter_of(rule, direction);
  const auto ranges = [](const std::vector<PortRange>& list) -> const auto& { return list.empty() ? kAny : list; };
  for (const PortRange& type : ranges(rule.icmp_types)) {
    for (const PortRange& own : ranges(rule.ports)) {
      for (const PortRange& remote : ranges(rule.remote_ports)) {
        const bool outbound = direction == policy::Direction::kOutbound;
        filter.source_ports = !rule.icmp_types.empty() ? type : outbound ? own : remote;
        filter.destination_ports = outbound ? remote : own;
        out.push_back(ike::filter_to_message(filter));
      }
    }
  }
}

}  // namespace

std::vector<xcf::v1::Filter> static_filters(const std::vector<StaticFilter>& rules, IpAddress dvipa) {
  std::vector<xcf::v1::Filter> filters;
  for (const StaticFilter& rule : rules) {
    if (rule.dvipa != dvipa) continue;
    if (rule.direction != StaticFilter::Direction::kOutbound) add(rule, policy::Direction::kInbound, filters);
    if (rule.direction != StaticFilter::Direction::kInbound) add(rule, policy::Direction::kOutbound, filters);
  }
  return filters;
}

}  // namespace testudo::node
