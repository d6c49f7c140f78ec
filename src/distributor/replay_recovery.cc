// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_recovery.h"

#include <algorithm>

namespace testudo::distributor {

ReplayRecovery::ReplayRecovery(const ReplayWitnesses& before) : before_(before) {
  lost_ = before.keeper == NodeId();  // nobody has received yet, or the owner was alone
  if (lost_) return;
  missing_.insert(before.keeper);
  for (const Witness& target : before.targets) missing_.insert(target.node);
}

void ReplayRecovery::report(const MemberReport& report) {
  const auto is_other_life = [&](const Witness& target) {
    return target.node == report.from.node && target.incarnation != report.from.incarnation;
  };
  // It has restarted, and forgotten what its former self accepted.
  if (std::ranges::any_of(before_.targets, is_other_life)) lost_ = true;
  merge(windows_, report.windows);
  if (report.from.node == before_.keeper) {
    if (report.record_epoch != before_.epoch) lost_ = true;  // likewise
    merge(record_, report.record);
  }
  missing_.erase(report.from.node);
}

void ReplayRecovery::gone(NodeId node) {
  if (missing_.contains(node)) lost_ = true;
}

std::optional<WindowReport> ReplayRecovery::window(SaId sa) const {
  const auto record = record_.find(sa);
  if (lost_ || !missing_.empty() || record == record_.end()) return std::nullopt;
  WindowReport known = record->second;
  if (const auto windows = windows_.find(sa); windows != windows_.end()) known.merge(windows->second);
  return known;
}

}  // namespace testudo::distributor
