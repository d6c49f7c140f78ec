// SPDX-License-Identifier: Apache-2.0
#include "node/shadow_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ike/sa_message.h"
#include "xcf/address_field.h"
#include "xcf/hello.h"

namespace testudo::node {
namespace {

constexpr Duration kPullAgain = 20ms;
// For that long what a DVIPA has here waits for the next owner. Who might be that one waits far shorter than the
// others: when he goes on with an SA, nobody has forgotten yet what of it he has accepted.
constexpr Duration kNextOwner = 60s;
constexpr Duration kBeNextOwner = 10s;

void note_named(ShadowRole::Named& named, const xcf::v1::Install& install) {
  for (const xcf::v1::Sa& sa : install.sas()) named.sas.insert(SaId(sa.id()));
  for (const xcf::v1::Filter& filter : install.filters()) named.filters.insert(filter.id());
}

}  // namespace

// ---- VIPAList (spec A3) ----

void ShadowRole::vipa_list(const xcf::v1::Hello& from, const xcf::v1::VipaList& list) {
  std::set<IpAddress> named;
  bool changed = false;
  for (const xcf::v1::Dvipa& record : list.dvipas()) {
    if (const auto address = xcf::host_address(record.address(), "DVIPA's"); !address) {
      parts_.log.warning("VIPAList of {}: {}", from.node(), address.error().message);
      continue;
    }
    named.insert(xcf::address_of(record.address()));
    changed |= learn(from, record);
  }
  std::vector<IpAddress> gone;
  for (const auto& [address, dvipa] : dvipas_) {
    if (dvipa.owner == from.node() && !dvipa.given_up && !named.contains(address)) gone.push_back(address);
  }
  for (const IpAddress address : gone) given_up(address);
  if (!changed && gone.empty()) return;
  parts_.dvipas_changed();
  parts_.tables_changed();
  for (const IpAddress address : named) {
    const auto found = dvipas_.find(address);
    if (found != dvipas_.end() && found->second.owner == from.node()) tell_listeners(address, found->second);
  }
}

bool ShadowRole::learn(const xcf::v1::Hello& from, const xcf::v1::Dvipa& record) {
  const IpAddress address = xcf::address_of(record.address());
  const Epoch epoch(record.epoch());
  Epoch& newest = newest_epochs_[address];
  if (epoch < newest) {
    parts_.log.warning("{} claims {} under epoch {}, which is over (the newest is {}): refused", from.node(),
                       address.to_string(), epoch.value(), newest.value());
    xcf::v1::Envelope envelope;
    envelope.mutable_refused()->set_dvipa(record.address());
    envelope.mutable_refused()->set_epoch(newest.value());
    envelope.mutable_refused()->set_what("VIPAList");
    parts_.bus.send(from.node(), envelope);
    return false;
  }
  Dvipa& dvipa = dvipas_[address];
  const bool new_owner = dvipa.epoch != epoch || dvipa.owner != from.node();
  newest = epoch;
  if (new_owner) follow(dvipa, address, from, epoch);
  dvipa.record = record;
  dvipa.given_up = false;
  return true;
}

/// The SAs and filters of the former owner go on (spec G1). Those that the new one does not name go when it has
/// named all that it has.
void ShadowRole::follow(Dvipa& dvipa, IpAddress address, const xcf::v1::Hello& owner, Epoch epoch) {
  dvipa.epoch = epoch;
  dvipa.owner = owner.node();
  dvipa.owner_id = xcf::number_of(owner);
  dvipa.listening.clear();
  dvipa.named.reset();
  parts_.local_sas.follow_owner(address, epoch, dvipa.owner_id);
  parts_.events.add(
      {.what = "followed", .dvipa = address, .epoch = epoch, .reason = fmt::format("{} owns it", dvipa.owner)});
}

void ShadowRole::epoch_seen(IpAddress dvipa, Epoch epoch) {
  Epoch& newest = newest_epochs_[dvipa];
  newest = std::max(newest, epoch);
}

/// With a backup there will soon be another owner, who goes on with what is here.
void ShadowRole::given_up(IpAddress address) {
  Dvipa& dvipa = dvipas_.at(address);
  parts_.events.add({.what = "given up",
                     .dvipa = address,
                     .epoch = dvipa.epoch,
                     .reason = fmt::format("{} no longer owns it", dvipa.owner)});
  if (dvipa.record.backups().empty()) return forget(address);
  dvipa.given_up = true;
  parts_.executor.run_after(parts_.stands_by(address) ? kBeNextOwner : kNextOwner,
                            [this, address, epoch = dvipa.epoch, alive = alive_] {
                              if (!*alive) return;
                              const auto found = dvipas_.find(address);
                              if (found == dvipas_.end() || !found->second.given_up || found->second.epoch != epoch)
                                return;
                              parts_.events.add({.what = "forgotten",
                                                 .dvipa = address,
                                                 .epoch = epoch,
                                                 .reason = "nobody has taken it over: its SAs are gone",
                                                 .level = LogLevel::kWarning});
                              forget(address);
                              parts_.dvipas_changed();
                              parts_.tables_changed();
                            });
}

void ShadowRole::forget(IpAddress address) {
  dvipas_.erase(address);
  parts_.local_sas.remove_all(address, parts_.executor.now());
}

bool ShadowRole::follows(IpAddress dvipa, const std::string& node, Epoch epoch) const {
  const auto found = dvipas_.find(dvipa);
  return found != dvipas_.end() && found->second.owner == node && found->second.epoch == epoch;
}

ShadowRole::Inheritance ShadowRole::take_over(IpAddress address, Epoch epoch, NodeId self) {
  epoch_seen(address, epoch);
  auto found = dvipas_.extract(address);
  Inheritance left;
  if (!found.empty()) left = {.sas = std::move(found.mapped().sas), .filters = std::move(found.mapped().filters)};
  for (const SaId id : parts_.local_sas.of(address)) {
    if (!left.sas.contains(id)) parts_.local_sas.remove(id, parts_.executor.now());
  }
  parts_.local_sas.follow_owner(address, epoch, self);
  return left;
}

// ---- SAs and filters (spec B4, B5) ----

std::string ShadowRole::why_refused(const xcf::v1::Hello& from, const xcf::v1::Install& install) const {
  const IpAddress address = xcf::address_of(install.dvipa());
  const auto found = dvipas_.find(address);
  if (found == dvipas_.end()) return fmt::format("{} is no DVIPA that this node knows", address.to_string());
  if (found->second.owner != from.node() || found->second.epoch != Epoch(install.epoch())) {
    return fmt::format("epoch {} of {} is not the present one, {} of {}", install.epoch(), from.node(),
                       found->second.epoch.value(), found->second.owner);
  }
  const auto valid = ike::check_install(install);
  return valid ? "" : valid.error().message;
}

void ShadowRole::install(const xcf::v1::Hello& from, const xcf::v1::Install& install) {
  xcf::v1::Envelope envelope;
  xcf::v1::Ack& ack = *envelope.mutable_ack();
  ack.set_number(install.number());
  ack.set_dvipa(install.dvipa());
  ack.set_epoch(install.epoch());
  ack.set_refused(why_refused(from, install));
  if (ack.refused().empty()) {
    if (const auto done = apply(dvipas_.at(xcf::address_of(install.dvipa())), install); !done) {
      ack.set_refused(done.error().message);
    }
  }
  if (!ack.refused().empty()) parts_.log.warning("refused SAs or filters from {}: {}", from.node(), ack.refused());
  parts_.bus.send(from.node(), envelope);
}

Result<void> ShadowRole::apply(Dvipa& dvipa, const xcf::v1::Install& install) {
  const IpAddress address = xcf::address_of(install.dvipa());
  if (install.replace_begins()) dvipa.named.emplace();
  if (install.replace_all() && !dvipa.named) dvipa.named.emplace();
  if (dvipa.named) note_named(*dvipa.named, install);
  if (install.replace_all()) drop_unnamed(address, dvipa, *std::exchange(dvipa.named, std::nullopt));
  Result<void> result;
  for (const xcf::v1::Sa& message : install.sas()) {
    if (auto done = install_sa(dvipa, message); !done) result = done;
  }
  for (const xcf::v1::UpdateSa& message : install.update_sas()) move_sa(dvipa, message);
  for (const std::uint64_t id : install.delete_sas()) delete_sa(address, dvipa, SaId(id));
  for (const xcf::v1::Filter& filter : install.filters()) {
    dvipa.filters[filter.id()] = filter;
    dvipa.filter_changes.push_back({filter.id(), filter});
  }
  for (const std::uint64_t id : install.delete_filters()) {
    dvipa.filters.erase(id);
    dvipa.filter_changes.push_back({id, std::nullopt});
  }
  if (install.replace_all() || install.filters_size() > 0 || install.delete_filters_size() > 0)
    parts_.tables_changed();
  return result;
}

Result<void> ShadowRole::install_sa(Dvipa& dvipa, const xcf::v1::Sa& message) {
  auto sa = ike::sa_from_message(message);
  if (!sa) return tl::unexpected(sa.error());
  if (parts_.stands_by(sa->local)) dvipa.sas[sa->id] = *sa;
  return parts_.local_sas.install(std::move(*sa), dvipa.epoch, dvipa.owner_id, parts_.executor.now(),
                                  ike::share_from_message(message.share()));
}

void ShadowRole::move_sa(Dvipa& dvipa, const xcf::v1::UpdateSa& message) {
  const auto move = ike::update_from_message(message);
  if (!move) return;
  parts_.local_sas.move(*move);
  const auto kept = dvipa.sas.find(move->id);
  if (kept != dvipa.sas.end()) ike::follow(kept->second, *move);
}

void ShadowRole::delete_sa(IpAddress address, Dvipa& dvipa, SaId id) {
  dvipa.sas.erase(id);
  parts_.local_sas.remove(id, parts_.executor.now());
  parts_.deleted(address, id);
}

// What the owner still has stays as it is, with its replay window; the rest goes.
void ShadowRole::drop_unnamed(IpAddress address, Dvipa& dvipa, const Named& named) {
  for (const SaId id : parts_.local_sas.of(address)) {
    if (!named.sas.contains(id)) delete_sa(address, dvipa, id);
  }
  std::erase_if(dvipa.filters, [&](const auto& entry) {
    if (named.filters.contains(entry.first)) return false;
    dvipa.filter_changes.push_back({entry.first, std::nullopt});
    return true;
  });
}

std::vector<ike::FilterChange> ShadowRole::take_filter_changes(IpAddress dvipa) {
  const auto found = dvipas_.find(dvipa);
  return found == dvipas_.end() ? std::vector<ike::FilterChange>()
                                : std::exchange(found->second.filter_changes, {});
}

void ShadowRole::unknown_spi(IpAddress address, Spi spi, IpAddress remote) {
  const auto found = dvipas_.find(address);
  if (found == dvipas_.end()) return;
  const Time now = parts_.executor.now();
  std::erase_if(pulled_, [now](const auto& entry) { return now - entry.second > 50 * kPullAgain; });
  const auto [entry, fresh] = pulled_.try_emplace({spi, remote}, now);
  if (!fresh && now - entry->second < kPullAgain) return;
  entry->second = now;
  xcf::v1::Envelope envelope;
  xcf::v1::Pull& pull = *envelope.mutable_pull();
  pull.set_dvipa(address.to_bytes());
  pull.set_epoch(found->second.epoch.value());
  pull.set_spi(spi.value());
  pull.set_remote(remote.to_bytes());
  parts_.bus.send(found->second.owner, envelope);
}

void ShadowRole::refused(const std::string& node, const xcf::v1::Refused& refused) {
  parts_.log.warning("{} refused our {} for {}: it knows epoch {}", node, refused.what(),
                     xcf::address_of(refused.dvipa()).to_string(), refused.epoch());
}

// ---- listeners (spec A4) ----

std::set<std::uint16_t> ShadowRole::distributed_listeners(IpAddress address, const Dvipa& dvipa) const {
  std::set<std::uint16_t> ports;
  for (const io::Listener& listener : listeners_) {
    if (!io::listens_on(listener, address)) continue;
    const auto& distributed = dvipa.record.ports();
    const bool named = std::find(distributed.begin(), distributed.end(), listener.port) != distributed.end();
    if (named || dvipa.record.all_ports()) ports.insert(listener.port);
  }
  return ports;
}

void ShadowRole::tell_listeners(IpAddress address, Dvipa& dvipa) {
  const auto ports = distributed_listeners(address, dvipa);
  const auto tell = [&](std::uint16_t port, bool listening) {
    xcf::v1::Envelope envelope;
    xcf::v1::ListenerUpdate& update = *envelope.mutable_listener();
    update.set_dvipa(address.to_bytes());
    update.set_epoch(dvipa.epoch.value());
    update.set_port(port);
    update.set_listening(listening);
    return parts_.bus.send(dvipa.owner, envelope);
  };
  for (const std::uint16_t port : ports) {
    if (!dvipa.listening.contains(port) && tell(port, true)) dvipa.listening.insert(port);
  }
  for (auto port = dvipa.listening.begin(); port != dvipa.listening.end();) {
    port = !ports.contains(*port) && tell(*port, false) ? dvipa.listening.erase(port) : std::next(port);
  }
}

void ShadowRole::listening(const std::set<io::Listener>& listeners) {
  listeners_ = listeners;
  for (auto& [address, dvipa] : dvipas_) tell_listeners(address, dvipa);
}

void ShadowRole::link_up(const std::string& node) {
  for (auto& [address, dvipa] : dvipas_) {
    if (dvipa.owner != node) continue;
    dvipa.listening.clear();
    tell_listeners(address, dvipa);
    parts_.local_sas.report_again(address);
  }
}

// ---- lifesize (spec D2, E4) ----

void ShadowRole::used(const std::vector<LocalSas::Use>& uses) {
  std::map<IpAddress, xcf::v1::Envelope> reports;
  for (const LocalSas::Use& use : uses) {
    const auto found = dvipas_.find(use.dvipa);
    if (found == dvipas_.end()) continue;
    xcf::v1::LifesizeReport& report = *reports[use.dvipa].mutable_lifesize();
    report.set_dvipa(use.dvipa.to_bytes());
    report.set_epoch(found->second.epoch.value());
    auto& entry = *report.add_used();
    entry.set_sa(use.sa.value());
    entry.set_bytes(use.used.bytes);
    entry.set_packets(use.used.packets);
    entry.set_refused(use.refused);
  }
  // What a link that is down does not take is repeated when it is up again.
  for (const auto& [address, envelope] : reports) parts_.bus.send(dvipas_.at(address).owner, envelope);
}

void ShadowRole::granted(const xcf::v1::Hello& from, const xcf::v1::LifesizeGrant& grant) {
  const auto found = dvipas_.find(xcf::address_of(grant.dvipa()));
  if (found == dvipas_.end() || found->second.owner != from.node() || found->second.epoch != Epoch(grant.epoch())) {
    return;
  }
  for (const auto& one : grant.granted())
    parts_.local_sas.allow(SaId(one.sa()), ike::share_from_message(one.share()));
}

}  // namespace testudo::node
