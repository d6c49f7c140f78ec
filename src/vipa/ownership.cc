// SPDX-License-Identifier: Apache-2.0
#include "vipa/ownership.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace testudo::vipa {

using facility::CasOutcome;
using facility::CompareAndSet;
using facility::Entry;
using facility::Event;
using facility::Facility;
using facility::Revision;

Ownership::Ownership(Facility& facility, Executor& executor, Options options, OwnershipEvents events)
    : facility_(facility),
      executor_(executor),
      options_(std::move(options)),
      events_(std::move(events)),
      prefix_(key_prefix(options_.cluster)),
      failsafe_(options_.failsafe),
      generation_(std::make_shared<std::uint32_t>(0)) {
  for (const Define& d : options_.definition.defines) entry_of(d.address).state.role = Role::kBackup;
  for (const Backup& b : options_.definition.backups) entry_of(b.address).state.role = Role::kBackup;
}

Ownership::~Ownership() = default;

void Ownership::start(const Identity& self) {
  ++*generation_;
  self_ = self;
  if (!watching_) watch_all();
  for (const Define& d : options_.definition.defines) list_as_backup(d.address, kRankDefines);
  for (const Backup& b : options_.definition.backups) list_as_backup(b.address, b.rank);
  for (auto& [address, dvipa] : dvipas_) {
    // After an outage of the facility all join anew, and each of them finds an address without an owner first: it
    // is for the one that owned it.
    dvipa.stands_by = own_rank(address) != kRankDefines && dvipa.former && dvipa.former->node != self.name;
    dvipa.since.reset();
    dvipa.retry_at = Time();
    dvipa.ask_at = executor_.now() + options_.give_back_after;
    succeed(dvipa);
  }
}

void Ownership::watch_all() {
  watching_ = true;
  facility_.on_reachable([this, alive = std::weak_ptr(generation_)](bool now) {
    if (alive.lock()) reachable(now);
  });
  const auto watch = [this](const std::string& what, void (Ownership::*on_event)(const Event&)) {
    facility_.watch(prefix_ + what, [this, on_event, alive = std::weak_ptr(generation_)](const Event& event) {
      if (alive.lock()) (this->*on_event)(event);
    });
  };
  watch("owner/", &Ownership::on_owner_event);
  watch("backup/", &Ownership::on_backup_event);
}

void Ownership::session_lost() {
  ++*generation_;
  self_.reset();
  for (auto& [address, dvipa] : dvipas_) {
    if (dvipa.claim == Claim::kHeld) go_on_or_lose(dvipa);
    dvipa.claim_unknown = dvipa.claim_unknown || dvipa.claim == Claim::kUnderWay || dvipa.removing;
    dvipa.claim = Claim::kIdle;
    dvipa.removing = false;
  }
}

std::vector<DvipaState> Ownership::dvipas() const {
  std::vector<DvipaState> out;
  for (const auto& [address, dvipa] : dvipas_) out.push_back(dvipa.state);
  return out;
}

std::optional<DvipaState> Ownership::dvipa(IpAddress address) const {
  const auto found = dvipas_.find(address);
  if (found == dvipas_.end()) return std::nullopt;
  return found->second.state;
}

std::string Ownership::owner_key(IpAddress dvipa) const { return prefix_ + "owner/" + dvipa.to_string(); }

std::vector<Distribute> Ownership::distributes_of(IpAddress dvipa) const {
  std::vector<Distribute> own = options_.definition.distributes_of(dvipa);
  const auto found = dvipas_.find(dvipa);
  if (!own.empty() || found == dvipas_.end()) return own;
  const auto& [present, former] = std::tie(found->second.state.owner, found->second.former);
  if (present) return present->distributes;
  return former ? former->distributes : own;
}

OwnerRecord Ownership::own_record(IpAddress address) const {
  OwnerRecord out;
  out.node = self_->name;
  out.node_id = self_->id;
  out.distributes = distributes_of(address);
  out.incarnation = self_->incarnation;
  out.session = self_->session;
  out.as_backup = own_rank(address) != kRankDefines;
  out.movement = movement_of(address);
  return out;
}

