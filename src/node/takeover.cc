// SPDX-License-Identifier: Apache-2.0
#include "node/takeover.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "node/owner_replay.h"
#include "node/window_message.h"
#include "xcf/address_field.h"
#include "xcf/hello.h"

namespace testudo::node {

namespace {

constexpr Duration kListAgain = 100ms;
constexpr Duration kPatience = 300ms;  // with a member that says nothing

}  // namespace

Takeover::Takeover(Parts parts, What what, std::function<void(Found)> done)
    : parts_(std::move(parts)), what_(std::move(what)), done_(std::move(done)) {
  for (const SaId sa : what_.sas) ceilings_.insert(Ceilings::keys_beside(parts_.prefix, sa));
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
  if (ceilings_.empty()) return ask_members();
  list(ceilings_.extract(ceilings_.begin()).value(), [this](const auto& listing) {
    found_ceilings(listing);
    list_ceilings();
  });
}

void Takeover::found_ceilings(const facility::Facility::Listing& listing) {
  for (const facility::Entry& entry : listing.entries) {
    const auto read = Ceilings::read(entry);
    if (!read || !what_.sas.contains(read->first)) continue;
    if (read->second.last == Ceilings::kUnknown)
      parts_.log.error("{} holds no number: its SA sends nothing more", entry.key);
    found_.ceilings.insert(*read);
  }
}

// ---- the members ----

void Takeover::ask_members() {
  recovery_.emplace(before_);
  if (before_.epoch != Epoch() && !what_.sas.empty() && before_.keeper == NodeId())
    found_.loss = "the former owner had no backup that kept its replay windows";
  for (const distributor::Witness& target : before_.targets) missing_.insert(target.node);
  if (before_.keeper != NodeId()) missing_.insert(before_.keeper);
  for (const NodeId node : std::set(missing_)) ask(node);
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
  const NodeId node = xcf::number_of(from);
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
