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

/// All but the SAs.
xcf::v1::Install rest_of(const xcf::v1::Install& message) {
  xcf::v1::Install rest;
  *rest.mutable_update_sas() = message.update_sas();
  *rest.mutable_delete_sas() = message.delete_sas();
  *rest.mutable_filters() = message.filters();
  *rest.mutable_delete_filters() = message.delete_filters();
  if (message.replace_all()) rest.set_replace_all(true);
  return rest;
}

}  // namespace

xcf::v1::Install Installation::begin() const {
  xcf::v1::Install install;
  install.set_dvipa(dvipa_.to_bytes());
  install.set_epoch(epoch_.value());
  return install;
}

void Installation::note_sent(Member& member, const xcf::v1::Install& message) {
  Sent sent{.sas = {}, .rest = rest_of(message)};
  for (const xcf::v1::Sa& sa : message.sas()) sent.sas.emplace_back(sa.id());
  if (member.unacknowledged.size() == kUnacknowledgedMax)
    member.unacknowledged.erase(member.unacknowledged.begin());
  member.unacknowledged.emplace(message.number(), std::move(sent));
}

// ---- what waits ----

/// To the last Install that waits, if there is one that has to wait anyway and takes it.
bool Installation::added(Member& member, const xcf::v1::Install& change) {
  const bool waits = member.everything || member.unacknowledged.size() >= kAhead;
  if (!waits || member.waiting.empty()) return false;
  Waiting& last = member.waiting.back();
  if (last.alone || last.bytes >= kInstallBytes || !fit_together(last.message, change)) return false;
  last.message.MergeFrom(change);
  last.bytes += change.ByteSizeLong();
  return true;
}

void Installation::queue(const xcf::v1::Install& change) {
  for (auto& [node, member] : members_) {
    if (added(member, change)) continue;
    if (member.waiting.size() == kWaitingMax) begin_anew(member);
    member.waiting.push_back({.message = change, .bytes = change.ByteSizeLong()});
  }
}

void Installation::begin_anew(Member& member) {
  for (Waiting& waiting : member.waiting) scrub(waiting.message);
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
  begin_anew(found->second);
  members_.erase(found);
}

// ---- what leaves ----

std::vector<Outgoing> Installation::take_outgoing() {
  std::vector<Outgoing> out;
  for (auto& [node, member] : members_) send_what_may(node, member, out);
  return out;
}

void Installation::send_what_may(const std::string& node, Member& member, std::vector<Outgoing>& out) {
  while (member.unacknowledged.size() < kAhead && (member.everything || !member.waiting.empty())) {
    xcf::v1::Install message;
    if (member.everything) {
      message = next_part(member);
    } else {
      message = std::move(member.waiting.front().message);
      member.waiting.pop_front();
    }
    message.set_number(next_number_++);
    note_sent(member, message);
    out.push_back({node, std::move(message)});
  }
}

/// An SA that comes or goes meanwhile is in a later part, or in none, and in what waits as well: twice does no
/// harm.
xcf::v1::Install Installation::next_part(Member& member) {
  Everything& rest = *member.everything;
  xcf::v1::Install part = begin();
  part.set_replace_begins(!std::exchange(rest.begun, true));
  std::size_t bytes = 0;
  for (auto sa = sas_.upper_bound(rest.last_sa); sa != sas_.end(); ++sa) {
    if (bytes >= kInstallBytes) return part;
    *part.add_sas() = sa_to_message(sa->second);
    bytes += part.sas(part.sas_size() - 1).ByteSizeLong();
    rest.last_sa = sa->first;
  }
  if (!std::exchange(rest.filters_taken, true)) {
    rest.filters = filters();
    std::ranges::reverse(rest.filters);
  }
  for (; !rest.filters.empty(); rest.filters.pop_back()) {
    if (bytes >= kInstallBytes) return part;
    bytes += rest.filters.back().ByteSizeLong();
    *part.add_filters() = std::move(rest.filters.back());
  }
  part.set_replace_all(true);
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
    if (!sas_.contains(id)) continue;  // deleted meanwhile
    if (member->second.holds.insert(id).second && held_by_all(id)) complete_.push_back(id);
  }
  return std::nullopt;
}

/// One SA that a member does not take must not keep from it what was in the same Install.
void Installation::send_apart(Member& member, const Sent& refused) {
  const bool more = refused.rest.ByteSizeLong() != 0;
  if (refused.sas.size() + (more ? 1 : 0) < 2) return;
  const auto wait = [&member](xcf::v1::Install message) {
    member.waiting.push_back({.message = std::move(message), .alone = true});
  };
  for (const SaId id : refused.sas) {
    const auto sa = sas_.find(id);
    if (sa == sas_.end()) continue;
    xcf::v1::Install one = begin();
    *one.add_sas() = sa_to_message(sa->second);
    wait(std::move(one));
  }
  if (!more) return;
  xcf::v1::Install rest = begin();
  rest.MergeFrom(refused.rest);
  wait(std::move(rest));
}

std::optional<xcf::v1::Install> Installation::answer(const std::string& node, const xcf::v1::Pull& pull) {
  const auto member = members_.find(node);
  if (member == members_.end() || pull.epoch() != epoch_.value() || xcf::address_of(pull.dvipa()) != dvipa_)
    return std::nullopt;
  xcf::v1::Install install = begin();
  install.set_number(next_number_++);
  const ipsec::SaParameters* sa = nullptr;  // an inbound SPI names one SA, whatever the protocol: allocate_spi()
  for (const auto protocol : {ipsec::Protocol::kEsp, ipsec::Protocol::kAh}) {
    if (sa == nullptr) sa = find(SaName{Spi(pull.spi()), dvipa_, protocol});
  }
  // Behind a NAT the peer may have another address by now.
  const bool same = sa != nullptr && (sa->udp_encapsulation || sa->remote == xcf::address_of(pull.remote()));
  if (same) *install.add_sas() = sa_to_message(*sa);
  note_sent(member->second, install);
  return install;
}

bool Installation::held_by_all(SaId id) const {
  return std::ranges::all_of(members_, [id](const auto& entry) { return entry.second.holds.contains(id); });
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
