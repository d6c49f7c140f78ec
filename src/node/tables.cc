// SPDX-License-Identifier: Apache-2.0
#include "node/tables.h"
#include "xcf/address_field.h"

#include <utility>
#include <vector>

namespace testudo::node {
namespace {

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

std::shared_ptr<const distributor::Distribution> make_distribution(
    NodeId self, const OwnerRole& owner, const ShadowRole& shadow, const vipa::Readiness& readiness,
    const std::map<NodeId, xcf::v1::Hello>& members, const std::function<bool(IpAddress, NodeId)>& may_forward) {
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
    std::vector<NodeId>& forward_to = dvipas.back().forward_to.emplace({self});
    for (const auto& [id, hello] : members) {
      if (may_forward(address, id)) forward_to.push_back(id);
    }
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
