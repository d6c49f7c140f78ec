// SPDX-License-Identifier: Apache-2.0
// Ownership's part that lists this node among the backups of a DVIPA, and learns who else is there.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "vipa/ownership.h"

namespace testudo::vipa {

using facility::CasOutcome;
using facility::CompareAndSet;
using facility::Event;

void Ownership::list_as_backup(IpAddress address, std::uint8_t rank) {
  CompareAndSet request;
  request.key = fmt::format("{}backup/{}/{}", prefix_, address.to_string(), self_->name);
  request.value = BackupRecord{self_->name, self_->id, rank, self_->incarnation, self_->session}.to_json();
  request.with_session = true;
  const std::string value = request.value;
  facility_.compare_and_set(
      std::move(request), answer([this, address, rank, value](const Result<CasOutcome>& outcome) {
        // Not done, and ours: an earlier answer got lost. Not done, and of an earlier session: it will vanish with
        // that.
        if (outcome && (outcome->done || (outcome->current && outcome->current->value == value))) return;
        if (!outcome)
          events_.note(fmt::format("listing as backup of {}: {}", address.to_string(), outcome.error().message));
        later([this, address, rank] { list_as_backup(address, rank); });
      }));
}

void Ownership::on_backup_event(const Event& event) {
  const std::string_view rest = std::string_view(event.entry.key).substr(prefix_.size() + 7);
  const std::size_t slash = rest.find('/');
  const auto address = IpAddress::parse(rest.substr(0, slash));
  if (!address || slash == std::string_view::npos) {
    return events_.note(fmt::format("{} names no backup: ignored", event.entry.key));
  }
  Dvipa& dvipa = entry_of(*address);
  const std::string name(rest.substr(slash + 1));
  if (event.deleted) {
    dvipa.backups.erase(name);
  } else if (Result<BackupRecord> record = BackupRecord::from_json(event.entry.value);
             record && record->node == name) {
    dvipa.backups[name] = std::move(*record);
  } else {
    return events_.note(fmt::format("{} cannot be read: ignored", event.entry.key));
  }
  if (dvipa.on_promise && !event.deleted && name != dvipa.state.owner->node) dvipa.required.insert(name);
  changed(dvipa);
  check_promises(dvipa);
  check_heir(dvipa);
  succeed(dvipa);
}

void Ownership::changed(Dvipa& dvipa) {
  dvipa.state.backups.clear();
  for (const auto& [name, record] : dvipa.backups) {
    if (!dvipa.state.owner || name != dvipa.state.owner->node) dvipa.state.backups.push_back(record);
  }
  std::stable_sort(dvipa.state.backups.begin(), dvipa.state.backups.end(),
                   [](const BackupRecord& a, const BackupRecord& b) { return a.rank > b.rank; });
  events_.changed(dvipa.state);
}

}  // namespace testudo::vipa
