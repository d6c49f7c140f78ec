// SPDX-License-Identifier: Apache-2.0
// What the IKE daemon asks of an owner.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ike/agreement.h"
#include "ike/translation.h"
#include "node/owner_role.h"
#include "node/sa_text.h"

namespace testudo::node {

Result<OwnerRole::Owned*> OwnerRole::owned_by_us(IpAddress dvipa) {
  const auto found = owned_.find(dvipa);
  if (found != owned_.end()) return &found->second;
  return fail(fmt::format("{} is not a DVIPA that this node owns", dvipa.to_string()));
}

OwnerRole::Named OwnerRole::named(ike::SaName name) {
  for (auto& [dvipa, owned] : owned_) {
    if (const auto* sa = owned.installation->find(name)) return {.owned = &owned, .sa = sa};
  }
  return {};
}

const ipsec::SaParameters* OwnerRole::find_sa(SaId id) const {
  for (const auto& [dvipa, owned] : owned_) {
    if (const auto* sa = owned.installation->find(id)) return sa;
  }
  return nullptr;
}

void OwnerRole::ike_connected(const std::string& daemon, bool restarted) {
  charon_ = daemon;
  for (auto& [dvipa, owned] : owned_) {
    if (restarted) owned.installation->daemon_restarted();
  }
  parts_.log.info(
      "charon is here: {}{}", daemon,
      restarted ? " (newly started: SAs of its predecessor stay until they expire or are replaced)" : "");
}

void OwnerRole::ike_disconnected(const std::string& reason) {
  charon_.clear();
  mismatches_.clear();
  parts_.log.warning("charon is away ({}): SAs stay, nothing is negotiated or rekeyed", reason);
}

Result<void> OwnerRole::ike_configuration(const std::vector<ike::ChildConfiguration>& children) {
  mismatches_.clear();
  for (const auto& own : parts_.config.ipsec.connections) {
    if (std::ranges::find(children, own.name, &ike::ChildConfiguration::connection) != children.end()) continue;
    parts_.log.warning(
        "[[ipsec.connection]] {}: charon has no connection of this name, so its windows serve nobody", own.name);
  }
  for (ike::Objection& objection : ike::objections(children, parts_.config.ipsec.allow)) {
    if (!objection.refused) {
      parts_.log.warning("charon's configuration: {}", objection.text);
      continue;
    }
    parts_.log.error("charon's configuration: {}", objection.text);
    mismatches_.push_back(std::move(objection.text));
  }
  if (mismatches_.empty()) return {};
  return fail(fmt::format("{}{}", mismatches_.front(),
                          mismatches_.size() == 1 ? "" : fmt::format(" (and {} more)", mismatches_.size() - 1)));
}

Result<Spi> OwnerRole::allocate_spi(IpAddress dvipa, IpAddress peer) {
  static_cast<void>(peer);
  auto owned = owned_by_us(dvipa);
  if (!owned) return tl::unexpected(owned.error());
  return (*owned)->installation->allocate_spi();
}

Result<void> OwnerRole::add_sa(ipsec::SaParameters sa) {
  auto owned = owned_by_us(sa.local);
  if (!owned) return tl::unexpected(owned.error());
  if (auto fit = ike::check_advice(sa.suite, parts_.config.ipsec.allow); !fit) return fit;
  const auto windows = parts_.config.ipsec.windows_of(ike::connection_of(sa.tunnel));
  sa.replay_window =
      sa.direction == ipsec::Direction::kOutbound ? windows.replay_window : windows.inbound_replay_window;
  const auto id = install_sa(std::move(sa), SeqNo(1));
  return id ? Result<void>() : tl::unexpected(id.error());
}

Result<SaId> OwnerRole::install_sa(ipsec::SaParameters sa, SeqNo first) {
  auto owned = owned_by_us(sa.local);
  if (!owned) return tl::unexpected(owned.error());
  const ike::SaName name = ike::name_of(sa);
  auto id = (*owned)->installation->add_sa(std::move(sa));
  if (!id) return tl::unexpected(id.error());
  const ipsec::SaParameters& installed = *(*owned)->installation->find(*id);
  const Time now = parts_.executor.now();
  if (!(*owned)->members.empty()) install_times_.began(*id, now);
  const std::uint32_t level = thresholds_.added(*id, installed.local, installed.tunnel, installed.direction);
  lifesize_.add(*id, installed.limits, level, now);
  if (auto local = parts_.local_sas.install(installed, (*owned)->epoch, parts_.self, now,
                                            lifesize_.share(*id, kThisHost), first);
      !local) {
    static_cast<void>((*owned)->installation->delete_sa(name));
    remove_sa(*id);
    return tl::unexpected(local.error());
  }
  if (installed.direction == ipsec::Direction::kInbound) parts_.sa_added(installed.local, *id);
  flush_outgoing(**owned);  // before the line is written: every member waits for it
  parts_.log.info("SA {:#010x} of {} installed: {}, {} {}, {}, peer {}", installed.spi.value(), installed.tunnel,
                  installed.direction == ipsec::Direction::kInbound ? "inbound" : "outbound",
                  protocol_name(installed), installed.mode == ipsec::Mode::kTransport ? "transport" : "tunnel",
                  suite_name(installed), peer_of(installed));
  return *id;
}

void OwnerRole::delete_manual_sa(SaId id) {
  const ipsec::SaParameters* sa = find_sa(id);
  if (sa != nullptr) static_cast<void>(delete_sa(ike::name_of(*sa)));
}

void OwnerRole::add_filters(IpAddress dvipa, const std::vector<xcf::v1::Filter>& filters) {
  const auto found = owned_.find(dvipa);
  if (found == owned_.end()) return;
  bool changed = false;
  for (const auto& filter : filters)
    changed |= found->second.installation->add_filter(filter, ike::Origin::kOperator);
  for (const SaId id : found->second.installation->take_deleted()) remove_sa(id);
  flush_outgoing(found->second);
  if (changed) parts_.tables_changed();
}

void OwnerRole::delete_filters(IpAddress dvipa, const std::vector<xcf::v1::Filter>& filters) {
  const auto found = owned_.find(dvipa);
  if (found == owned_.end()) return;
  bool changed = false;
  for (const auto& filter : filters)
    changed |= found->second.installation->delete_filter(filter, ike::Origin::kOperator);
  flush_outgoing(found->second);
  if (changed) parts_.tables_changed();
}

Result<void> OwnerRole::update_sa(ike::SaName name, const ike::SaPath& path) {
  const Named found = named(name);
  if (found.sa == nullptr) return fail(fmt::format("no SA {:#010x} to update", name.spi.value()));
  const std::string before = peer_of(*found.sa);
  const auto id = found.owned->installation->update_sa(name, path);
  if (!id) return tl::unexpected(id.error());
  const ipsec::SaParameters& sa = *found.owned->installation->find(*id);
  parts_.local_sas.move({.id = *id,
                         .remote = {sa.remote, sa.remote_port},
                         .local_port = sa.local_port,
                         .udp_encapsulation = sa.udp_encapsulation});
  parts_.log.info("SA {:#010x} of {}: its peer has moved from {} to {}", sa.spi.value(), sa.tunnel, before,
                  peer_of(sa));
  flush_outgoing(*found.owned);
  return {};
}

void OwnerRole::peer_moved(SaId id, Endpoint remote) {
  const ipsec::SaParameters* sa = find_sa(id);
  if (sa == nullptr || !sa->udp_encapsulation || remote == Endpoint{sa->remote, sa->remote_port}) return;
  if (remote.address != sa->remote) {
    parts_.log.info("packets of {} come from {}, not from {}: waiting for IKE to say so", sa->tunnel,
                    remote.to_string(), peer_of(*sa));
    return;
  }
  const auto owned = owned_.find(sa->local);
  if (owned == owned_.end()) return;
  std::vector<std::pair<ike::SaName, ike::SaPath>> moves;
  for (const auto& [other_id, other] : owned->second.installation->sas()) {
    if (other.tunnel != sa->tunnel || !other.udp_encapsulation || other.remote != sa->remote) continue;
    const Endpoint local{other.local, other.local_port};
    const bool inbound = other.direction == ipsec::Direction::kInbound;
    moves.emplace_back(ike::name_of(other), ike::SaPath{inbound ? remote : local, inbound ? local : remote, true});
  }
  for (const auto& [name, path] : moves) {
    if (const auto done = update_sa(name, path); !done) parts_.log.warning("{}", done.error().message);
  }
}

Result<ike::SaUse> OwnerRole::query_sa(ike::SaName name) {
  const Named found = named(name);
  if (found.sa == nullptr) return fail(fmt::format("no SA {:#010x}", name.spi.value()));
  return lifesize_.total(found.sa->id, parts_.executor.now());
}

Result<void> OwnerRole::delete_sa(ike::SaName name) {
  const Named found = named(name);
  if (found.sa == nullptr) {
    for (auto& [dvipa, owned] : owned_) static_cast<void>(owned.installation->delete_sa(name));  // an allocated SPI
    return {};
  }
  parts_.log.info("SA {:#010x} of {} deleted", name.spi.value(), found.sa->tunnel);
  if (const auto id = found.owned->installation->delete_sa(name)) remove_sa(*id);
  flush_outgoing(*found.owned);
  return {};
}

void OwnerRole::remove_sa(SaId id) {
  parts_.local_sas.remove(id, parts_.executor.now());
  parts_.ceilings.forget(id);
  lifesize_.remove(id);
  thresholds_.removed(id);
  install_times_.forget(id);
}

void OwnerRole::flush_sas() {
  for (auto& [dvipa, owned] : owned_) {
    for (const SaId id : owned.installation->flush_sas(ike::Origin::kDaemon)) remove_sa(id);
    flush_outgoing(owned);
  }
}

Result<void> OwnerRole::add_policy(const ike::Policy& policy) {
  auto owned = owned_by_us(policy.dvipa);
  if (!owned) return tl::unexpected(owned.error());
  bool changed = false;
  for (const xcf::v1::Filter& filter : policy.filters) changed |= (*owned)->installation->add_filter(filter);
  for (const SaId id : (*owned)->installation->take_deleted()) remove_sa(id);
  flush_outgoing(**owned);
  if (changed) parts_.tables_changed();
  return {};
}

Result<void> OwnerRole::delete_policy(const ike::Policy& policy) {
  const auto found = owned_.find(policy.dvipa);
  if (found == owned_.end()) return {};
  bool changed = false;
  for (const xcf::v1::Filter& filter : policy.filters) changed |= found->second.installation->delete_filter(filter);
  flush_outgoing(found->second);
  if (changed) parts_.tables_changed();
  return {};
}

// Only charon's filters go: those of the configuration and of manual SAs stay.
void OwnerRole::flush_policies() {
  for (auto& [dvipa, owned] : owned_) {
    owned.installation->flush_filters();
    flush_outgoing(owned);
  }
  parts_.tables_changed();
}

void OwnerRole::send_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) {
  parts_.plane.submit(
      path::SendIke{.datagram = {.local = local, .remote = remote, .payload = {payload.begin(), payload.end()}}});
}

void OwnerRole::ike_warning(const std::string& text) { parts_.log.warning("IKE: {}", text); }

}  // namespace testudo::node