bool Ownership::is_mine(const OwnerRecord& record) const {
  return self_ && record.node == self_->name && record.incarnation == self_->incarnation &&
         record.session == self_->session;
}

Role Ownership::role_of(const Dvipa& dvipa) const {
  if (dvipa.claim == Claim::kHeld || dvipa.on_promise) return Role::kOwner;
  return own_rank(dvipa.state.address) ? Role::kBackup : Role::kNone;
}

Facility::Callback<CasOutcome> Ownership::answer(std::function<void(const Result<CasOutcome>&)> then) {
  return [alive = std::weak_ptr(generation_), generation = *generation_,
          then = std::move(then)](const Result<CasOutcome>& outcome) {
    const auto now = alive.lock();
    if (now && *now == generation) then(outcome);
  };
}

void Ownership::later(std::function<void()> task) {
  executor_.run_after(options_.retry,
                      [alive = std::weak_ptr(generation_), generation = *generation_, task = std::move(task)] {
                        const auto now = alive.lock();
                        if (now && *now == generation) task();
                      });
}

void Ownership::claim(IpAddress address) {
  Dvipa& dvipa = entry_of(address);
  if (!self_ || dvipa.claim != Claim::kIdle) return;
  dvipa.claim = Claim::kUnderWay;
  CompareAndSet request;
  request.key = owner_key(address);
  request.value = own_record(address).to_json();
  request.with_session = true;
  facility_.compare_and_set(std::move(request), answer([this, address](const Result<CasOutcome>& outcome) {
                              claim_answered(address, outcome);
                            }));
}

void Ownership::claim_answered(IpAddress address, const Result<CasOutcome>& outcome) {
  Dvipa& dvipa = entry_of(address);
  if (dvipa.claim != Claim::kUnderWay) return;  // the watch was faster, and told all there is to know
  dvipa.claim = Claim::kIdle;
  dvipa.claim_unknown = !outcome;
  if (!outcome) {
    events_.note(fmt::format("taking {}: {}; trying again", address.to_string(), outcome.error().message));
    dvipa.retry_at = executor_.now() + options_.retry;
    return succeed(dvipa);
  }
  if (outcome->done) {
    if (outcome->revision <= dvipa.last_deleted) return succeed(dvipa);  // deleted again before we heard of it
    return hold(dvipa, own_record(address), outcome->revision, outcome->revision);
  }
  if (!outcome->current) return claim(address);
  on_owner_put(dvipa, *outcome->current);
  // The watch may have told of its deletion before this older answer came: then nothing will tell again.
  if (dvipa.claim == Claim::kIdle && outcome->current->created <= dvipa.last_deleted) return succeed(dvipa);
  if (dvipa.on_promise) {
    dvipa.retry_at = executor_.now() + options_.retry;  // the old session's key is still there
    return succeed(dvipa);
  }
  if (dvipa.claim == Claim::kIdle) {
    events_.note(fmt::format("{} is owned by another node: waiting until it is given up", address.to_string()));
  }
}

Acquired Ownership::acquired(const Dvipa& dvipa) const {
  Acquired out;
  out.dvipa = dvipa.state.address;
  out.epoch = dvipa.state.epoch;
  out.since = dvipa.since.value_or(executor_.now());
  const auto& f = dvipa.former;
  if (f) out.former = Former{f->node, f->node_id, f->incarnation, dvipa.former_epoch};
  out.planned = f && f->heir == self_->name && !dead_.contains(f->node);
  return out;
}

void Ownership::hold(Dvipa& dvipa, OwnerRecord record, Revision created, Revision modified) {
  if (dvipa.on_promise && events_.renewed) return renew(dvipa, std::move(record), created, modified);
  if (dvipa.on_promise) lose(dvipa, "its epoch ends: a new one begins");
  take(dvipa, std::move(record), created, modified);
  const Acquired news = acquired(dvipa);
  dvipa.stands_by = false;
  succeed(dvipa);  // nothing more to be done
  events_.became_owner(news);
  changed(dvipa);
}

