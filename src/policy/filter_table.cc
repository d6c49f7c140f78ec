// SPDX-License-Identifier: Apache-2.0
#include "policy/filter_table.h"

#include <algorithm>
#include <tuple>

namespace testudo::policy {
namespace {

/// The peer's side of a rule or flow: its source when it comes in, its destination when it goes out.
template <typename T>
const auto& remote(Direction direction, const T& t) {
  return direction == Direction::kInbound ? t.source : t.destination;
}

bool matches_ports(const PortRange& range, const Flow& flow, std::uint16_t port) {
  return flow.has_ports ? range.contains(port) : range.is_any();
}

bool comes_before(const Rule& a, const Rule& b) {
  return std::tie(a.priority, a.id, a.order) < std::tie(b.priority, b.id, b.order);
}

Rule rule_of(const Filter& f, std::size_t order, ipsec::TunnelNames& tunnels) {
  return {.id = f.id,
          .priority = f.priority,
          .order = static_cast<std::uint32_t>(order),
          .action = f.action,
          .tunnel = f.action == Action::kProtect ? tunnels.intern(f.tunnel) : ipsec::TunnelId(),
          .protocol = f.protocol,
          .source = f.source,
          .destination = f.destination,
          .source_ports = f.source_ports,
          .destination_ports = f.destination_ports};
}

}  // namespace

bool Rule::matches(const Flow& flow) const {
  return (protocol == 0 || protocol == flow.protocol) && source.contains(flow.source) &&
         destination.contains(flow.destination) && matches_ports(source_ports, flow, flow.source_port) &&
         matches_ports(destination_ports, flow, flow.destination_port);
}

std::uint64_t FilterTable::key_of(IpAddress address, std::uint8_t length) {
  const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  return std::uint64_t{address.value() & mask} << 8 | length;
}

FilterTable::FilterTable(std::span<const Filter> filters, ipsec::TunnelNames& tunnels) {
  struct Keyed {
    Direction direction;
    std::uint64_t key;
    Rule rule;
  };
  std::vector<Keyed> keyed;
  keyed.reserve(filters.size());
  for (const Filter& f : filters) {
    const IpPrefix& prefix = remote(f.direction, f);
    keyed.push_back({f.direction, key_of(prefix.address, prefix.length), rule_of(f, keyed.size(), tunnels)});
  }
  std::ranges::sort(keyed, [](const Keyed& a, const Keyed& b) {
    if (a.direction != b.direction || a.key != b.key) {
      return std::tie(a.direction, a.key) < std::tie(b.direction, b.key);
    }
    return comes_before(a.rule, b.rule);
  });
  rules_.reserve(keyed.size());
  for (const Keyed& k : keyed) {
    Side& side = sides_[static_cast<std::size_t>(k.direction)];
    const auto [group, is_new] =
        side.by_prefix.try_emplace(k.key, Group{static_cast<std::uint32_t>(rules_.size())});
    ++group->second.count;
    const auto length = static_cast<std::uint8_t>(k.key & 0xff);
    if (is_new && std::ranges::find(side.lengths, length) == side.lengths.end()) side.lengths.push_back(length);
    rules_.push_back(k.rule);
  }
}

const Rule* FilterTable::find(Direction direction, const Flow& flow) const {
  const Side& side = sides_[static_cast<std::size_t>(direction)];
  const Rule* best = nullptr;
  for (const std::uint8_t length : side.lengths) {
    const auto group = side.by_prefix.find(key_of(remote(direction, flow), length));
    if (group == side.by_prefix.end()) continue;
    const auto rules = std::span(rules_).subspan(group->second.first, group->second.count);
    const auto match = std::ranges::find_if(rules, [&](const Rule& rule) { return rule.matches(flow); });
    if (match == rules.end()) continue;
    if (best == nullptr || comes_before(*match, *best)) best = &*match;
  }
  return best;
}

}  // namespace testudo::policy
