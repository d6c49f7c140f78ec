// SPDX-License-Identifier: Apache-2.0
#include "ike/installation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "ike/manual_sa.h"
#include "ike/sa_message.h"
#include "xcf/address_field.h"

namespace testudo::ike {
namespace {

constexpr std::uint32_t kSpiMin = 256;  // RFC 4303 section 2.1

/// What makes two filters rivals: where and what they match.
std::string key_of(const xcf::v1::Filter& filter) {
  xcf::v1::Filter key = filter;
  key.clear_id();
  key.clear_action();
  key.clear_tunnel();
  key.clear_log();
  return key.SerializeAsString();
}

bool same_effect(const xcf::v1::Filter& a, const xcf::v1::Filter& b) {
  return a.action() == b.action() && a.tunnel() == b.tunnel() && a.log() == b.log();
}

}  // namespace

Installation::Installation(IpAddress dvipa, Epoch epoch, Rng& rng) : dvipa_(dvipa), epoch_(epoch), rng_(rng) {}

// ---- SAs ----

bool Installation::spi_taken(Spi spi) const {
  return by_name_.contains({spi, dvipa_, ipsec::Protocol::kEsp}) ||
         by_name_.contains({spi, dvipa_, ipsec::Protocol::kAh}) ||
         std::ranges::find(allocated_, spi) != allocated_.end();
}

void Installation::forget_allocation(Spi spi) {
  const auto found = std::ranges::find(allocated_, spi);
  if (found != allocated_.end()) allocated_.erase(found);
}

Spi Installation::allocate_spi() {
  Spi spi;
  do {
    spi = Spi(static_cast<std::uint32_t>(rng_.next()));
  } while (spi.value() < kSpiMin || spi_taken(spi));
  if (allocated_.size() == kSpisAllocatedMax) allocated_.pop_front();
  allocated_.push_back(spi);
  return spi;
}

Result<SaId> Installation::add_sa(ipsec::SaParameters sa) {
  if (sa.local != dvipa_) {
    return fail(
        fmt::format("SA for {}, but this is the installation of {}", sa.local.to_string(), dvipa_.to_string()));
  }
  const SaName name = name_of(sa);
  if (by_name_.contains(name)) {
    return fail(fmt::format("an SA with SPI {:08x} to {} is installed already", name.spi.value(),
                            name.destination.to_string()));
  }
  CHECK(next_sa_ != 0);  // 2^32 SAs under one epoch
  const SaId id((epoch_.value() & 0xffff'ffff) << 32 | next_sa_++);
  sa.id = id;
  if (sa.direction == ipsec::Direction::kInbound) forget_allocation(sa.spi);
  by_name_[name] = id;
  by_tunnel_[sa.tunnel].insert(id);
  index_[id].sa = &sas_.emplace_hint(sas_.end(), id, std::move(sa))->second;
  queue({.sas = {id}, .rest = {}});
  return id;
}

bool Installation::inherit_sa(ipsec::SaParameters sa) {
  CHECK(members_.empty() && sa.local == dvipa_);
  if (!by_name_.emplace(name_of(sa), sa.id).second) return false;
  by_tunnel_[sa.tunnel].insert(sa.id);
  const SaId id = sa.id;
  index_[id].sa = &sas_.emplace(id, std::move(sa)).first->second;
  return true;
}

Result<SaId> Installation::update_sa(SaName name, const SaPath& path) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    return fail(
        fmt::format("no SA with SPI {:08x} to {} to update", name.spi.value(), name.destination.to_string()));
  }
  const SaId id = found->second;
  ipsec::SaParameters& sa = sas_.at(id);
  const bool inbound = sa.direction == ipsec::Direction::kInbound;
  const Endpoint& local = inbound ? path.destination : path.source;
  const Endpoint& remote = inbound ? path.source : path.destination;
  if (local.address != dvipa_) {
    return fail(fmt::format("an SA of {} cannot move to {}", dvipa_.to_string(), local.address.to_string()));
  }
  if (remote.address.is_v4() != dvipa_.is_v4()) {
    return fail(fmt::format("an SA of {} cannot have {} as its peer: the families differ", dvipa_.to_string(),
                            remote.address.to_string()));
  }
  if (path.udp_encapsulation && sa.protocol == ipsec::Protocol::kAh)
    return fail("AH has no UDP encapsulation: it does not pass a NAT");
  const SaName moved{name.spi, path.destination.address, name.protocol};
  if (moved != name && by_name_.contains(moved)) {
    return fail(fmt::format("an SA with SPI {:08x} to {} is installed already", moved.spi.value(),
                            moved.destination.to_string()));
  }
  by_name_.erase(found);
  by_name_[moved] = id;
  sa.remote = remote.address;
  sa.udp_encapsulation = path.udp_encapsulation;
  sa.local_port = path.udp_encapsulation ? local.port : std::uint16_t{4500};
  sa.remote_port = path.udp_encapsulation ? remote.port : std::uint16_t{4500};
  Change change;
  *change.rest.add_update_sas() = update_to_message(sa);
  queue(change);
  return id;
}

void Installation::erase_sa(SaId id) {
  const auto found = sas_.find(id);
  CHECK(found != sas_.end());
  by_name_.erase(name_of(found->second));
  const auto tunnel = by_tunnel_.find(found->second.tunnel);
  tunnel->second.erase(id);
  if (tunnel->second.empty()) by_tunnel_.erase(tunnel);
  index_.erase(id);
  sas_.erase(found);
  for (auto& [node, member] : members_) member.holds.erase(id);
}

std::optional<SaId> Installation::delete_sa(SaName name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    if (name.destination == dvipa_) forget_allocation(name.spi);
    return std::nullopt;
  }
  const SaId id = found->second;
  erase_sa(id);
  Change change;
  change.rest.add_delete_sas(id.value());
  queue(change);
  return id;
}

