// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/faults.h"

#include <algorithm>

#include "sim/protocol/owner.h"
#include "sim/protocol/world.h"

namespace testudo::sim::protocol {
namespace {

constexpr Duration kRestartMore = 300ms;
constexpr Duration kJumpMost = 1s;

}  // namespace

void Faults::start(NodeId node) {
  const double rate = world_.plan().drift ? 0.95 + 0.001 * static_cast<double>(world_.random(101)) : 1.0;
  world_.host(node).start(DriftingClock(world_.now(), 10s + world_.random(Duration(1h)), rate));
}

void Faults::begin() {
  const Plan& plan = world_.plan();
  repeat(plan.target_crash, &Faults::crash_target);
  repeat(plan.owner_crash, &Faults::crash_owner);
  repeat(plan.both_crash, &Faults::crash_both);
  repeat(plan.target_pause, &Faults::pause_target);
  repeat(plan.owner_pause, &Faults::pause_owner);
  repeat(plan.clock_jump, &Faults::jump);
  repeat(plan.facility_away, &Faults::facility_away);
  repeat(plan.false_alarm, &Faults::false_alarm);
  repeat(plan.reassign, &Faults::reassign);
}

void Faults::repeat(Every every, void (Faults::*fault)()) {
  if (every == Every{}) return;
  world_.after(world_.random(2 * every), [this, every, fault] {
    if (world_.calm()) return;
    (this->*fault)();
    repeat(every, fault);
  });
}

void Faults::end() {
  for (auto& [node, until] : cut_until_) until = std::min(until, world_.now());
  for (const NodeId node : world_.nodes()) {
    world_.catches_up(node);
  }
}

// ---- what there is ----

NodeId Faults::present_owner() const { return world_.written().owner(); }

NodeId Faults::any_target() {
  const NodeId node = world_.nodes()[world_.random(world_.nodes().size())];
  return node == present_owner() ? NodeId() : node;
}

void Faults::crash_target() { crash(any_target()); }
void Faults::crash_owner() { crash(present_owner()); }

void Faults::crash_both() {
  const NodeId target = any_target(), owner = present_owner();
  const bool target_first = world_.chance(0.5);
  crash(target_first ? target : owner);
  world_.after(world_.random(world_.chance(0.5) ? Duration(2ms) : Duration(300ms)),
               [this, node = target_first ? owner : target] { crash(node); });
}

void Faults::pause_target() { pause(any_target()); }
void Faults::pause_owner() { pause(present_owner()); }

void Faults::jump() {
  const Duration by = world_.random(world_.chance(0.5) ? Duration(100ms) : kJumpMost);
  world_.host(world_.nodes()[world_.random(world_.nodes().size())]).jump(world_.chance(0.5) ? by : -by);
}

void Faults::facility_away() {
  const Duration how_long = world_.random(2 * world_.plan().session_ttl + 200ms);
  switch (world_.random(3)) {
    case 0:
      for (const NodeId node : world_.nodes()) cut(node, how_long);
      return;
    case 1:
      return cut(present_owner(), how_long);
    default:
      return cut(any_target(), how_long);
  }
}

/// A backup that takes the owner for dead, with a majority that agrees.
void Faults::false_alarm() {
  const NodeId node = world_.nodes()[world_.random(world_.plan().backups + 1)];
  if (node != present_owner()) world_.tries_to_take(node, world_.written().epoch());
}

void Faults::reassign() {
  Owner* owner = nullptr;
  if (present_owner() != NodeId()) owner = world_.host(present_owner()).owner();
  if (owner != nullptr && world_.host(present_owner()).up()) owner->reassign();
}

// ---- what it does ----

void Faults::crash(NodeId node) {
  if (node == NodeId() || world_.calm() || !world_.host(node).running()) return;
  world_.host(node).crash();
  watch_outage(node);
  world_.after(kRestartLeast + world_.random(kRestartMore), [this, node] {
    if (world_.host(node).running()) return;
    start(node);
    world_.session_over(node);  // a new one begins
    world_.catches_up(node);
  });
}

void Faults::pause(NodeId node) {
  if (node == NodeId() || !world_.host(node).up()) return;
  const Duration most = world_.chance(0.5) ? Duration(20ms) : world_.plan().pause_most;
  world_.host(node).pause(world_.now() + 1us + world_.random(most));
  watch_outage(node);
}

void Faults::cut(NodeId node, Duration how_long) {
  if (node == NodeId()) return;
  world_.tell("facility", "is out of reach for host {}", node.value());
  Time& until = cut_until_[node];
  until = std::max(until, world_.now() + how_long);
  watch_outage(node);
  world_.at(until, [this, node] { world_.catches_up(node); });
}

bool Faults::reaches_facility(NodeId node) const {
  const auto found = cut_until_.find(node);
  return found == cut_until_.end() || found->second <= world_.now();
}

void Faults::watch_outage(NodeId node) {
  const std::uint32_t life = world_.host(node).life();
  world_.after(world_.plan().session_ttl, [this, node, life] {
    const Host& host = world_.host(node);  // in a new life it has a new session
    if (host.life() == life && (!host.up() || !reaches_facility(node))) world_.session_over(node);
  });
  world_.after(world_.plan().detection, [this, node, life] {
    if (world_.host(node).life() == life && world_.host(node).up()) return;
    for (const NodeId other : world_.nodes()) {
      Host& host = world_.host(other);
      if (other != node)
        host.input([&host, node, life] {
          if (host.owner() != nullptr) host.owner()->on_gone(node, life);
        });
    }
  });
}

}  // namespace testudo::sim::protocol
