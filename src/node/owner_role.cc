// SPDX-License-Identifier: Apache-2.0
#include "node/owner_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ike/sa_message.h"
#include "node/static_filters.h"
#include "xcf/address_field.h"

namespace testudo::node {

// ---- ownership ----

void OwnerRole::became_owner(IpAddress dvipa, Epoch epoch) {
  Owned& owned = owned_[dvipa];
  owned.epoch = epoch;
  owned.ports.clear();
  owned.all_ports = false;
  for (const vipa::Distribute& distribute : parts_.config.definition.distributes_of(dvipa)) {
    owned.all_ports |= distribute.all_ports();
    owned.ports.insert(owned.ports.end(), distribute.ports.begin(), distribute.ports.end());
  }
  owned.installation = std::make_unique<ike::Installation>(dvipa, epoch, parts_.rng);
  owned.members.clear();
  for (const xcf::v1::Filter& filter : static_filters(parts_.config.filters, dvipa))
    owned.installation->add_filter(filter);
  parts_.readiness.distribute(dvipa, parts_.config.definition.distributes_of(dvipa));
  parts_.log.info("owner of {} from now on, epoch {}", dvipa.to_string(), epoch.value());
  broadcast_vipa_list();  // members refuse SAs of a DVIPA that they have not been told of
  refresh_members(dvipa, owned);
  parts_.tables_changed();
}

void OwnerRole::lost(IpAddress dvipa) {
  const auto found = owned_.find(dvipa);
  if (found == owned_.end()) return;
  // charon must not believe in SAs that are gone: it deletes them at the peers and negotiates anew under the next
  // epoch.
  for (const auto& [id, sa] : found->second.installation->sas()) {
    const IpAddress source = sa.direction == ipsec::Direction::kInbound ? sa.remote : sa.local;
    if (parts_.ike != nullptr) parts_.ike->expire(ike::name_of(sa), source, ike::Expiry::kHard);
  }
  for (const SaId id : found->second.installation->flush_sas()) remove_sa(id);
  owned_.erase(found);
  parts_.readiness.distribute(dvipa, {});
  broadcast_vipa_list();
  parts_.tables_changed();
}

void OwnerRole::backups_changed(IpAddress dvipa) {
  const auto found = owned_.find(dvipa);
  if (found == owned_.end()) return;
  broadcast_vipa_list();
  refresh_members(dvipa, found->second);
}

// ---- members ----

void OwnerRole::link_up(const xcf::v1::Hello& hello) {
  links_[hello.node()] = hello;
  parts_.readiness.link_up({.node = NodeId(static_cast<std::uint16_t>(hello.node_id())),
                            .xcf_address = xcf::address_of(hello.xcf_address()),
                            .ipsec = hello.ipsec(),
                            .distributed_ipsec = hello.distributed_ipsec()});
  send_vipa_list(hello.node());
  for (auto& [dvipa, owned] : owned_) refresh_members(dvipa, owned);
  parts_.tables_changed();
}

void OwnerRole::link_down(const std::string& node) {
  const auto found = links_.find(node);
  if (found == links_.end()) return;
  parts_.readiness.link_down(NodeId(static_cast<std::uint16_t>(found->second.node_id())));
  links_.erase(found);
  for (auto& [dvipa, owned] : owned_) refresh_members(dvipa, owned);
  parts_.tables_changed();
}

// Spec B3: potential targets that have shadow caches, and backups.
void OwnerRole::refresh_members(IpAddress dvipa, Owned& owned) {
  std::set<std::string> wanted;
  const auto targets = parts_.readiness.potential_targets(dvipa);
  for (const auto& [name, hello] : links_) {
    const NodeId id(static_cast<std::uint16_t>(hello.node_id()));
    if (hello.distributed_ipsec() && std::find(targets.begin(), targets.end(), id) != targets.end())
      wanted.insert(name);
  }
  if (const auto state = parts_.ownership.dvipa(dvipa)) {
    for (const auto& backup : state->backups) {
      const auto link = links_.find(backup.node);
      if (link != links_.end() && link->second.ipsec()) wanted.insert(backup.node);
    }
  }
  for (const std::string& name : owned.members) {
    if (!wanted.contains(name)) owned.installation->member_down(name);
  }
  for (const std::string& name : wanted) {
    if (!owned.members.contains(name)) owned.installation->member_up(name);
  }
  owned.members = std::move(wanted);
  flush_outgoing(owned);
}

void OwnerRole::flush_outgoing(Owned& owned) {
  for (ike::Outgoing& outgoing : owned.installation->take_outgoing()) {
    xcf::v1::Envelope envelope;
    envelope.mutable_install()->Swap(&outgoing.message);
    parts_.bus.send(outgoing.node, envelope);  // if the link breaks, link_up() repeats everything
    ike::scrub(*envelope.mutable_install());
  }
}

void OwnerRole::send_vipa_list(const std::string& node) {
  xcf::v1::Envelope envelope;
  xcf::v1::VipaList& list = *envelope.mutable_vipa_list();
  for (const auto& [address, owned] : owned_) {
    xcf::v1::Dvipa& dvipa = *list.add_dvipas();
    dvipa.set_address(address.to_bytes());
    dvipa.set_epoch(owned.epoch.value());
    dvipa.set_owner_node_id(parts_.self.value());
    dvipa.set_owner(parts_.config.name);
    dvipa.set_all_ports(owned.all_ports);
    for (const std::uint16_t port : owned.ports) dvipa.add_ports(port);
    for (const NodeId id : parts_.readiness.potential_targets(address)) dvipa.add_target_node_ids(id.value());
    if (const auto state = parts_.ownership.dvipa(address)) {
      for (const auto& backup : state->backups) dvipa.add_backups(backup.node);
    }
  }
  parts_.bus.send(node, envelope);
}

void OwnerRole::broadcast_vipa_list() {
  for (const auto& [name, hello] : links_) send_vipa_list(name);
}

OwnerRole::Owned* OwnerRole::find(IpAddress dvipa, Epoch epoch) {
  const auto found = owned_.find(dvipa);
  return found == owned_.end() || found->second.epoch != epoch ? nullptr : &found->second;
}

void OwnerRole::listener(const std::string& node, NodeId id, const xcf::v1::ListenerUpdate& update) {
  const IpAddress dvipa = xcf::address_of(update.dvipa());
  if (find(dvipa, Epoch(update.epoch())) == nullptr || update.port() > 65535) return;
  if (!parts_.readiness.listener(id, dvipa, static_cast<std::uint16_t>(update.port()), update.listening())) return;
  parts_.log.info("{} {} for {}:{}", node, update.listening() ? "is ready" : "is no longer ready",
                  dvipa.to_string(), update.port());
  parts_.tables_changed();
}

void OwnerRole::acknowledged(const std::string& node, const xcf::v1::Ack& ack) {
  Owned* owned = find(xcf::address_of(ack.dvipa()), Epoch(ack.epoch()));
  if (owned == nullptr) return;
  if (const auto refusal = owned->installation->acknowledged(node, ack)) {
    parts_.log.error("{} refused SAs or filters of {}: {}", node, xcf::address_of(ack.dvipa()).to_string(),
                     *refusal);
  }
}

void OwnerRole::pull(const std::string& node, const xcf::v1::Pull& pull) {
  Owned* owned = find(xcf::address_of(pull.dvipa()), Epoch(pull.epoch()));
  if (owned == nullptr) return;
  if (auto install = owned->installation->answer(node, pull)) {
    xcf::v1::Envelope envelope;
    envelope.mutable_install()->Swap(&*install);
    parts_.bus.send(node, envelope);
    ike::scrub(*envelope.mutable_install());
  }
}

// ---- lifesize and sequence numbers ----

void OwnerRole::lifesize_report(const std::string& node, const xcf::v1::LifesizeReport& report) {
  static_cast<void>(node);
  if (find(xcf::address_of(report.dvipa()), Epoch(report.epoch())) == nullptr) return;
  for (const auto& used : report.used()) {
    lifesize_.used(SaId(used.sa()), {.bytes = used.bytes(), .packets = used.packets()}, parts_.executor.now());
  }
  tell_expired();
}

void OwnerRole::used(const LocalSas::Use& use) {
  lifesize_.used(use.sa, use.used, parts_.executor.now());
  tell_expired();
}

void OwnerRole::tell_expired() {
  for (const ike::Lifesize::Due& due : lifesize_.due(parts_.executor.now())) {
    const ipsec::SaParameters* sa = find_sa(due.id);
    if (sa == nullptr) continue;
    const bool hard = due.expiry == ike::Expiry::kHard;
    const ike::SaName name = ike::name_of(*sa);
    const IpAddress source = sa->direction == ipsec::Direction::kInbound ? sa->remote : sa->local;
    parts_.log.info("SA {:#010x} of {} has reached its {} limit", name.spi.value(), sa->tunnel,
                    hard ? "hard" : "soft");
    if (parts_.ike == nullptr || !parts_.ike->expire(name, source, due.expiry)) lifesize_.retry(due);
    // Fail closed: behind the hard limit nothing is sent or accepted, whether charon is there or not.
    if (hard) static_cast<void>(delete_sa(name));
  }
}

void OwnerRole::need_ceiling(SaId id, SeqNo last) {
  const ipsec::SaParameters* sa = find_sa(id);
  if (sa == nullptr) return;
  parts_.ceilings.reserve({.sa = id, .dvipa = sa->local, .epoch = owned_.at(sa->local).epoch, .last = last});
}

void OwnerRole::near_exhaustion(SaId id) {
  const ipsec::SaParameters* sa = find_sa(id);
  if (sa == nullptr || parts_.ike == nullptr) return;
  parts_.log.info("SA {:#010x} of {} has nearly used its sequence numbers: rekeying", sa->spi.value(), sa->tunnel);
  parts_.ike->expire(ike::name_of(*sa), sa->local, ike::Expiry::kSoft);
}

void OwnerRole::tick() { tell_expired(); }

// ---- what the IKE daemon asks ----

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
  parts_.log.warning("charon is away ({}): SAs stay, nothing is negotiated or rekeyed", reason);
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
  const ike::SaName name = ike::name_of(sa);
  if (sa.direction == ipsec::Direction::kOutbound) sa.replay_window = parts_.config.ipsec.replay_window;
  if (sa.direction == ipsec::Direction::kInbound) sa.replay_window = parts_.config.ipsec.inbound_replay_window;
  auto id = (*owned)->installation->add_sa(std::move(sa));
  if (!id) return tl::unexpected(id.error());
  const ipsec::SaParameters& installed = *(*owned)->installation->find(*id);
  if (auto local = parts_.local_sas.install(installed, (*owned)->epoch, parts_.self, parts_.executor.now());
      !local) {
    static_cast<void>((*owned)->installation->delete_sa(name));
    return local;
  }
  lifesize_.add(*id, installed.limits, parts_.executor.now());
  parts_.log.info("SA {:#010x} of {} installed: {}, {}, peer {}", installed.spi.value(), installed.tunnel,
                  installed.direction == ipsec::Direction::kInbound ? "inbound" : "outbound",
                  crypto::sizes(installed.suite).name, installed.remote.to_string());
  flush_outgoing(**owned);
  return {};
}

Result<void> OwnerRole::update_sa(ike::SaName name, const ike::SaPath& path) {
  static_cast<void>(path);
  return fail(fmt::format("SA {:#010x}: an SA's addresses cannot be changed, it must be negotiated anew",
                          name.spi.value()));
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
}

void OwnerRole::flush_sas() {
  for (auto& [dvipa, owned] : owned_) {
    for (const SaId id : owned.installation->flush_sas()) remove_sa(id);
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

// Only charon's filters go: those of the configuration stay.
void OwnerRole::flush_policies() {
  for (auto& [dvipa, owned] : owned_) {
    owned.installation->flush_filters();
    for (const xcf::v1::Filter& filter : static_filters(parts_.config.filters, dvipa))
      owned.installation->add_filter(filter);
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
