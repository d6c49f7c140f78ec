// SPDX-License-Identifier: Apache-2.0
#include "vipa/readiness.h"

#include <algorithm>
#include <utility>

namespace testudo::vipa {
namespace {

bool names_port(const Distribute& d, std::uint16_t port) {
  return d.all_ports() || std::binary_search(d.ports.begin(), d.ports.end(), port);
}

bool names_target(const Distribute& d, IpAddress xcf_address) {
  return d.all_targets() || std::find(d.targets.begin(), d.targets.end(), xcf_address) != d.targets.end();
}

}  // namespace

void Readiness::distribute(IpAddress dvipa, std::vector<Distribute> distributes) {
  if (!distributes.empty()) {
    distributes_[dvipa] = std::move(distributes);
    return;
  }
  distributes_.erase(dvipa);
  std::erase_if(listening_, [&](const auto& key) { return std::get<0>(key) == dvipa; });
}

void Readiness::link_up(const TargetMember& member) { members_[member.node] = member; }

void Readiness::link_down(NodeId node) {
  members_.erase(node);
  std::erase_if(listening_, [&](const auto& key) { return std::get<2>(key) == node; });
}

bool Readiness::listener(NodeId node, IpAddress dvipa, std::uint16_t port, bool listening) {
  if (!members_.contains(node) || port == 0) return false;
  const std::tuple key(dvipa, port, node);
  if (!listening) return listening_.erase(key) > 0;
  return listening_.insert(key).second;
}

bool Readiness::named(IpAddress dvipa, std::uint16_t port, const TargetMember& member) const {
  const auto found = distributes_.find(dvipa);
  if (found == distributes_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Distribute& d) {
    return names_port(d, port) && names_target(d, member.xcf_address);
  });
}

Readiness::PerPort Readiness::ready(IpAddress dvipa) const {
  PerPort out;
  for (auto at = listening_.lower_bound({dvipa, 0, NodeId{}}); at != listening_.end() && std::get<0>(*at) == dvipa;
       ++at) {
    const auto& [address, port, node] = *at;
    const TargetMember& member = members_.at(node);
    if (!named(dvipa, port, member)) continue;
    out[port].push_back({node, member.ipsec && (member.distributed_ipsec || node == self_)});
  }
  return out;
}

std::vector<ReadyTarget> Readiness::ready(IpAddress dvipa, std::uint16_t port) const {
  PerPort all = ready(dvipa);
  const auto found = all.find(port);
  return found == all.end() ? std::vector<ReadyTarget>{} : std::move(found->second);
}

bool Readiness::distributed(IpAddress dvipa, std::uint16_t port) const {
  const auto found = distributes_.find(dvipa);
  return found != distributes_.end() && port != 0 &&
         std::any_of(found->second.begin(), found->second.end(),
                     [&](const Distribute& d) { return names_port(d, port); });
}

std::vector<NodeId> Readiness::potential_targets(IpAddress dvipa) const {
  std::vector<NodeId> out;
  const auto found = distributes_.find(dvipa);
  if (found == distributes_.end()) return out;
  for (const auto& [node, member] : members_) {
    const IpAddress address = member.xcf_address;
    if (std::any_of(found->second.begin(), found->second.end(),
                    [&](const Distribute& d) { return names_target(d, address); })) {
      out.push_back(node);
    }
  }
  return out;
}

}  // namespace testudo::vipa
