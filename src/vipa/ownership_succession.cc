// SPDX-License-Identifier: Apache-2.0
// Ownership's part that decides who follows an owner that is dead or gone, and when.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "vipa/ownership.h"

namespace testudo::vipa {

using facility::CasOutcome;

namespace {

/// Delay of one whose the address is: it was handed over, or never given up. No promise keeps it from that.
constexpr Duration kOwn(-1);

}  // namespace

void Ownership::suspect(const std::set<std::string>& dead) {
  dead_ = dead;
  for (auto& [address, dvipa] : dvipas_) {
    const bool alive = dvipa.state.owner && !dead_.contains(dvipa.state.owner->node);
    if (alive && dvipa.hear_after && executor_.now() >= *dvipa.hear_after) dvipa.hear_after.reset();
    check_heir(dvipa);
    succeed(dvipa);
    ask_back(dvipa);
  }
}

// A key that is new shows that its creator reaches the facility, whatever is thought of it on XCF.
void Ownership::new_owner_seen(Dvipa& dvipa) {
  const bool deposed = std::exchange(dvipa.stands_by, false);
  dvipa.hear_after.reset();
  dvipa.claim_unknown = false;
  dvipa.ask_at = executor_.now() + options_.give_back_after;
  if (deposed || dead_.contains(dvipa.state.owner->node)) {
    dvipa.hear_after = executor_.now() + (deposed ? options_.stand_by : Duration());
  }
  succeed(dvipa);
}

bool Ownership::needs_owner(const Dvipa& dvipa) const {
  if (dvipa.claim == Claim::kHeld) return false;
  if (dvipa.on_promise) return true;  // it needs its key
  if (!dvipa.state.owner) return true;
  return !dvipa.hear_after && dead_.contains(dvipa.state.owner->node);
}

void Ownership::succeed(Dvipa& dvipa) {
  if (dvipa.timer != 0) executor_.cancel(std::exchange(dvipa.timer, 0));
  if (!needs_owner(dvipa)) return dvipa.since.reset();
  const Time now = executor_.now();
  if (!dvipa.since) dvipa.since = now;
  if (!self_ || dvipa.claim != Claim::kIdle || dvipa.removing) return;
  const std::optional<Duration> delay = delay_of(dvipa);
  if (!delay) return;
  const IpAddress address = dvipa.state.address;
  const Time from = *delay == kOwn ? *dvipa.since : std::max(*dvipa.since, failsafe_.bound_until(address));
  const Time due = std::max(from + *delay, dvipa.retry_at);
  if (due <= now) return dvipa.state.owner && !dvipa.on_promise ? depose(dvipa) : claim(address);
  dvipa.timer = executor_.run_after(due - now, [this, address, alive = std::weak_ptr(generation_)] {
    if (!alive.lock()) return;
    entry_of(address).timer = 0;
    succeed(entry_of(address));
  });
}

std::optional<Duration> Ownership::delay_of(const Dvipa& dvipa) const {
  if (dvipa.on_promise) return kOwn;
  const auto rank = own_rank(dvipa.state.address);
  if (!rank) return std::nullopt;
  const Duration behind = options_.lower_rank_delay * better_ones(dvipa, *rank);
  if (dvipa.state.owner) return behind;
  if (const std::string* heir = heir_of(dvipa)) {
    return *heir == self_->name ? kOwn : options_.heir_delay + behind;
  }
  if (dvipa.stands_by) return options_.stand_by + behind;
  if (!dvipa.former && *rank != kRankDefines) return options_.orphan_delay + behind;
  return behind;
}

/// Of an address without an owner: whom the last one has named, if that one is there.
const std::string* Ownership::heir_of(const Dvipa& dvipa) const {
  if (!dvipa.former || dvipa.former->heir.empty()) return nullptr;
  const std::string& heir = dvipa.former->heir;
  const bool there = heir == self_->name || (dvipa.backups.contains(heir) && !dead_.contains(heir));
  return there ? &heir : nullptr;
}

std::optional<std::uint8_t> Ownership::own_rank(IpAddress address) const {
  if (options_.definition.find_define(address)) return kRankDefines;
  const Backup* backup = options_.definition.find_backup(address);
  return backup ? std::optional(backup->rank) : std::nullopt;
}

// The former owner, if its key is gone, stands by or is gone itself, though its entry may vanish a moment later.
std::uint32_t Ownership::better_ones(const Dvipa& dvipa, std::uint8_t rank) const {
  const OwnerRecord* last = dvipa.state.owner ? &*dvipa.state.owner : dvipa.former ? &*dvipa.former : nullptr;
  return static_cast<std::uint32_t>(std::count_if(dvipa.backups.begin(), dvipa.backups.end(), [&](const auto& b) {
    const auto& [name, record] = b;
    if (dead_.contains(name) || name == self_->name || (last && name == last->node)) return false;
    return record.rank > rank || (record.rank == rank && name < self_->name);
  }));
}

void Ownership::depose(Dvipa& dvipa) {
  dvipa.removing = true;
  const IpAddress address = dvipa.state.address;
  events_.note(fmt::format("{}: its owner {} is dead, taking over", address.to_string(), dvipa.state.owner->node));
  facility_.remove(owner_key(address), dvipa.modified, answer([this, address](const Result<CasOutcome>& outcome) {
                     depose_answered(address, outcome);
                   }));
}

void Ownership::depose_answered(IpAddress address, const Result<CasOutcome>& outcome) {
  Dvipa& dvipa = entry_of(address);
  dvipa.removing = false;
  dvipa.claim_unknown = !outcome;
  if (!outcome) {
    events_.note(fmt::format("taking {} over: {}; trying again", address.to_string(), outcome.error().message));
    dvipa.retry_at = executor_.now() + options_.retry;
    return succeed(dvipa);
  }
  if (outcome->done) return on_owner_gone(dvipa, outcome->revision);
  if (outcome->current) on_owner_put(dvipa, *outcome->current);
  if (outcome->current || !dvipa.state.owner)
    succeed(dvipa);  // else its watch is going to tell that the key is gone
}

}  // namespace testudo::vipa
