// SPDX-License-Identifier: Apache-2.0
#include "node/owner_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ike/manual_sa.h"
#include "ike/sa_message.h"
#include "node/static_filters.h"
#include "xcf/address_field.h"
#include "xcf/hello.h"

namespace testudo::node {
namespace {

ike::ReportThresholds::Options threshold_options(const NodeConfig::Lifesize& config) {
  constexpr std::uint32_t kPercent = 100;
  return {.start = config.report_percent * kPercent,
          .least = config.report_percent_min * kPercent,
          .most = config.report_percent_max * kPercent};
}

}  // namespace

OwnerRole::OwnerRole(Parts parts)
    : parts_(std::move(parts)), thresholds_(threshold_options(parts_.config.lifesize)) {}

// ---- ownership ----

void OwnerRole::became_owner(IpAddress dvipa, Epoch epoch, ShadowRole::Inheritance left) {
  Owned& owned = owned_[dvipa];
  owned.epoch = epoch;
  owned.ports.clear();
  owned.all_ports = false;
  for (const vipa::Distribute& distribute : parts_.ownership.distributes_of(dvipa)) {
    owned.all_ports |= distribute.all_ports();
    owned.ports.insert(owned.ports.end(), distribute.ports.begin(), distribute.ports.end());
  }
  owned.installation = std::make_unique<ike::Installation>(dvipa, epoch, parts_.rng);
  owned.members.clear();
  owned.serving = false;
  owned.closed.clear();
  inherit(dvipa, owned, std::move(left));
  for (const xcf::v1::Filter& filter : static_filters(parts_.config.filters, dvipa))
    owned.installation->add_filter(filter, ike::Origin::kOperator);
  parts_.readiness.distribute(dvipa, parts_.ownership.distributes_of(dvipa));
  broadcast_vipa_list();
  parts_.tables_changed();
}

void OwnerRole::lost(IpAddress dvipa) {
  const auto found = owned_.find(dvipa);
  if (found == owned_.end()) return;
  // Where a backup is, the SAs go on: whatever charon would tell the peers of them is wrong. Else it must not
  // believe in SAs that are gone: it deletes them at the peers and negotiates anew under the next epoch.
  const auto state = parts_.ownership.dvipa(dvipa);
  const bool others = state && !state->backups.empty();
  for (const auto& [id, sa] : found->second.installation->sas()) {
    const IpAddress source = sa.direction == ipsec::Direction::kInbound ? sa.remote : sa.local;
    if (!others && parts_.ike != nullptr && !ike::is_manual(sa.tunnel))
      parts_.ike->expire(ike::name_of(sa), source, ike::Expiry::kHard);
  }
  // What was set aside for them stays set aside: another owner goes on behind it.
  for (const SaId id : found->second.installation->flush_sas()) {
    parts_.ceilings.abandon(id);
    remove_sa(id);
  }
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
  parts_.readiness.link_up({.node = xcf::number_of(hello),
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
  parts_.readiness.link_down(xcf::number_of(found->second));
  links_.erase(found);
  for (auto& [dvipa, owned] : owned_) refresh_members(dvipa, owned);
  parts_.tables_changed();
}

// Spec B3: potential targets that have shadow caches, and backups. None before it serves: of what a former owner
// has left nothing may be deleted anywhere, for the next owner might need it (distributor/replay_recovery.h).
void OwnerRole::refresh_members(IpAddress dvipa, Owned& owned) {
  if (!owned.serving) return;
  std::set<std::string> wanted;
  const auto targets = parts_.readiness.potential_targets(dvipa);
  for (const auto& [name, hello] : links_) {
    const NodeId id = xcf::number_of(hello);
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
  xcf::v1::Install& install = *outgoing_.mutable_install();
  while (const std::string* node = owned.installation->next_outgoing(install)) {
    add_shares(*node, install);
    parts_.bus.send(*node, outgoing_);  // if the link breaks, link_up() repeats everything
    ike::scrub(install);
  }
}

void OwnerRole::add_shares(const std::string& node, xcf::v1::Install& install) {
  const auto link = links_.find(node);
  if (link == links_.end()) return;
  for (xcf::v1::Sa& sa : *install.mutable_sas())
    *sa.mutable_share() = ike::share_to_message(lifesize_.share(SaId(sa.id()), link->second.incarnation()));
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
  for (const SaId id : owned->installation->take_complete()) install_times_.ended(id, parts_.executor.now());
  flush_outgoing(*owned);  // what has waited for it
}

void OwnerRole::pull(const std::string& node, const xcf::v1::Pull& pull) {
  Owned* owned = find(xcf::address_of(pull.dvipa()), Epoch(pull.epoch()));
  if (owned == nullptr) return;
  if (auto install = owned->installation->answer(node, pull)) {
    xcf::v1::Envelope envelope;
    envelope.mutable_install()->Swap(&*install);
    add_shares(node, *envelope.mutable_install());
    parts_.bus.send(node, envelope);
    ike::scrub(*envelope.mutable_install());
  }
}

// ---- lifesize and sequence numbers ----

void OwnerRole::lifesize_report(const std::string& node, const xcf::v1::LifesizeReport& report) {
  const auto link = links_.find(node);
  if (link == links_.end() || find(xcf::address_of(report.dvipa()), Epoch(report.epoch())) == nullptr) return;
  const std::uint32_t host = link->second.incarnation();
  xcf::v1::Envelope envelope;
  xcf::v1::LifesizeGrant& grant = *envelope.mutable_lifesize_grant();
  grant.set_dvipa(report.dvipa());
  grant.set_epoch(report.epoch());
  for (const auto& used : report.used()) {
    const SaId id(used.sa());
    const ike::HostUse use{
        .host = host, .total = {.bytes = used.bytes(), .packets = used.packets()}, .refused = used.refused()};
    if (!lifesize_.used(id, use, parts_.executor.now())) continue;
    auto& granted = *grant.add_granted();
    granted.set_sa(id.value());
    *granted.mutable_share() = ike::share_to_message(lifesize_.share(id, host));
  }
  if (grant.granted_size() > 0) parts_.bus.send(node, envelope);
  tell_expired();
}

void OwnerRole::used(const LocalSas::Use& use) {
  const ike::HostUse mine{.host = kThisHost, .total = use.used, .refused = use.refused};
  if (lifesize_.used(use.sa, mine, parts_.executor.now()))
    parts_.local_sas.allow(use.sa, lifesize_.share(use.sa, kThisHost));
  tell_expired();
}

void OwnerRole::tell_expired() {
  for (const SaId id : lifesize_.take_run_out()) thresholds_.ran_out(id);
  for (const ike::Lifesize::Due& due : lifesize_.due(parts_.executor.now())) {
    const ipsec::SaParameters* sa = find_sa(due.id);
    if (sa == nullptr) continue;
    const bool hard = due.expiry == ike::Expiry::kHard;
    if (!due.by_time) hard ? thresholds_.ran_out(due.id) : thresholds_.soft(due.id);
    const ike::SaName name = ike::name_of(*sa);
    if (ike::is_manual(sa->tunnel)) {
      manual_due(*sa, hard);
      continue;
    }
    const IpAddress source = sa->direction == ipsec::Direction::kInbound ? sa->remote : sa->local;
    parts_.log.info("SA {:#010x} of {} has reached its {} limit", name.spi.value(), sa->tunnel,
                    hard ? "hard" : "soft");
    if (parts_.ike == nullptr || !parts_.ike->expire(name, source, due.expiry)) lifesize_.retry(due);
    // Fail closed: behind the hard limit nothing is sent or accepted, whether charon is there or not.
    if (hard) static_cast<void>(delete_sa(name));
  }
}

void OwnerRole::manual_due(const ipsec::SaParameters& sa, bool hard) {
  parts_.log.warning("manual SA {:#010x} of {} has reached its {} limit: {}", sa.spi.value(), sa.tunnel,
                     hard ? "hard" : "soft",
                     hard ? "it is gone, and its traffic is dropped" : "load a file with other keys and SPIs");
  if (!hard) return;
  const SaId id = sa.id;
  delete_manual_sa(id);
  parts_.manual_expired(id);
}

void OwnerRole::need_ceiling(SaId id, SeqNo last) {
  const ipsec::SaParameters* sa = find_sa(id);
  if (sa == nullptr) return;
  parts_.ceilings.reserve({.sa = id, .dvipa = sa->local, .epoch = owned_.at(sa->local).epoch, .last = last});
}

void OwnerRole::near_exhaustion(SaId id) {
  const ipsec::SaParameters* sa = find_sa(id);
  if (sa != nullptr && ike::is_manual(sa->tunnel)) {
    parts_.log.warning(
        "manual SA {:#010x} of {} has nearly used its sequence numbers: load a file with another key and SPI for "
        "it",
        sa->spi.value(), sa->tunnel);
    return;
  }
  if (sa == nullptr || parts_.ike == nullptr) return;
  parts_.log.info("SA {:#010x} of {} has nearly used its sequence numbers: rekeying", sa->spi.value(), sa->tunnel);
  parts_.ike->expire(ike::name_of(*sa), sa->local, ike::Expiry::kSoft);
}

void OwnerRole::tick() { tell_expired(); }

}  // namespace testudo::node
