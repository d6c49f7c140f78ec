// SPDX-License-Identifier: Apache-2.0
#include "node/takeover.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "node/owner_replay.h"
#include "node/window_message.h"
#include "xcf/address_field.h"

namespace testudo::node {

namespace {

constexpr Duration kListAgain = 100ms;
constexpr Duration kPatience = 300ms;  // with a member that says nothing

/// The epoch's part of an SA's number (ike/installation.h).
std::uint64_t epoch_part(SaId sa) { return sa.value() >> 32; }

std::optional<SaId> sa_of_key(std::string_view key) {
  const std::size_t slash = key.rfind('/');
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(key.data() + slash + 1, key.data() + key.size(), value, 16);
  if (code != std::errc() || end != key.data() + key.size()) return std::nullopt;
  return SaId(value);
}

}  // namespace

Takeover::Takeover(Parts parts, What what, std::function<void(Found)> done)
    : parts_(std::move(parts)), what_(std::move(what)), done_(std::move(done)) {
  for (const SaId sa : what_.sas) epochs_.insert(epoch_part(sa));
}

void Takeover::start() {
  list(OwnerReplay::key(parts_.prefix, what_.dvipa), [this](const auto& listing) { found_witnesses(listing); });
}

void Takeover::list(const std::string& key, std::function<void(const facility::Facility::Listing&)> then) {
  parts_.facility.list(key, [this, key, then, alive = alive_](const auto& listing) {
    if (!*alive) return;
    if (listing) return then(*listing);
    parts_.log.warning("taking over {}: {}; trying again", what_.dvipa.to_string(), listing.error().message);
    parts_.executor.run_after(kListAgain, [this, key, then, alive] {
      if (*alive) list(key, then);
    });
  });
}

// ---- the facility ----

void Takeover::found_witnesses(const facility::Facility::Listing& listing) {
  const std::string key = OwnerReplay::key(parts_.prefix, what_.dvipa);
  for (const facility::Entry& entry : listing.entries) {
    if (entry.key != key) continue;
    found_.witnesses = entry.modified;
    const auto witnesses = witnesses_from_json(entry.value);
    if (witnesses) {
      before_ = *witnesses;
    } else {
      parts_.log.error("{}: {}", key, witnesses.error().message);
    }
  }
  list_ceilings();
}

void Takeover::list_ceilings() {
  if (epochs_.empty()) return ask_members();
  const std::uint64_t epoch = epochs_.extract(epochs_.begin()).value();
  list(fmt::format("{}ceiling/{:08x}", parts_.prefix, epoch), [this](const auto& listing) {
    found_ceilings(listing);
    list_ceilings();
  });
}

void Takeover::found_ceilings(const facility::Facility::Listing& listing) {
  for (const facility::Entry& entry : listing.entries) {
    const auto sa = sa_of_key(entry.key);
    if (!sa || !what_.sas.contains(*sa)) continue;
    SeqNo last;
    std::uint64_t value = 0;
    const char* const text_end = entry.value.data() + entry.value.size();
    if (std::from_chars(entry.value.data(), text_end, value).ec == std::errc()) {
      last = SeqNo(value);
    } else {
      parts_.log.error("{} holds no number: its SA sends nothing more", entry.key);
      last = SeqNo(~std::uint64_t{0});
    }
    found_.ceilings[*sa] = {.last = last, .revision = entry.modified};
  }
}

// ---- the members ----

void Takeover::ask_members() {
  recovery_.emplace(before_);
  if (before_.epoch != Epoch() && !what_.sas.empty() && before_.keeper == NodeId())
    found_.loss = "the former owner had no backup that kept its replay windows";
  std::set<NodeId> members;
  if (!what_.sas.empty() || before_.epoch != Epoch()) {
    for (const distributor::Witness& target : before_.targets) members.insert(target.node);
    if (before_.keeper != NodeId()) members.insert(before_.keeper);
  }
  for (const NodeId node : members) missing_.insert(node);
  for (const NodeId node : members) ask(node);
  finish_if_done();
}

void Takeover::ask(NodeId node) {
  if (node == parts_.self) {
    parts_.witness.collect(what_.dvipa, what_.epoch, [this, alive = alive_](WitnessRole::Report report) {
      if (*alive) take(std::move(report));
    });
    return;
  }
  parts_of_.erase(node);
  if (const xcf::v1::Hello* link = parts_.link(node)) {
    xcf::v1::Envelope envelope;
    envelope.mutable_takeover_query()->set_dvipa(what_.dvipa.to_bytes());
    envelope.mutable_takeover_query()->set_epoch(what_.epoch.value());
    parts_.bus.send(link->node(), envelope);
  }
  watch(node);
}

/// Gives it up when it has said nothing for a while.
void Takeover::watch(NodeId node) {
  parts_.executor.run_after(kPatience, [this, node, before = progress_[node], alive = alive_] {
    if (!*alive || !missing_.contains(node)) return;
    if (progress_[node] != before) return watch(node);
    missing_.erase(node);
    recovery_->gone(node);
    if (found_.loss.empty())
      found_.loss = fmt::format("node number {}, which may have accepted packets, does not answer", node.value());
    finish_if_done();
  });
}

void Takeover::link_up(NodeId node) {
  if (missing_.contains(node)) ask(node);
}

void Takeover::report(const xcf::v1::Hello& from, const xcf::v1::TakeoverReport& message) {
  const NodeId node(static_cast<std::uint16_t>(from.node_id()));
  if (Epoch(message.epoch()) != what_.epoch || !missing_.contains(node)) return;
  auto windows = windows_from_message(message.windows());
  auto record = windows_from_message(message.record());
  if (!windows || !record) {
    return parts_.log.error("{} reports what cannot be read: {}", from.node(),
                            (windows ? record : windows).error().message);
  }
  ++progress_[node];
  WitnessRole::Report& report = parts_of_[node];
  report.replay.from = {.node = node, .incarnation = from.incarnation()};
  report.replay.record_epoch = Epoch(message.record_epoch());
  std::ranges::move(*windows, std::back_inserter(report.replay.windows));
  std::ranges::move(*record, std::back_inserter(report.replay.record));
  for (const xcf::v1::Connection& one : message.connections()) {
    const IpAddress remote = xcf::address_of(one.remote());
    if (remote == IpAddress() || one.remote_port() > 65535 || one.local_port() > 65535) continue;
    report.connections.push_back({.remote = {remote, static_cast<std::uint16_t>(one.remote_port())},
                                  .local_port = static_cast<std::uint16_t>(one.local_port())});
  }
  if (message.last()) take(std::move(parts_of_.extract(node).mapped()));
}

void Takeover::take(WitnessRole::Report report) {
  const NodeId node = report.replay.from.node;
  if (missing_.erase(node) == 0) return;
  recovery_->report(report.replay);
  found_.connections[node] = std::move(report.connections);
  finish_if_done();
}

void Takeover::finish_if_done() {
  if (!missing_.empty() || !done_) return;
  if (found_.loss.empty() && recovery_->lost() && !what_.sas.empty())
    found_.loss = "a member has restarted and forgotten what it had accepted";
  found_.epoch = what_.epoch;
  found_.window = [recovery = *recovery_](SaId sa) { return recovery.window(sa); };
  std::exchange(done_, nullptr)(std::move(found_));
}

}  // namespace testudo::node
