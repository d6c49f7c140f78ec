// SPDX-License-Identifier: Apache-2.0
// Ownership's part that hands a DVIPA over as planned, and asks for one back.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "vipa/ownership.h"

namespace testudo::vipa {
namespace {

using facility::CasOutcome;
using facility::CompareAndSet;

std::string names(const std::vector<BackupRecord>& backups) {
  std::string out;
  for (const BackupRecord& b : backups) out += (out.empty() ? "" : ", ") + b.node;
  return out.empty() ? "none" : out;
}

bool lists(const std::vector<BackupRecord>& backups, const std::string& name) {
  return std::any_of(backups.begin(), backups.end(), [&](const BackupRecord& b) { return b.node == name; });
}

}  // namespace

Result<void> Ownership::move(IpAddress address, const std::string& to) {
  const auto found = dvipas_.find(address);
  const std::string text = address.to_string();
  if (found == dvipas_.end()) return fail(text + " is no DVIPA of this cluster: `testudo status` lists them");
  Dvipa& dvipa = found->second;
  if (dvipa.on_promise) {
    return fail(fmt::format("the coupling facility does not answer: {} can be moved when it does", text));
  }
  if (dvipa.claim != Claim::kHeld) {
    return fail(dvipa.state.owner
                    ? fmt::format("{} is owned by node {}: ask that one to move it", text, dvipa.state.owner->node)
                    : fmt::format("nobody owns {} now: a backup takes it over by itself", text));
  }
  if (to == self_->name) return fail(fmt::format("node {} owns {} already", to, text));
  if (dvipa.move != Move::kNone) {
    return fail(fmt::format("{} is being moved to node {}: wait until that has ended", text, dvipa.heir));
  }
  if (!lists(dvipa.state.backups, to)) {
    return fail(
        fmt::format("node {} cannot own {}: it is not up, or has neither VIPADEFINE nor VIPABACKUP for it; "
                    "nodes that can: {}",
                    to, text, names(dvipa.state.backups)));
  }
  if (dead_.contains(to)) return fail(fmt::format("node {} does not answer: choose another one for {}", to, text));
  dvipa.move = Move::kRecording;
  dvipa.heir = to;
  record_heir(dvipa);
  return {};
}

// One write at a time; what it should be is compared with what is recorded after every answer, so that lost answers
// and changes of mind need no care.
void Ownership::record_heir(Dvipa& dvipa) {
  if (dvipa.claim != Claim::kHeld || dvipa.writing) return;
  const IpAddress address = dvipa.state.address;
  if (dvipa.state.owner->heir == dvipa.heir) {
    if (dvipa.move != Move::kRecording) return;
    dvipa.move = Move::kReady;
    return events_.move_ready(address, dvipa.heir);
  }
  dvipa.writing = true;
  OwnerRecord record = *dvipa.state.owner;
  record.heir = dvipa.heir;
  CompareAndSet request;
  request.key = owner_key(address);
  request.expected = dvipa.modified;
  request.value = record.to_json();
  request.with_session = true;
  facility_.compare_and_set(
      std::move(request),
      answer([this, address, record, epoch = dvipa.state.epoch](const Result<CasOutcome>& outcome) {
        Dvipa& entry = entry_of(address);
        if (entry.claim == Claim::kHeld && entry.state.epoch == epoch) heir_recorded(entry, record, outcome);
      }));
}

void Ownership::heir_recorded(Dvipa& dvipa, OwnerRecord record, const Result<CasOutcome>& outcome) {
  dvipa.writing = false;
  if (!outcome) {
    events_.note(fmt::format("naming who takes {} over: {}; trying again", dvipa.state.address.to_string(),
                             outcome.error().message));
    return later([this, address = dvipa.state.address] { record_heir(entry_of(address)); });
  }
  if (outcome->done) {
    dvipa.state.owner = std::move(record);
    dvipa.modified = std::max(dvipa.modified, outcome->revision);
  } else if (outcome->current) {
    on_owner_put(dvipa, *outcome->current);
  } else {
    return;  // the watch is going to tell that the key is gone
  }
  record_heir(dvipa);
}

bool Ownership::hand_over(IpAddress address) {
  Dvipa& dvipa = entry_of(address);
  if (dvipa.move != Move::kReady) return false;
  dvipa.move = Move::kHandingOver;
  remove_own(address);
  return true;
}

// Until it is known to be gone: an answer that is lost leaves no way back.
void Ownership::remove_own(IpAddress address) {
  const Dvipa& dvipa = entry_of(address);
  if (dvipa.move != Move::kHandingOver) return;
  facility_.remove(owner_key(address), dvipa.modified, answer([this, address](const Result<CasOutcome>& outcome) {
                     remove_answered(address, outcome);
                   }));
}

void Ownership::remove_answered(IpAddress address, const Result<CasOutcome>& outcome) {
  Dvipa& dvipa = entry_of(address);
  if (dvipa.move != Move::kHandingOver) return;  // the watch was faster
  if (!outcome) {
    events_.note(fmt::format("handing {} over: {}; trying again", address.to_string(), outcome.error().message));
    return later([this, address] { remove_own(address); });
  }
  if (outcome->done) return on_owner_gone(dvipa, outcome->revision);
  if (!outcome->current) return;  // the watch is going to tell
  on_owner_put(dvipa, *outcome->current);
  remove_own(address);
}

void Ownership::abandon(IpAddress address) {
  Dvipa& dvipa = entry_of(address);
  if (dvipa.move != Move::kRecording && dvipa.move != Move::kReady) return;
  dvipa.move = Move::kNone;
  dvipa.heir.clear();
  record_heir(dvipa);
}

void Ownership::end_move(Dvipa& dvipa) {
  dvipa.move = Move::kNone;
  dvipa.heir.clear();
  dvipa.writing = false;
}

void Ownership::check_heir(Dvipa& dvipa) {
  if (dvipa.move != Move::kRecording && dvipa.move != Move::kReady) return;
  if (lists(dvipa.state.backups, dvipa.heir) && !dead_.contains(dvipa.heir)) return;
  const std::string heir = dvipa.heir;
  abandon(dvipa.state.address);
  events_.move_failed(dvipa.state.address, fmt::format("node {} is gone", heir));
}

void Ownership::ask_back(Dvipa& dvipa) {
  const auto& owner = dvipa.state.owner;
  if (!self_ || !dvipa.wants_back || own_rank(dvipa.state.address) != kRankDefines) return;
  if (!owner || !owner->as_backup || owner->heir == self_->name || dead_.contains(owner->node)) return;
  if (executor_.now() < dvipa.ask_at) return;
  dvipa.ask_at = executor_.now() + options_.give_back_after;
  events_.move_wanted(dvipa.state.address, owner->node);
}

std::optional<std::string> Ownership::best_backup(IpAddress dvipa) const {
  const auto found = dvipas_.find(dvipa);
  if (found == dvipas_.end()) return std::nullopt;
  for (const BackupRecord& backup : found->second.state.backups) {
    if (!dead_.contains(backup.node)) return backup.node;
  }
  return std::nullopt;
}

Movement Ownership::movement_of(IpAddress dvipa) const {
  if (const Define* define = options_.definition.find_define(dvipa)) return define->movement;
  const auto found = dvipas_.find(dvipa);
  if (found == dvipas_.end()) return Movement::kImmediate;
  if (found->second.state.owner) return found->second.state.owner->movement;
  return found->second.former ? found->second.former->movement : Movement::kImmediate;
}

}  // namespace testudo::vipa
