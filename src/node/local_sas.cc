// SPDX-License-Identifier: Apache-2.0
#include "node/local_sas.h"

#include <utility>

namespace testudo::node {

Result<void> LocalSas::install(ipsec::SaParameters parameters, Epoch epoch, NodeId owner, Time now) {
  if (entries_.contains(parameters.id)) return {};
  const SaId id = parameters.id;
  const ike::Used threshold = ike::report_threshold(parameters.limits, options_.report_percent);
  auto sa = factory_.create(std::move(parameters));
  if (!sa) return tl::unexpected(sa.error());
  entries_[id] = {
      .sa = sa->get(), .epoch = epoch, .owner = owner, .reported = {}, .threshold = threshold, .last_report = now};
  plane_.submit(path::InstallSa{.sa = std::move(*sa), .epoch = epoch, .owner = owner});
  return {};
}

void LocalSas::remove(SaId sa, Time now) {
  const auto found = entries_.find(sa);
  if (found == entries_.end()) return;
  take(sa, found->second, now);
  entries_.erase(found);
  plane_.submit(path::RemoveSa{.id = sa});
  factory_.forget(sa);
}

void LocalSas::remove_others(IpAddress dvipa, Epoch epoch, NodeId owner, Time now) {
  std::vector<SaId> gone;
  for (const auto& [id, entry] : entries_) {
    const bool same = entry.epoch == epoch && entry.owner == owner;
    if (entry.sa->local() == dvipa && !same) gone.push_back(id);
  }
  for (const SaId id : gone) remove(id, now);
}

void LocalSas::retired(const ipsec::Sa& sa) {
  const auto found = entries_.find(sa.id());
  if (found == entries_.end() || found->second.sa != &sa) return;
  take(sa.id(), found->second, found->second.last_report);
  entries_.erase(found);
}

bool LocalSas::due(const Entry& entry, const ike::Used& fresh, Duration interval, Time now) {
  if (fresh.packets == 0) return false;
  return (entry.threshold.bytes != 0 && fresh.bytes >= entry.threshold.bytes) ||
         (entry.threshold.packets != 0 && fresh.packets >= entry.threshold.packets) ||
         now - entry.last_report >= interval;
}

void LocalSas::take(SaId id, Entry& entry, Time now) {
  const ike::Used sum = total(*entry.sa);
  const ike::Used fresh{.bytes = sum.bytes - entry.reported.bytes, .packets = sum.packets - entry.reported.packets};
  entry.reported = sum;
  entry.last_report = now;
  if (fresh.packets != 0) uses_.push_back({.sa = id, .dvipa = entry.sa->local(), .used = fresh});
}

std::vector<LocalSas::Use> LocalSas::take_use(Time now) {
  for (auto& [id, entry] : entries_) {
    const ike::Used sum = total(*entry.sa);
    const ike::Used fresh{.bytes = sum.bytes - entry.reported.bytes,
                          .packets = sum.packets - entry.reported.packets};
    if (due(entry, fresh, options_.report_interval, now)) take(id, entry, now);
  }
  return std::exchange(uses_, {});
}

}  // namespace testudo::node
