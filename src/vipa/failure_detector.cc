// SPDX-License-Identifier: Apache-2.0
#include "vipa/failure_detector.h"

#include <algorithm>
#include <utility>

namespace testudo::vipa {

FailureDetector::FailureDetector(std::string self, Options options, Time now)
    : self_(std::move(self)), options_(options), last_call_(now), listening_since_(now) {}

void FailureDetector::listen(Time now) {
  if (now - last_call_ > options_.period * options_.paused) listening_since_ = now;
  last_call_ = std::max(last_call_, now);
}

void FailureDetector::members(const Names& names, Time now) {
  listen(now);
  std::erase_if(members_, [&](const auto& m) { return !names.contains(m.first); });
  for (const std::string& name : names) {
    if (name != self_) members_.try_emplace(name);
  }
}

// Heartbeats that waited in a socket while this node was stopped tell what was so then: they show that the sender
// lived, but what they say of others is not taken for news.
void FailureDetector::heard(const std::string& name, Names silent, Time now) {
  listen(now);
  const auto member = members_.find(name);
  if (member == members_.end()) return;
  const bool listened = now - listening_since_ >= options_.timeout();
  member->second = {.heard = now, .down = false, .accuses = listened ? std::move(silent) : Names()};
}

void FailureDetector::link_up(const std::string& name, Time now) {
  listen(now);
  const auto member = members_.find(name);
  if (member != members_.end()) member->second = {.heard = now, .down = false, .accuses = {}};
}

void FailureDetector::link_down(const std::string& name, Time now) {
  listen(now);
  const auto member = members_.find(name);
  if (member != members_.end() && member->second.heard) member->second.down = true;
}

bool FailureDetector::fresh(const Member& member, Time now) const {
  return member.heard && !member.down && now - *member.heard < options_.timeout();
}

bool FailureDetector::is_silent(const Member& member, Time now) const {
  return member.heard && !fresh(member, now) && now - listening_since_ >= options_.timeout();
}

FailureDetector::Names FailureDetector::silent(Time now) {
  listen(now);
  Names out;
  for (const auto& [name, member] : members_) {
    if (is_silent(member, now)) out.insert(name);
  }
  return out;
}

FailureDetector::Names FailureDetector::dead(Time now) {
  Names out = silent(now);
  std::erase_if(out, [&](const std::string& suspect) {
    std::size_t voices = 1;  // this node's
    for (const auto& [name, member] : members_) {
      if (name != suspect && fresh(member, now) && member.accuses.contains(suspect)) ++voices;
    }
    return 2 * voices <= members_.size();  // this node takes the suspect's place in the count
  });
  return out;
}

std::optional<Time> FailureDetector::next_timer() const {
  std::optional<Time> out;
  for (const auto& [name, member] : members_) {
    if (!member.heard) continue;
    const Time listened = listening_since_ + options_.timeout();
    Time at = std::max(member.down ? listened : *member.heard + options_.timeout(), listened);
    if (at <= last_call_) continue;  // silent() has said so
    if (!out || at < *out) out = at;
  }
  return out;
}

}  // namespace testudo::vipa
