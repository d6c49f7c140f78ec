// SPDX-License-Identifier: Apache-2.0
// FilterTable: the filters of all DVIPAs as a worker looks them up. The control thread changes its own table, rule
// by rule, and publishes copies; a copy costs next to nothing and never changes (docs/decisions/0007).
//
//   policy::FilterTable table;                                                      // control; or filter_set.h
//   table.insert(policy::Rule::of(filter, dvipa, sa_factory.tunnels()));
//   auto snapshot = std::make_shared<const policy::FilterTable>(table);
//   const policy::Rule* rule = snapshot->find(policy::Direction::kOutbound, flow);  // worker
//   if (rule != nullptr && rule->action == policy::Action::kProtect) sad.find_outbound(rule->tunnel);
//
// A look-up does not get slower with the number of peers. It neither allocates nor locks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipsec/tunnel.h"
#include "policy/filter.h"
#include "policy/rule.h"
#include "policy/rule_tree.h"
#include "policy/rule_trie.h"

namespace testudo::policy {

class FilterTable {
 public:
  /// No rule: everything is dropped.
  FilterTable() = default;
  /// Of equal ids the filter that comes first is looked at first. Interns the tunnels' names. Threads: control.
  FilterTable(std::span<const Filter> filters, ipsec::TunnelNames& tunnels);

  /// No rule with the same rank may be in it. Threads: control, as erase() and all that copies or destroys.
  void insert(const Rule& rule);
  /// Nothing happens when it is not there.
  void erase(const Rule& rule);

  /// The rule with the lowest priority value that matches; of equal ones the lower id, of equal ids the lower
  /// DVIPA. Null: none. The rule lives as long as the table.
  [[nodiscard]] const Rule* find(Direction direction, const Flow& flow) const;

  [[nodiscard]] std::size_t size() const;

  /// Which state of the filters this is: what was concluded from another one may no longer be so. Never 0.
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  void set_generation(std::uint64_t generation) { generation_ = generation; }

  /// See inbound_check.h.
  [[nodiscard]] bool accepts_icmp_errors() const { return accepts_icmp_errors_; }
  void set_accepts_icmp_errors(bool yes) { accepts_icmp_errors_ = yes; }

 private:
  struct Part {
    RuleTrie networks;
    RuleTree ranges;
  };
  static std::size_t part_of(Direction direction, IpAddress remote) {
    return 2 * static_cast<std::size_t>(direction) + (remote.is_v4() ? 0 : 1);
  }

  std::array<Part, 4> parts_;
  std::uint64_t generation_ = 1;
  bool accepts_icmp_errors_ = true;
};

}  // namespace testudo::policy
