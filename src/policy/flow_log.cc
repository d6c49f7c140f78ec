// SPDX-License-Identifier: Apache-2.0
#include "policy/flow_log.h"

#include <algorithm>
#include <utility>

namespace testudo::policy {

FlowRecord* FlowLog::add(FlowRecord::What what, Direction direction, const Flow& flow) {
  if (count_ == kRecords) {
    ++left_out_;
    return nullptr;
  }
  FlowRecord& record = ring_[(first_ + count_++) % kRecords];
  record = FlowRecord{};
  record.what = what;
  record.direction = direction;
  record.flow = flow;
  record.left_out = std::exchange(left_out_, 0);
  return &record;
}

void FlowLog::begins(const Rule& rule, Direction direction, const Flow& flow) {
  FlowRecord* record = add(FlowRecord::What::kBegins, direction, flow);
  if (record == nullptr) return;
  record->rule = rule.rank;
  record->action = rule.action;
}

void FlowLog::ends(Direction direction, const Flow& flow, std::uint64_t packets, std::uint64_t bytes) {
  FlowRecord* record = add(FlowRecord::What::kEnds, direction, flow);
  if (record == nullptr) return;
  record->packets = packets;
  record->bytes = bytes;
}

void FlowLog::dropped(const Rule& rule, Direction direction, const Flow& flow, Drop drop, Time now) {
  if (!may_drop(now)) return void(++left_out_);
  FlowRecord* record = add(FlowRecord::What::kDropped, direction, flow);
  if (record == nullptr) return;
  record->rule = rule.rank;
  record->action = rule.action;
  record->drop = drop;
}

/// A token bucket.
bool FlowLog::may_drop(Time now) {
  constexpr Duration kEach = Duration(std::chrono::seconds(1)) / kDropsPerSecond;
  const auto tokens = (now - refilled_) / kEach;
  if (tokens > 0) {
    drops_left_ = static_cast<std::uint32_t>(std::min<std::int64_t>(kDropsAtOnce, drops_left_ + tokens));
    refilled_ = now;
  }
  if (drops_left_ == 0) return false;
  --drops_left_;
  return true;
}

bool FlowLog::take(FlowRecord& record) {
  if (count_ == 0) return false;
  record = ring_[first_];
  first_ = (first_ + 1) % kRecords;
  --count_;
  return true;
}

}  // namespace testudo::policy