const ipsec::SaParameters* Installation::find(SaId id) const {
  const auto found = index_.find(id);
  return found == index_.end() ? nullptr : found->second.sa;
}

const ipsec::SaParameters* Installation::find(SaName name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : find(found->second);
}

std::vector<SaId> Installation::flush_sas(Origin origin) {
  std::vector<SaId> gone;
  Change change;
  for (const auto& [id, sa] : sas_) {
    if (origin == Origin::kDaemon && is_manual(sa.tunnel)) continue;
    gone.push_back(id);
    change.rest.add_delete_sas(id.value());
  }
  for (const SaId id : gone) erase_sa(id);
  allocated_.clear();
  if (!gone.empty()) queue(change);
  return gone;
}

// ---- filters ----

bool Installation::add_filter(const xcf::v1::Filter& filter, Origin origin) {
  const std::size_t owned = origin == Origin::kOperator ? 1 : 0;
  Stack& stack = filters_[key_of(filter)];
  for (FilterUse& use : stack) {
    if (!same_effect(use.filter, filter)) continue;
    ++use.uses;
    use.owned += owned;
    use.orphaned = false;
    return false;
  }
  Change change;
  if (!stack.empty()) change.rest.add_delete_filters(stack.back().filter.id());
  xcf::v1::Filter numbered = filter;
  numbered.set_id(next_filter_++);
  *change.rest.add_filters() = numbered;
  drop_orphans(stack, change);
  count_tunnel(numbered, 1);
  stack.push_back({.filter = std::move(numbered), .uses = 1, .owned = owned});
  note_filters(change.rest);
  queue(change);
  return true;
}

void Installation::inherit_filter(const xcf::v1::Filter& filter) {
  CHECK(members_.empty());
  Stack& stack = filters_[key_of(filter)];
  if (std::ranges::any_of(stack, [&](const FilterUse& use) { return same_effect(use.filter, filter); })) return;
  next_filter_ = std::max(next_filter_, filter.id() + 1);
  stack.push_back({.filter = filter, .uses = 1, .owned = 0, .orphaned = true});
  count_tunnel(filter, 1);
  filter_changes_.push_back({filter.id(), filter});
}

