// SPDX-License-Identifier: Apache-2.0
// FilterTable: the filters of all DVIPAs as a worker looks them up. Immutable: the control thread builds a new one
// for each change and publishes it.
//
//   auto table = std::make_shared<const policy::FilterTable>(filters, sa_factory.tunnels());   // control
//   const policy::Rule* rule = table->find(policy::Direction::kOutbound, flow);                // worker
//   if (rule != nullptr && rule->action == policy::Action::kProtect) sad.find_outbound(rule->tunnel);
//
// A look-up does not get slower with the number of peers: rules are grouped by the prefix of the peer's side, and
// one group is looked at for each prefix length that occurs.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ipsec/tunnel.h"
#include "policy/filter.h"

namespace testudo::policy {

/// A Filter without its strings.
struct Rule {
  std::uint64_t id = 0;
  std::uint32_t priority = 0;
  std::uint32_t order = 0;  // in which the filters were given
  Action action = Action::kDeny;
  ipsec::TunnelId tunnel;  // none unless kProtect
  std::uint8_t protocol = 0;
  IpPrefix source, destination;
  PortRange source_ports, destination_ports;

  [[nodiscard]] bool matches(const Flow& flow) const;
};

class FilterTable {
 public:
  /// No rule: everything is dropped.
  FilterTable() = default;
  /// Interns the tunnels' names. Threads: control.
  FilterTable(std::span<const Filter> filters, ipsec::TunnelNames& tunnels);

  /// The rule with the lowest priority value that matches; of equal ones the lower id, of equal ids (of two DVIPAs)
  /// the one that was given first. Null: none.
  [[nodiscard]] const Rule* find(Direction direction, const Flow& flow) const;

  [[nodiscard]] std::size_t size() const { return rules_.size(); }

 private:
  /// Rules of one direction whose peer's side has the same prefix, best one first.
  struct Group {
    std::uint32_t first = 0, count = 0;  // in rules_
  };
  struct Side {
    std::vector<std::uint8_t> lengths;                    // prefix lengths that occur
    absl::flat_hash_map<std::uint64_t, Group> by_prefix;  // key: address · length
  };
  static std::uint64_t key_of(IpAddress address, std::uint8_t length);

  std::vector<Rule> rules_;
  std::array<Side, 2> sides_;  // by Direction
};

}  // namespace testudo::policy
