// SPDX-License-Identifier: Apache-2.0
// What another owner has begun and this one goes on with.
#include "base/check.h"
#include "distributor/inbound.h"

namespace testudo::distributor {

void Inbound::sa_adopted(ipsec::Sa& sa, const WindowReport& known) {
  CHECK(sa.inbound() && known.sa == sa.id());
  give_state(sa, &known);
}

std::optional<WindowReport> Inbound::report(const ipsec::Sa& sa) const {
  const auto state = states_.find(sa.id());
  if (state == states_.end()) return std::nullopt;
  return state->second->ledger.report(sa.id(), sa.replay_window());
}

/// The log has had its beginning from the former owner, and gets its end from here.
void Inbound::add_connection(const ConnectionKey& key, NodeId target, Time now) {
  if (filters_ == nullptr || key.client.address.is_v4() != key.dvipa.address.is_v4()) return;
  const policy::Rule* rule = filters_->find(policy::Direction::kInbound, flow_of(key));
  if (rule == nullptr || rule->action == policy::Action::kDeny) return;
  const std::uint64_t hash = connections_.hash(key);
  if (connections_.find(key, hash) != nullptr) return;
  const bool clear = rule->action == policy::Action::kPermit;
  Connection* made = connections_.insert(key, hash, target, clear ? ipsec::TunnelId() : rule->tunnel, now);
  if (made == nullptr) return;
  made->state = ConnectionState::kEstablished;
  made->log = rule->log;
}

}  // namespace testudo::distributor
