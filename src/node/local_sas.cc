// SPDX-License-Identifier: Apache-2.0
#include "node/local_sas.h"

#include <algorithm>
#include <utility>

namespace testudo::node {

namespace {

/// All but the keys.
ipsec::SaParameters without_keys(const ipsec::SaParameters& sa) {
  ipsec::SaParameters out;
  out.id = sa.id;
  out.direction = sa.direction;
  out.protocol = sa.protocol;
  out.mode = sa.mode;
  out.spi = sa.spi;
  out.local = sa.local;
  out.remote = sa.remote;
  out.udp_encapsulation = sa.udp_encapsulation;
  out.local_port = sa.local_port;
  out.remote_port = sa.remote_port;
  out.tunnel = sa.tunnel;
  out.reqid = sa.reqid;
  out.suite = sa.suite;
  out.replay_window = sa.replay_window;
  out.esn = sa.esn;
  if (sa.inner_esp)
    out.inner_esp = ipsec::InnerEsp{.spi = sa.inner_esp->spi, .suite = sa.inner_esp->suite, .key = {}};
  out.dont_fragment = sa.dont_fragment;
  out.copy_dscp = sa.copy_dscp;
  out.limits = sa.limits;
  return out;
}

}  // namespace

Result<void> LocalSas::install(ipsec::SaParameters parameters, Epoch epoch, NodeId owner, Time now,
                               const ike::Share& share, SeqNo first) {
  if (const auto here = entries_.find(parameters.id); here != entries_.end()) {
    allow(parameters.id, share);
    follow(here->second.shown, parameters);
    return {};
  }
  const SaId id = parameters.id;
  ipsec::SaParameters shown = without_keys(parameters);
  if (key_log_ != nullptr) key_log_->add(parameters);
  auto sa = factory_.create(std::move(parameters));
  if (!sa) return tl::unexpected(sa.error());
  (*sa)->allow({.bytes = share.allowed.bytes, .packets = share.allowed.packets});
  entries_[id] = {.sa = sa->get(),
                  .shown = std::move(shown),
                  .epoch = epoch,
                  .owner = owner,
                  .installed = now,
                  .share = share,
                  .reported = {},
                  .last_report = now};
  plane_.submit(path::InstallSa{.sa = std::move(*sa), .epoch = epoch, .owner = owner, .first = first});
  return {};
}

void LocalSas::allow(SaId id, const ike::Share& share) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  const ike::Used& known = entry.share.allowed;
  const bool older = share.allowed.bytes < known.bytes || share.allowed.packets < known.packets;
  if (older || share == entry.share) return;
  entry.share = share;
  entry.refusal_told = false;
  entry.sa->allow({.bytes = share.allowed.bytes, .packets = share.allowed.packets});
}

/// An owner that repeats everything after a broken link may have moved an SA meanwhile.
void LocalSas::follow(const ipsec::SaParameters& shown, const ipsec::SaParameters& now) {
  if (shown.remote == now.remote && shown.remote_port == now.remote_port && shown.local_port == now.local_port &&
      shown.udp_encapsulation == now.udp_encapsulation) {
    return;
  }
  move({.id = now.id,
        .remote = {now.remote, now.remote_port},
        .local_port = now.local_port,
        .udp_encapsulation = now.udp_encapsulation});
}

void LocalSas::move(const ike::SaMove& move) {
  const auto found = entries_.find(move.id);
  if (found == entries_.end()) return;
  ike::follow(found->second.shown, move);
  plane_.submit(path::MoveSa{.id = move.id,
                             .remote = move.remote,
                             .local_port = move.local_port,
                             .udp_encapsulation = move.udp_encapsulation});
}

void LocalSas::remove(SaId sa, Time now) {
  const auto found = entries_.find(sa);
  if (found == entries_.end()) return;
  take(sa, found->second, now);
  entries_.erase(found);
  plane_.submit(path::RemoveSa{.id = sa});
  factory_.forget(sa);
}

void LocalSas::follow_owner(IpAddress dvipa, Epoch epoch, NodeId owner) {
  for (auto& [id, entry] : entries_) {
    if (entry.sa->local() != dvipa) continue;
    entry.epoch = epoch;
    entry.owner = owner;
    entry.repeat = true;
  }
  plane_.submit(path::FollowOwner{.dvipa = dvipa, .epoch = epoch, .owner = owner});
}

void LocalSas::remove_all(IpAddress dvipa, Time now) {
  for (const SaId id : of(dvipa)) remove(id, now);
}

std::vector<SaId> LocalSas::of(IpAddress dvipa) const {
  std::vector<SaId> ids;
  for (const auto& [id, entry] : entries_) {
    if (entry.sa->local() == dvipa) ids.push_back(id);
  }
  return ids;
}

void LocalSas::retired(const ipsec::Sa& sa) {
  const auto found = entries_.find(sa.id());
  if (found == entries_.end() || found->second.sa != &sa) return;
  take(sa.id(), found->second, found->second.last_report);
  entries_.erase(found);
}

namespace {

/// Half of what a report left of the share is used.
bool half_used(std::uint64_t limit, std::uint64_t allowed, std::uint64_t reported, std::uint64_t used) {
  return limit != 0 && used > reported && used - reported >= (allowed - std::min(allowed, reported)) / 2;
}

bool reached(std::uint64_t fresh, std::uint64_t threshold) { return threshold != 0 && fresh >= threshold; }

}  // namespace

bool LocalSas::due(const Entry& entry, const ike::Used& sum, Time now) const {
  const bool late = now - entry.last_report >= options_.report_interval;
  if (entry.repeat) return true;
  if (entry.sa->refused() && (!entry.refusal_told || late)) return true;
  if (sum.packets == entry.reported.packets) return false;
  const ipsec::LifesizeLimits& limits = entry.shown.limits;
  const auto& [allowed, report] = entry.share;
  return late || reached(sum.bytes - entry.reported.bytes, report.bytes) ||
         reached(sum.packets - entry.reported.packets, report.packets) ||
         half_used(limits.hard_bytes, allowed.bytes, entry.reported.bytes, sum.bytes) ||
         half_used(limits.hard_packets, allowed.packets, entry.reported.packets, sum.packets);
}

void LocalSas::take(SaId id, Entry& entry, Time now) {
  const ike::Used sum = total(*entry.sa);
  const bool refused = entry.sa->refused();
  if (sum.packets != 0 || refused)
    uses_.push_back({.sa = id, .dvipa = entry.sa->local(), .used = sum, .refused = refused});
  entry.reported = sum;
  entry.last_report = now;
  entry.refusal_told = refused;
  entry.repeat = false;
}

std::vector<LocalSas::Use> LocalSas::take_use(Time now) {
  for (auto& [id, entry] : entries_) {
    if (due(entry, total(*entry.sa), now)) take(id, entry, now);
  }
  return std::exchange(uses_, {});
}

void LocalSas::report_again(IpAddress dvipa) {
  for (auto& [id, entry] : entries_) entry.repeat |= entry.sa->local() == dvipa;
}

}  // namespace testudo::node