void Installation::drop_orphans(Stack& stack, Change& change) {
  std::vector<std::string> tunnels;
  for (const FilterUse& use : stack) {
    if (!use.orphaned) continue;
    tunnels.push_back(use.filter.tunnel());
    count_tunnel(use.filter, -1);
  }
  std::erase_if(stack, [](const FilterUse& use) { return use.orphaned; });
  for (const std::string& tunnel : tunnels) {
    const auto found = by_tunnel_.find(tunnel);
    if (found == by_tunnel_.end() || naming_.contains(tunnel)) continue;
    const std::set<SaId> deleted = found->second;
    for (const SaId id : deleted) {
      erase_sa(id);
      change.rest.add_delete_sas(id.value());
      deleted_.push_back(id);
    }
  }
}

/// A hundred thousand peers renew their filters one after the other: nobody looks through all of them each time.
void Installation::count_tunnel(const xcf::v1::Filter& filter, int change) {
  if (filter.tunnel().empty()) return;
  const auto count = naming_.try_emplace(filter.tunnel(), 0).first;
  count->second += static_cast<std::size_t>(change);
  if (count->second == 0) naming_.erase(count);
}

bool Installation::delete_filter(const xcf::v1::Filter& filter, Origin origin) {
  const auto found = filters_.find(key_of(filter));
  if (found == filters_.end()) return false;
  Stack& stack = found->second;
  const auto use = std::ranges::find_if(stack, [&](const FilterUse& u) { return same_effect(u.filter, filter); });
  if (use == stack.end()) return false;
  std::size_t& count = use->owned;
  if (origin == Origin::kOperator ? count == 0 : use->uses == count) return false;  // not this one's
  if (origin == Origin::kOperator) --count;
  if (--use->uses != 0) return false;
  const bool in_force = &*use == &stack.back();
  Change change;
  change.rest.add_delete_filters(use->filter.id());
  count_tunnel(use->filter, -1);
  stack.erase(use);
  if (stack.empty()) {
    filters_.erase(found);
  } else {
    *change.rest.add_filters() = stack.back().filter;
  }
  if (!in_force) return false;
  note_filters(change.rest);
  queue(change);
  return true;
}

void Installation::note_filters(const xcf::v1::Install& change) {
  for (const std::uint64_t id : change.delete_filters()) filter_changes_.push_back({id, std::nullopt});
  for (const xcf::v1::Filter& filter : change.filters()) filter_changes_.push_back({filter.id(), filter});
}

std::vector<xcf::v1::Filter> Installation::filters() const {
  std::vector<xcf::v1::Filter> list;
  for (const auto& [key, stack] : filters_) list.push_back(stack.back().filter);
  std::ranges::sort(list, {}, [](const xcf::v1::Filter& f) { return f.id(); });
  return list;
}

std::vector<std::uint64_t> Installation::flush_filters() {
  std::vector<std::uint64_t> gone;
  Change change;
  for (auto& [key, stack] : filters_) {
    const xcf::v1::Filter before = stack.back().filter;
    std::erase_if(stack, [](const FilterUse& use) { return use.owned == 0; });
    for (FilterUse& use : stack) use.uses = use.owned;
    if (!stack.empty() && stack.back().filter.id() == before.id()) continue;
    gone.push_back(before.id());
    change.rest.add_delete_filters(before.id());
    if (!stack.empty()) *change.rest.add_filters() = stack.back().filter;
  }
  std::erase_if(filters_, [](const auto& entry) { return entry.second.empty(); });
  naming_.clear();
  for (const auto& [key, stack] : filters_) {
    for (const FilterUse& use : stack) count_tunnel(use.filter, 1);
  }
  note_filters(change.rest);
  if (!gone.empty()) queue(change);
  return gone;
}

void Installation::daemon_restarted() {
  allocated_.clear();
  for (auto& [key, stack] : filters_) {
    for (FilterUse& use : stack) use.orphaned = use.owned == 0 && !use.filter.tunnel().empty();
  }
}

}  // namespace testudo::ike
