// SPDX-License-Identifier: Apache-2.0
#include "distributor/distribution.h"

#include <algorithm>
#include <utility>

namespace testudo::distributor {

bool Dvipa::distributes(std::uint16_t port) const { return all_ports || std::ranges::binary_search(ports, port); }

std::span<const ReadyTarget> Dvipa::ready_for(std::uint16_t port) const {
  const auto found = std::ranges::lower_bound(ready, port, {}, &ReadyPort::port);
  if (found == ready.end() || found->port != port) return {};
  return found->targets;
}

Distribution::Distribution(NodeId self, std::vector<Member> members, std::vector<Dvipa> dvipas,
                           std::vector<IpAddress> local)
    : self_(self), members_(std::move(members)), dvipas_(std::move(dvipas)), local_(local.begin(), local.end()) {
  std::ranges::sort(members_, {}, &Member::node);
  if (!members_.empty()) member_index_.resize(members_.back().node.value() + std::size_t{1});
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    member_index_[members_[i].node.value()] = i + 1;
    member_at_[members_[i].data.address] = i;
  }
  std::ranges::sort(dvipas_, {}, &Dvipa::address);
  for (std::uint32_t i = 0; i < dvipas_.size(); ++i) {
    Dvipa& dvipa = dvipas_[i];
    dvipa_index_[dvipa.address] = i;
    local_.erase(dvipa.address);
    std::ranges::sort(dvipa.ports);
    if (dvipa.forward_to) std::ranges::sort(*dvipa.forward_to);
    std::ranges::sort(dvipa.ready, {}, &ReadyPort::port);
    for (ReadyPort& port : dvipa.ready) {
      std::erase_if(port.targets, [&](const ReadyTarget& t) { return target(dvipa, t.node) == nullptr; });
      std::ranges::sort(port.targets, {}, &ReadyTarget::node);
    }
  }
}

const Dvipa* Distribution::find(IpAddress address) const {
  const auto found = dvipa_index_.find(address);
  return found == dvipa_index_.end() ? nullptr : &dvipas_[found->second];
}

const Member* Distribution::member_at(IpAddress xcf) const {
  const auto found = member_at_.find(xcf);
  return found == member_at_.end() ? nullptr : &members_[found->second];
}

}  // namespace testudo::distributor
