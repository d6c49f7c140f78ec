// SPDX-License-Identifier: Apache-2.0
#include "distributor/target_choice.h"

#include <algorithm>
#include <tuple>

namespace testudo::distributor {

TargetChoice::Turn* TargetChoice::turn(IpAddress dvipa, std::uint16_t port) {
  const auto found = std::ranges::lower_bound(turns_, std::tuple(dvipa, port), {},
                                              [](const Turn& t) { return std::tuple(t.dvipa, t.port); });
  return found != turns_.end() && found->dvipa == dvipa && found->port == port ? &*found : nullptr;
}

void TargetChoice::set_distribution(const Distribution& distribution) {
  std::vector<Turn> turns;
  for (const Dvipa& dvipa : distribution.dvipas()) {
    for (const ReadyPort& ready : dvipa.ready) {
      const Turn* before = turn(dvipa.address, ready.port);
      turns.push_back({dvipa.address, ready.port, before == nullptr ? NodeId() : before->last});
    }
  }
  turns_ = std::move(turns);  // in order, because the distribution's lists are
}

NodeId TargetChoice::choose(const Dvipa& dvipa, std::uint16_t port, Protection protection) {
  Turn* const turn = this->turn(dvipa.address, port);
  if (turn == nullptr) return NodeId();
  NodeId first, next;  // the lowest that will do, and the lowest after the last one chosen
  for (const ReadyTarget& target : dvipa.ready_for(port)) {
    if (protection == Protection::kIpsec && !target.takes_ipsec) continue;
    if (first == NodeId()) first = target.node;
    if (target.node > turn->last && next == NodeId()) next = target.node;
  }
  const NodeId chosen = next != NodeId() ? next : first;
  if (chosen != NodeId()) turn->last = chosen;
  return chosen;
}

}  // namespace testudo::distributor
