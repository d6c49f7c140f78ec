// SPDX-License-Identifier: Apache-2.0
#include "node/tables.h"
#include "xcf/address_field.h"

#include <utility>
#include <vector>

namespace testudo::node {
namespace {

policy::PortRange port_range(std::uint32_t first, std::uint32_t last) {
  return {.first = static_cast<std::uint16_t>(first), .last = static_cast<std::uint16_t>(last)};
}

policy::Action action_of(xcf::v1::Filter::Action action) {
  switch (action) {
    case xcf::v1::Filter::PERMIT:
      return policy::Action::kPermit;
    case xcf::v1::Filter::PROTECT:
      return policy::Action::kProtect;
    default:
      return policy::Action::kDeny;
  }
}

/// The message was checked when it came (ike/sa_message.h).
policy::Filter filter_of(const xcf::v1::Filter& message) {
  policy::Filter filter;
  filter.id = message.id();
  filter.direction = message.outbound() ? policy::Direction::kOutbound : policy::Direction::kInbound;
  filter.priority = message.priority();
  filter.action = action_of(message.action());
  filter.tunnel = message.tunnel();
  filter.source = {xcf::address_of(message.source()), static_cast<std::uint8_t>(message.source_prefix())};
  filter.destination = {xcf::address_of(message.destination()),
                        static_cast<std::uint8_t>(message.destination_prefix())};
  filter.protocol = static_cast<std::uint8_t>(message.protocol());
  filter.source_ports = port_range(message.source_port_first(), message.source_port_last());
  filter.destination_ports = port_range(message.destination_port_first(), message.destination_port_last());
  return filter;
}

distributor::Dvipa owned_dvipa(NodeId self, IpAddress address, Epoch epoch, const std::vector<std::uint16_t>& ports,
                               bool all_ports, const vipa::Readiness& readiness) {
  distributor::Dvipa dvipa{
      .address = address, .epoch = epoch, .owner = self, .all_ports = all_ports, .ports = ports, .ready = {}};
  for (const auto& [port, targets] : readiness.ready(address)) {
    distributor::ReadyPort& ready = dvipa.ready.emplace_back();
    ready.port = port;
    for (const vipa::ReadyTarget& target : targets) {
      ready.targets.push_back({.node = target.node, .takes_ipsec = target.takes_ipsec});
    }
  }
  return dvipa;
}

}  // namespace

std::shared_ptr<const policy::FilterTable> make_filter_table(const OwnerRole& owner, const ShadowRole& shadow,
                                                             ipsec::TunnelNames& tunnels) {
  std::vector<policy::Filter> filters;
  for (const auto& [address, owned] : owner.owned()) {
    for (const xcf::v1::Filter& filter : owned.installation->filters()) filters.push_back(filter_of(filter));
  }
  for (const auto& [address, dvipa] : shadow.dvipas()) {
    if (owner.owns(address)) continue;
    for (const auto& [id, filter] : dvipa.filters) filters.push_back(filter_of(filter));
  }
  return std::make_shared<const policy::FilterTable>(filters, tunnels);
}

std::shared_ptr<const distributor::Distribution> make_distribution(
    NodeId self, const OwnerRole& owner, const ShadowRole& shadow, const vipa::Readiness& readiness,
    const std::map<NodeId, xcf::v1::Hello>& members) {
  std::vector<distributor::Member> reachable;
  for (const auto& [id, hello] : members) {
    const IpAddress address = xcf::address_of(hello.xcf_address());
    reachable.push_back({.node = id,
                         .data = {address, static_cast<std::uint16_t>(hello.data_port())},
                         .fast = {address, static_cast<std::uint16_t>(hello.fast_port())}});
  }
  std::vector<distributor::Dvipa> dvipas;
  for (const auto& [address, owned] : owner.owned()) {
    dvipas.push_back(owned_dvipa(self, address, owned.epoch, owned.ports, owned.all_ports, readiness));
  }
  for (const auto& [address, dvipa] : shadow.dvipas()) {
    if (owner.owns(address)) continue;
    dvipas.push_back({.address = address,
                      .epoch = dvipa.epoch,
                      .owner = dvipa.owner_id,
                      .all_ports = dvipa.record.all_ports(),
                      .ports = {dvipa.record.ports().begin(), dvipa.record.ports().end()},
                      .ready = {}});
  }
  return std::make_shared<const distributor::Distribution>(self, std::move(reachable), std::move(dvipas));
}

}  // namespace testudo::node
