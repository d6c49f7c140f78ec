// SPDX-License-Identifier: Apache-2.0
// Faults: what goes wrong with hosts, their clocks and the facility, as the plan and the seed want it. It also
// knows what follows: sessions that expire, and owners whose failure detector notices.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/strong.h"
#include "base/time.h"
#include "sim/protocol/drifting_clock.h"
#include "sim/protocol/plan.h"

namespace testudo::sim::protocol {

class World;

class Faults {
 public:
  explicit Faults(World& world) : world_(world) {}

  void start(NodeId node);
  void begin();
  /// Nothing new: the facility answers, who has crashed starts in its time, who is paused goes on in its.
  void end();
  [[nodiscard]] bool reaches_facility(NodeId node) const;

 private:
  void repeat(Every every, void (Faults::*fault)());
  void crash_target();
  void crash_owner();
  void crash_both();
  void pause_target();
  void pause_owner();
  void jump();
  void facility_away();
  void false_alarm();
  void reassign();

  void crash(NodeId node);
  void pause(NodeId node);
  void cut(NodeId node, Duration how_long);
  /// Out of sight from now on: the session expires and the owner notices, if it lasts.
  void watch_outage(NodeId node);
  [[nodiscard]] NodeId any_target();
  [[nodiscard]] NodeId present_owner() const;

  World& world_;
  std::map<NodeId, Time> cut_until_;  // from the facility
};

}  // namespace testudo::sim::protocol