void Ownership::take(Dvipa& dvipa, OwnerRecord record, Revision created, Revision modified) {
  if (dvipa.state.owner) forget_owner(dvipa);
  dvipa.claim_unknown = false;
  dvipa.claim = Claim::kHeld;
  dvipa.state.role = Role::kOwner;
  dvipa.state.owner = std::move(record);
  dvipa.state.epoch = Epoch(created.value());
  dvipa.modified = modified;
}

void Ownership::lose(Dvipa& dvipa, const std::string& reason) {
  dvipa.wants_back = dvipa.move != Move::kHandingOver;
  end_move(dvipa);
  end_promise(dvipa);
  forget_owner(dvipa);
  dvipa.claim_unknown = dvipa.claim == Claim::kUnderWay;
  dvipa.claim = Claim::kIdle;
  dvipa.state.role = role_of(dvipa);
  dvipa.stands_by = true;
  events_.lost(dvipa.state.address, reason);
  changed(dvipa);
}

void Ownership::forget_owner(Dvipa& dvipa) {
  dvipa.former = std::exchange(dvipa.state.owner, std::nullopt);
  dvipa.former_epoch = dvipa.state.epoch;
}

void Ownership::on_owner_event(const Event& event) {
  const auto address = IpAddress::parse(std::string_view(event.entry.key).substr(prefix_.size() + 6));
  if (!address) return events_.note(fmt::format("{} names no address: ignored", event.entry.key));
  Dvipa& dvipa = entry_of(*address);
  event.deleted ? on_owner_gone(dvipa, event.entry.modified) : on_owner_put(dvipa, event.entry);
}

void Ownership::on_owner_put(Dvipa& dvipa, const Entry& entry) {
  const Epoch epoch(entry.created.value());
  if (epoch < dvipa.state.epoch || entry.created <= dvipa.last_deleted) return;  // older than what is known
  if (dvipa.state.owner && epoch == dvipa.state.epoch && entry.modified < dvipa.modified) return;
  Result<OwnerRecord> record = OwnerRecord::from_json(dvipa.state.address, entry.value);
  if (!record) return events_.note(fmt::format("{} cannot be read: {}", entry.key, record.error().message));
  const bool same = dvipa.state.owner && epoch == dvipa.state.epoch;
  const bool deposed = dvipa.claim == Claim::kHeld || (dvipa.on_promise && !is_mine(*record));
  if (deposed && !same) lose(dvipa, fmt::format("node {} owns it now", record->node));
  if (is_mine(*record) && dvipa.claim != Claim::kHeld) {
    return hold(dvipa, std::move(*record), entry.created, entry.modified);
  }
  if (dvipa.state.owner && !same) forget_owner(dvipa);
  dvipa.state.owner = std::move(*record);
  dvipa.state.epoch = epoch;
  dvipa.modified = entry.modified;
  if (!same) new_owner_seen(dvipa);
  changed(dvipa);
}

void Ownership::on_owner_gone(Dvipa& dvipa, Revision at) {
  dvipa.last_deleted = std::max(dvipa.last_deleted, at);
  if (at.value() < dvipa.state.epoch.value()) return;  // of a former ownership
  if (dvipa.claim == Claim::kHeld) {
    lose(dvipa,
         dvipa.move == Move::kHandingOver ? "moved to " + dvipa.heir : "its key in the coupling facility is gone");
  } else if (dvipa.state.owner && !dvipa.on_promise) {
    forget_owner(dvipa);
    changed(dvipa);
  }
  succeed(dvipa);
}

Ownership::Dvipa& Ownership::entry_of(IpAddress address) {
  Dvipa& dvipa = dvipas_[address];
  dvipa.state.address = address;
  return dvipa;
}

}  // namespace testudo::vipa
