// SPDX-License-Identifier: Apache-2.0
#include "policy/flow_cache.h"

#include <algorithm>
#include <bit>
#include <span>

#include "base/check.h"
#include "wire/tcp.h"

namespace testudo::policy {
namespace {

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0xbf58476d1ce4e5b9;
  return hash ^ hash >> 29;
}

}  // namespace

FlowPacket FlowPacket::of(const wire::IpView& ip) {
  FlowPacket packet{.begins = true, .closes = false, .bytes = ip.packet().size()};
  if (ip.protocol() != wire::kProtocolTcp) return packet;
  packet.begins = false;
  const auto tcp = ip.fragment_offset() == 0 ? wire::parse_tcp(ip.payload()) : std::nullopt;
  if (!tcp) return packet;
  packet.begins = tcp->is_initial_syn();
  packet.closes = (tcp->flags() & (wire::kTcpFin | wire::kTcpRst)) != 0;
  return packet;
}

Decision Decision::of(const Judgement& judgement) {
  const Rule* rule = judgement.rule;
  return {.drop = judgement.drop,
          .action = rule == nullptr ? Action::kDeny : rule->action,
          .tunnel = rule == nullptr ? ipsec::TunnelId() : rule->tunnel};
}

FlowCache::FlowCache(const FlowCacheConfig& config, FlowLog& log)
    : config_(config), log_(log), entries_(config.flows) {
  CHECK(std::has_single_bit(config.flows) && config.flows >= kWays);
}

/// The first entry of the set that the flow belongs to.
std::size_t FlowCache::set_of(const FlowKey& key) const {
  const Flow& flow = key.flow;
  std::uint64_t hash = config_.seed;
  for (const std::uint64_t part :
       {flow.source.high(), flow.source.low(), flow.destination.high(), flow.destination.low(),
        std::uint64_t{flow.source_port} << 48 | std::uint64_t{flow.destination_port} << 32 | key.tunnel.value(),
        std::uint64_t{flow.protocol} << 2 | (flow.has_ports ? 2u : 0u) |
            static_cast<std::uint64_t>(key.direction)}) {
    hash = mixed(hash, part);
  }
  return (hash >> 20 & (entries_.size() - 1)) / kWays * kWays;
}

FlowCache::Entry& FlowCache::place_of(const FlowKey& key, Time now) {
  const auto set = std::span(entries_).subspan(set_of(key), kWays);
  const auto found = std::ranges::find_if(set, [&](const Entry& e) { return e.used && e.key == key; });
  if (found != set.end()) return *found;
  auto place = std::ranges::find(set, false, &Entry::used);
  if (place == set.end()) place = std::ranges::min_element(set, {}, &Entry::last_seen);
  forget(*place);
  place->key = key;
  place->used = true;
  place->last_seen = now;
  ++size_;
  return *place;
}

void FlowCache::learn(Entry& entry, const Judgement& judgement, const FlowPacket& packet, const FilterTable& table,
                      Time now) {
  const Rule* rule = judgement.rule;
  if (judgement.drop) end(entry);
  entry.generation = table.generation();
  entry.decision = Decision::of(judgement);
  if (rule == nullptr || !rule->log) return;
  if (judgement.drop) return log_.dropped(*rule, entry.key.direction, entry.key.flow, *judgement.drop, now);
  if (entry.logged || !packet.begins) return;
  entry.logged = true;
  ++logged_;
  log_.begins(*rule, entry.key.direction, entry.key.flow);
}

void FlowCache::note(Entry& entry, const FlowPacket& packet, Time now) {
  entry.last_seen = now;
  entry.closing |= packet.closes;
  ++entry.packets;
  entry.bytes += packet.bytes;
}

/// The connection is over; the flow's next packet is asked about again.
void FlowCache::end(Entry& entry) {
  if (entry.logged) {
    log_.ends(entry.key.direction, entry.key.flow, entry.packets, entry.bytes);
    --logged_;
  }
  entry.logged = entry.closing = false;
  entry.packets = entry.bytes = 0;
  entry.generation = 0;
}

void FlowCache::forget(Entry& entry) {
  if (!entry.used) return;
  end(entry);
  entry = Entry{};
  --size_;
}

void FlowCache::age(Time now) {
  if (logged_ == 0 || now < next_age_) return;
  constexpr int kTurns = 16;  // for all places
  next_age_ = now + 100ms;
  for (std::size_t i = 0; i < std::max<std::size_t>(entries_.size() / kTurns, 1); ++i) {
    Entry& entry = entries_[age_place_];
    age_place_ = (age_place_ + 1) & (entries_.size() - 1);
    if (!entry.used) continue;
    if (now - entry.last_seen > (entry.closing ? config_.closing_timeout : config_.idle_timeout)) forget(entry);
  }
}

}  // namespace testudo::policy
