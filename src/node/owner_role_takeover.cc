// SPDX-License-Identifier: Apache-2.0
// What becomes of the SAs and filters that a former owner has left (spec C5, G1, G3).
#include <utility>

#include "ike/manual_sa.h"
#include "node/owner_role.h"

namespace testudo::node {

/// Manual SAs are the operator's: this node installs those of its own files, behind the numbers that were used.
/// Filters that name no tunnel are those of the former owner's configuration: this node has its own.
void OwnerRole::inherit(IpAddress dvipa, Owned& owned, ShadowRole::Inheritance left) {
  for (auto& [id, sa] : left.sas) {
    const auto here = parts_.local_sas.all().find(id);
    const bool wanted = here != parts_.local_sas.all().end() && !ike::is_manual(sa.tunnel);
    const std::uint32_t level = wanted ? thresholds_.added(id, sa.local, sa.tunnel, sa.direction) : 0;
    if (wanted) lifesize_.add(id, sa.limits, level, here->second.installed);
    if (!wanted || !owned.installation->inherit_sa(std::move(sa))) remove_sa(id);
  }
  for (const auto& [id, filter] : left.filters) {
    if (!filter.tunnel().empty() && !ike::is_manual(filter.tunnel())) owned.installation->inherit_filter(filter);
  }
  if (!owned.installation->sas().empty()) {
    parts_.log.info("{}: {} SAs of the former owner are here", dvipa.to_string(), owned.installation->sas().size());
  }
}

void OwnerRole::go_on(IpAddress dvipa, const Takeover::Found& found) {
  const auto entry = owned_.find(dvipa);
  if (entry == owned_.end()) return;
  Owned& owned = entry->second;
  for (const auto& [id, sa] : owned.installation->sas()) {
    if (!go_on(owned, sa, found)) owned.closed.push_back(id);
  }
}

/// Outbound: behind all that was set aside; without that nobody knows what was granted. Inbound: from the union of
/// what may have been accepted.
bool OwnerRole::go_on(const Owned& owned, const ipsec::SaParameters& sa, const Takeover::Found& found) {
  path::OwnSa own{.id = sa.id, .epoch = owned.epoch, .first = SeqNo(1), .known = {}};
  if (sa.direction == ipsec::Direction::kInbound) {
    const auto known = found.window(sa.id);
    if (!known) return false;
    own.known = *known;
  } else {
    const auto ceiling = found.ceilings.find(sa.id);
    if (ceiling == found.ceilings.end() || ceiling->second.last == Ceilings::kUnknown) return false;
    parts_.ceilings.inherit(sa.id, ceiling->second);
    own.first = SeqNo(ceiling->second.last.value() + 1);
  }
  parts_.plane.submit(std::move(own));
  return true;
}

void OwnerRole::serve(IpAddress dvipa) {
  const auto found = owned_.find(dvipa);
  if (found == owned_.end() || found->second.serving) return;
  Owned& owned = found->second;
  owned.serving = true;
  for (const SaId id : std::exchange(owned.closed, {})) {
    const ipsec::SaParameters* sa = owned.installation->find(id);
    if (sa != nullptr) static_cast<void>(delete_sa(ike::name_of(*sa)));
  }
  refresh_members(dvipa, owned);
  parts_.tables_changed();
}

void OwnerRole::pause(IpAddress dvipa) {
  const auto found = owned_.find(dvipa);
  if (found != owned_.end()) found->second.serving = false;
}

}  // namespace testudo::node
