// SPDX-License-Identifier: Apache-2.0
// What the members of an installation are sent, and when.
#include <algorithm>
#include <utility>

#include "ike/installation.h"
#include "ike/sa_message.h"
#include "xcf/address_field.h"

namespace testudo::ike {
namespace {

// Together half a MiB on a link whose queue takes 8 MiB and 1024 messages (xcf/grpc/grpc_bus.h).
constexpr std::size_t kAhead = 16;                            // Installs that are not acknowledged
constexpr std::size_t kInstallBytes = std::size_t{32} << 10;  // of an Install to which something more is added
// A member that has fallen so far behind is sent everything anew: that takes no memory here.
constexpr std::size_t kWaitingMax = 4096;
constexpr std::size_t kUnacknowledgedMax = 65'536;

/// A member applies additions first: of an SA, which comes once and goes once, that is the right order whatever is
/// put together. A filter may go and come back.
bool fit_together(const xcf::v1::Install& first, const xcf::v1::Install& then) {
  const auto& gone = first.delete_filters();
  return std::ranges::none_of(then.filters(), [&gone](const xcf::v1::Filter& filter) {
    return std::ranges::find(gone, filter.id()) != gone.end();
  });
}

/// About, on the wire: its keys, its tunnel's name, and all the rest, which is small or has a bound.
std::size_t size_of(const ipsec::SaParameters& sa) {
  constexpr std::size_t kRest = 96;
  return kRest + sa.tunnel.size() + sa.key.size() + (sa.inner_esp ? sa.inner_esp->key.size() : 0);
}

}  // namespace

// ---- what waits ----

std::size_t Installation::size_of(const Change& change) const {
  std::size_t bytes = change.rest.ByteSizeLong();
  for (const SaId id : change.sas) bytes += ike::size_of(*index_.at(id).sa);
  return bytes;
}

/// To the last Install that waits, if there is one that has to wait anyway and takes it.
bool Installation::added(Member& member, const Change& change, std::size_t bytes) {
  const bool waits = member.everything || member.unacknowledged.size() >= kAhead;
  if (!waits || member.waiting.empty()) return false;
  Waiting& last = member.waiting.back();
  if (last.alone || last.bytes >= kInstallBytes || !fit_together(last.change.rest, change.rest)) return false;
  last.change.sas.insert(last.change.sas.end(), change.sas.begin(), change.sas.end());
  last.change.rest.MergeFrom(change.rest);
  last.bytes += bytes;
  return true;
}

void Installation::queue(const Change& change) {
  const std::size_t bytes = size_of(change);
  for (auto& [node, member] : members_) {
    if (added(member, change, bytes)) continue;
    if (member.waiting.size() == kWaitingMax) begin_anew(member);
    member.waiting.push_back({.change = change, .bytes = bytes});
  }
}

void Installation::begin_anew(Member& member) {
  member.waiting.clear();
  member.everything = Everything{};
}

void Installation::member_up(const std::string& node) {
  member_down(node);
  begin_anew(members_[node]);
}

void Installation::member_down(const std::string& node) {
  const auto found = members_.find(node);
  if (found == members_.end()) return;
  for (const SaId id : found->second.holds) --index_.at(id).holders;
  members_.erase(found);
}

// ---- what leaves ----

const std::string* Installation::next_outgoing(xcf::v1::Install& install) {
  for (auto& [node, member] : members_) {
    Change change;
    if (!next_change(member, change)) continue;
    fill(change, install);
    note_sent(member, install.number(), std::move(change));
    return &node;
  }
  return nullptr;
}

bool Installation::next_change(Member& member, Change& change) {
  if (member.unacknowledged.size() >= kAhead) return false;
  if (member.everything) {
    change = next_part(member);
    return true;
  }
  if (member.waiting.empty()) return false;
  change = std::move(member.waiting.front().change);
  member.waiting.pop_front();
  return true;
}

void Installation::fill(const Change& change, xcf::v1::Install& install) {
  install.Clear();
  install.MergeFrom(change.rest);
  install.set_number(next_number_++);
  install.set_dvipa(dvipa_.to_bytes());
  install.set_epoch(epoch_.value());
  for (const SaId id : change.sas) {
    if (const ipsec::SaParameters* sa = find(id)) sa_to_message(*sa, *install.add_sas());
  }
}

void Installation::note_sent(Member& member, std::uint64_t number, Change change) {
  if (member.unacknowledged.size() == kUnacknowledgedMax)
    member.unacknowledged.erase(member.unacknowledged.begin());
  change.rest.clear_replace_begins();  // what is sent again is no beginning
  member.unacknowledged.emplace(number, std::move(change));
}

/// An SA that comes or goes meanwhile is in a later part, or in none, and in what waits as well: twice does no
/// harm.
Installation::Change Installation::next_part(Member& member) {
  Everything& rest = *member.everything;
  Change part;
  part.rest.set_replace_begins(!std::exchange(rest.begun, true));
  std::size_t bytes = 0;
  for (auto sa = sas_.upper_bound(rest.last_sa); sa != sas_.end(); ++sa) {
    if (bytes >= kInstallBytes) return part;
    part.sas.push_back(sa->first);
    bytes += ike::size_of(sa->second);
    rest.last_sa = sa->first;
  }
  if (!std::exchange(rest.filters_taken, true)) {
    rest.filters = filters();
    std::ranges::reverse(rest.filters);
  }
  for (; !rest.filters.empty(); rest.filters.pop_back()) {
    if (bytes >= kInstallBytes) return part;
    bytes += rest.filters.back().ByteSizeLong();
    *part.rest.add_filters() = std::move(rest.filters.back());
  }
  part.rest.set_replace_all(true);
  member.everything.reset();
  return part;
}

// ---- what comes back ----

std::optional<std::string> Installation::acknowledged(const std::string& node, const xcf::v1::Ack& ack) {
  const auto member = members_.find(node);
  if (member == members_.end() || ack.epoch() != epoch_.value() || xcf::address_of(ack.dvipa()) != dvipa_)
    return std::nullopt;
  const auto sent = member->second.unacknowledged.extract(ack.number());
  if (sent.empty()) return std::nullopt;
  if (!ack.refused().empty()) {
    send_apart(member->second, sent.mapped());
    return ack.refused();
  }
  for (const SaId id : sent.mapped().sas) {
    const auto indexed = index_.find(id);
    if (indexed == index_.end() || !member->second.holds.insert(id).second) continue;  // deleted, or known
    if (++indexed->second.holders == members_.size()) complete_.push_back(id);
  }
  return std::nullopt;
}

/// One SA that a member does not take must not keep from it what was in the same Install.
void Installation::send_apart(Member& member, const Change& refused) {
  const bool more = refused.rest.ByteSizeLong() != 0;
  if (refused.sas.size() + (more ? 1 : 0) < 2) return;
  for (const SaId id : refused.sas) {
    if (find(id) != nullptr) member.waiting.push_back({.change = {.sas = {id}, .rest = {}}, .alone = true});
  }
  if (more) member.waiting.push_back({.change = {.sas = {}, .rest = refused.rest}, .alone = true});
}

std::optional<xcf::v1::Install> Installation::answer(const std::string& node, const xcf::v1::Pull& pull) {
  const auto member = members_.find(node);
  if (member == members_.end() || pull.epoch() != epoch_.value() || xcf::address_of(pull.dvipa()) != dvipa_)
    return std::nullopt;
  const ipsec::SaParameters* sa = nullptr;  // an inbound SPI names one SA, whatever the protocol: allocate_spi()
  for (const auto protocol : {ipsec::Protocol::kEsp, ipsec::Protocol::kAh}) {
    if (sa == nullptr) sa = find(SaName{Spi(pull.spi()), dvipa_, protocol});
  }
  // Behind a NAT the peer may have another address by now.
  const bool same = sa != nullptr && (sa->udp_encapsulation || sa->remote == xcf::address_of(pull.remote()));
  Change change;
  if (same) change.sas.push_back(sa->id);
  xcf::v1::Install install;
  fill(change, install);
  note_sent(member->second, install.number(), std::move(change));
  return install;
}

bool Installation::holds(const std::string& node, SaId id) const {
  const auto member = members_.find(node);
  return member != members_.end() && member->second.holds.contains(id);
}

std::vector<std::string> Installation::holders(SaId id) const {
  std::vector<std::string> nodes;
  for (const auto& [node, member] : members_) {
    if (member.holds.contains(id)) nodes.push_back(node);
  }
  return nodes;
}

}  // namespace testudo::ike
