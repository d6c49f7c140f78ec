// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_journal.h"

#include <algorithm>

namespace testudo::distributor {
namespace {

constexpr std::size_t kOutstandingMost = 64;  // records; what comes then is gathered for a later one

}  // namespace

bool ReplayKeeper::keep(const ReplayRecord& record) {
  if (record.epoch < fence_ || std::pair(record.epoch, record.copy) < std::pair(epoch_, copy_)) return false;
  const bool same = record.epoch == epoch_ && record.copy == copy_;
  if (!same && !record.whole) return false;
  if (!same) windows_.clear();
  epoch_ = record.epoch;
  copy_ = record.copy;
  merge(windows_, record.windows);
  return true;
}

// ---- the keeper ----

/// The snapshot covers what earlier records said, and what they would have: targets that are leaving wait for it.
void ReplayJournal::keep_with(NodeId keeper, std::vector<WindowReport> snapshot) {
  keeper_ = keeper;
  chosen_ = true;
  whole_ = keeper == NodeId();
  ++copy_;
  outstanding_.clear();
  gathered_.clear();
  append(true, std::move(snapshot));
  for (auto& [target, ticket] : leaving_) ticket = serial_;
}

void ReplayJournal::append(bool whole, std::vector<WindowReport> windows) {
  ++serial_;
  if (keeper_ == NodeId()) return;
  outstanding_.push_back(
      {.record = {
           .epoch = epoch_, .copy = copy_, .serial = serial_, .whole = whole, .windows = std::move(windows)}});
}

std::span<const ReplayRecord> ReplayJournal::poll(Time now) {
  due_.clear();
  if (!gathered_.empty() && outstanding_.size() < kOutstandingMost) {
    std::vector<WindowReport> windows;
    for (auto& [sa, report] : gathered_) windows.push_back(std::move(report));
    gathered_.clear();
    append(false, std::move(windows));
  }
  for (Outstanding& o : outstanding_) {
    if (o.acknowledged || o.due > now) continue;
    o.due = now + repeat_;
    due_.push_back(o.record);
  }
  return due_;
}

Time ReplayJournal::next_timer() const {
  Time next = gathered_.empty() || outstanding_.size() >= kOutstandingMost ? Time::max() : Time::min();
  for (const Outstanding& o : outstanding_) {
    if (!o.acknowledged) next = std::min(next, o.due);
  }
  return next;
}

void ReplayJournal::acknowledged(NodeId from, std::uint32_t copy, std::uint64_t serial) {
  if (from != keeper_ || copy != copy_) return;
  for (Outstanding& o : outstanding_) {
    if (o.record.serial != serial) continue;
    o.acknowledged = true;
    whole_ |= o.record.whole;
  }
  while (!outstanding_.empty() && outstanding_.front().acknowledged) outstanding_.pop_front();
}

// ---- the witnesses ----

void ReplayJournal::target_joined(const Witness& target) {
  joined_[target.node] = target.incarnation;
  leaving_.erase(target);
}

void ReplayJournal::target_gone(NodeId node, std::vector<WindowReport> snapshot) {
  const auto found = joined_.find(node);
  if (found == joined_.end()) return;
  append(false, std::move(snapshot));
  leaving_[{node, found->second}] = serial_;
  joined_.erase(found);
}

std::vector<Witness> ReplayJournal::listed() const {
  std::vector<Witness> targets;
  for (const auto& [node, incarnation] : joined_) targets.push_back({node, incarnation});
  for (const auto& [target, ticket] : leaving_) {
    if (!is_safe(ticket)) targets.push_back(target);
  }
  std::ranges::sort(targets);
  return targets;
}

std::optional<ReplayWitnesses> ReplayJournal::wanted() const {
  if (!chosen_ || (!active() && !whole_))
    return std::nullopt;  // nothing is received before a keeper has the windows
  ReplayWitnesses wanted{.epoch = epoch_, .keeper = whole_ ? keeper_ : stored_.keeper, .targets = listed()};
  const bool sure = in_doubt_.empty() && !keeper_in_doubt_;
  return sure && wanted == stored_ ? std::nullopt : std::optional(std::move(wanted));
}

void ReplayJournal::storing(const ReplayWitnesses& witnesses) {
  keeper_in_doubt_ |= witnesses.keeper != stored_.keeper;
  for (const Witness& target : stored_.targets) {
    if (std::ranges::find(witnesses.targets, target) == witnesses.targets.end()) in_doubt_.insert(target);
  }
}

void ReplayJournal::stored(const ReplayWitnesses& witnesses) {
  stored_ = witnesses;
  in_doubt_.clear();
  keeper_in_doubt_ = false;
}

bool ReplayJournal::may_forward(NodeId node) const {
  const auto found = joined_.find(node);
  if (!active() || found == joined_.end()) return false;
  const Witness target{node, found->second};
  return !in_doubt_.contains(target) && std::ranges::find(stored_.targets, target) != stored_.targets.end();
}

// ---- what the owner accepts ----

WindowReport& ReplayJournal::noted(SaId sa) {
  return gathered_.try_emplace(sa, WindowReport{.sa = sa, .top = {}, .floor = {}, .blocks = {}}).first->second;
}

ReplayJournal::Ticket ReplayJournal::accepted(SaId sa, SeqNo number) {
  WindowReport& report = noted(sa);
  report.top = std::max(report.top, number);
  report.see(number);
  return serial_ + 1;  // of the record that poll() will make of it
}

bool ReplayJournal::is_safe(Ticket ticket) const {
  if (!stands()) return false;
  if (keeper_ == NodeId()) return true;
  if (ticket > serial_) return false;
  return outstanding_.empty() || ticket < outstanding_.front().record.serial;
}

}  // namespace testudo::distributor
