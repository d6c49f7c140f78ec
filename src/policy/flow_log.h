// SPDX-License-Identifier: Apache-2.0
// FlowLog: what there is to log of connections whose filter rule asks for it (spec D3). The stages write records
// into a ring; the worker hands them to the control thread, which writes the lines.
//
//   FlowLog log;
//   log.begins(*rule, Direction::kInbound, flow);            // once per connection
//   log.dropped(*rule, Direction::kInbound, flow, Drop::kFilterDenied, now);
//   for (FlowRecord record; log.take(record);) …             // after a burst
//
// Nothing allocates. A flood of connections, or of packets that are dropped, fills no disk: records that the ring
// has no room for and drops beyond kDropsPerSecond are counted, and the next record says how many were left out.
#pragma once

#include <array>
#include <cstdint>

#include "base/drop.h"
#include "base/time.h"
#include "policy/rule.h"

namespace testudo::policy {

struct FlowRecord {
  enum class What : std::uint8_t { kBegins, kEnds, kDropped };

  What what = What::kBegins;
  Direction direction = Direction::kInbound;
  Action action = Action::kDeny;  // of the rule
  Drop drop{};                    // kDropped
  Flow flow;
  Rank rule;                             // kEnds: nothing
  std::uint64_t packets = 0, bytes = 0;  // kEnds
  std::uint64_t left_out = 0;            // records that should have come before this one
};

class FlowLog {
 public:
  static constexpr std::size_t kRecords = 256;
  static constexpr std::uint32_t kDropsPerSecond = 10;
  static constexpr std::uint32_t kDropsAtOnce = 50;

  void begins(const Rule& rule, Direction direction, const Flow& flow);
  void ends(Direction direction, const Flow& flow, std::uint64_t packets, std::uint64_t bytes);
  void dropped(const Rule& rule, Direction direction, const Flow& flow, Drop drop, Time now);

  /// The oldest record that is left. False: there is none.
  bool take(FlowRecord& record);
  [[nodiscard]] bool empty() const { return count_ == 0; }

 private:
  FlowRecord* add(FlowRecord::What what, Direction direction, const Flow& flow);
  bool may_drop(Time now);

  std::array<FlowRecord, kRecords> ring_;
  std::size_t first_ = 0, count_ = 0;
  std::uint64_t left_out_ = 0;
  std::uint32_t drops_left_ = kDropsAtOnce;
  Time refilled_{};
};

}  // namespace testudo::policy
