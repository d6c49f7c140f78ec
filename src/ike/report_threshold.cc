// SPDX-License-Identifier: Apache-2.0
#include "ike/report_threshold.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::ike {

ReportThresholds::ReportThresholds(const Options& options) : options_(options) {
  CHECK(options.least > 0 && options.least <= options.start && options.start <= options.most);
}

std::uint32_t ReportThresholds::added(SaId id, IpAddress dvipa, const std::string& tunnel,
                                      ipsec::Direction direction) {
  removed(id);
  if (idle_ >= kIdleMost) forget_idle();
  const auto [line, fresh] = lines_.try_emplace({dvipa, tunnel, direction});
  if (fresh) line->second = {.level = options_.start, .patience = options_.patience};
  line->second.newest = id;
  if (!fresh && line->second.alive == 0) --idle_;
  ++line->second.alive;
  members_[id] = {.line = line, .level = line->second.level};
  return line->second.level;
}

void ReportThresholds::soft(SaId id) {
  if (const auto found = members_.find(id); found != members_.end()) found->second.soft = true;
}

void ReportThresholds::ran_out(SaId id) {
  const auto found = members_.find(id);
  if (found == members_.end() || found->second.late) return;
  Member& member = found->second;
  Line& line = member.line->second;
  member.soft = true;
  if (line.newest != id) return;  // its successor is there already
  member.late = true;
  ++counts_.late;
  lower(line, member.level);
}

void ReportThresholds::removed(SaId id) {
  const auto found = members_.find(id);
  if (found == members_.end()) return;
  const Member member = found->second;
  members_.erase(found);
  Line& line = member.line->second;
  --line.alive;
  // Deleted without a successor, or for another reason than its volume: that says nothing.
  if (member.soft && !member.late && line.newest != id) {
    ++counts_.timely;
    ++line.in_time;
    if (member.level >= line.level) raise(line);  // else the present level has yet to prove itself
  }
  if (line.alive != 0) return;
  ++idle_;
  if (line.level != options_.start || line.failed != 0) return;  // worth remembering
  lines_.erase(member.line);
  --idle_;
}

void ReportThresholds::lower(Line& line, std::uint32_t failed) const {
  if (line.trying) line.patience = std::min(2 * line.patience, kPatienceMost);
  line.trying = false;
  line.failed = line.failed == 0 ? failed : std::min(line.failed, failed);
  line.level = std::max(options_.least, std::min(line.level, failed / 2));
  line.in_time = 0;
}

/// The present level has proved itself.
void ReportThresholds::raise(Line& line) const {
  if (line.level >= options_.most) {
    line.trying = false;
    line.patience = options_.patience;
    return;
  }
  std::uint32_t next = std::min(options_.most, line.level + std::max(1U, line.level / 4));
  const std::uint32_t safe = line.failed - line.failed / 5;
  if (line.failed != 0 && next > safe) {
    if (line.in_time < line.patience) {
      next = safe;
    } else {
      line.failed = 0;
      line.trying = true;
    }
  }
  line.level = std::max(line.level, next);
}

std::uint32_t ReportThresholds::level(IpAddress dvipa, const std::string& tunnel,
                                      ipsec::Direction direction) const {
  const auto found = lines_.find({dvipa, tunnel, direction});
  return found == lines_.end() ? options_.start : found->second.level;
}

void ReportThresholds::forget_idle() {
  std::erase_if(lines_, [](const auto& entry) { return entry.second.alive == 0; });
  idle_ = 0;
}

}  // namespace testudo::ike
