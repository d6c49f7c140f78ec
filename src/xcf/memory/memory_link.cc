// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "xcf/hello_check.h"
#include "xcf/memory/memory_bus.h"

namespace testudo::xcf {
namespace {
constexpr Duration kBackoffMin = 50ms;
constexpr Duration kBackoffMax = 2s;
}  // namespace

void MemoryLink::after(Duration delay_from_now, std::function<void()> task) {
  network_.executor_.run_after(delay_from_now, [alive = std::weak_ptr(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

bool MemoryLink::silent() const {
  return cut_by_test || network_.isolated_.contains(nodes_.first) || network_.isolated_.contains(nodes_.second);
}

void MemoryLink::try_soon() {
  if (up_ || trying_) return;
  trying_ = true;
  after(backoff_ + network_.up_to(backoff_ / 4) + 2 * network_.delay_now(nodes_), [this] { connect(); });
  backoff_ = std::min(kBackoffMax, std::max(kBackoffMin, backoff_ * 2));
}

void MemoryLink::connect() {
  trying_ = false;
  MemoryBus* first = network_.bus(nodes_.first);
  MemoryBus* second = network_.bus(nodes_.second);
  if (up_ || first == nullptr || second == nullptr) return;  // who joins later tries again
  if (!first->wants(nodes_.second) || !second->wants(nodes_.first)) return;
  if (silent()) return try_soon();
  if (first->identity().authority != second->identity().authority) {
    first->tell_refused(nodes_.second, "the certificate of node " + nodes_.second + " is not of this cluster's CA");
    return try_soon();
  }
  // As over the wire: the dialling side speaks first, so the listening side refuses and tells why.
  if (const auto reason = reason_to_refuse(second->hello(), first->hello(), {nodes_.first}, "")) {
    second->tell_refused(nodes_.first, *reason);
    first->tell_refused(nodes_.second, "node " + nodes_.second + " refuses this node: " + *reason);
    return try_soon();
  }
  up_ = true;
  ++era_;
  backoff_ = {};
  first->tell_up(second->hello());
  second->tell_up(first->hello());
}

bool MemoryLink::send(const std::string& from, const v1::Envelope& message) {
  if (!up_) return false;
  const std::string& to = from == nodes_.first ? nodes_.second : nodes_.first;
  Direction& direction = towards(to);
  const std::size_t size = message.ByteSizeLong();
  if (direction.under_way.size() >= network_.options_.queue_messages ||
      direction.bytes + size > network_.options_.queue_bytes) {
    take_down("the queue of messages to node " + to + " is full");
    return false;
  }
  direction.under_way.emplace(direction.next++, message);
  direction.bytes += size;
  if (!silent()) schedule_delivery(to);
  return true;
}

void MemoryLink::schedule_delivery(const std::string& to) {
  Direction& direction = towards(to);
  const Time now = network_.executor_.now();
  direction.last_arrival = std::max(direction.last_arrival, now + network_.delay_now(nodes_));
  after(direction.last_arrival - now, [this, to, era = era_] {
    if (era == era_ && up_) deliver_next(to);
  });
}

void MemoryLink::deliver_next(const std::string& to) {
  Direction& direction = towards(to);
  if (silent() || direction.under_way.empty()) return;  // heal() takes up what is left
  auto message = direction.under_way.extract(direction.under_way.begin());
  direction.bytes -= message.mapped().ByteSizeLong();
  const std::string& from = to == nodes_.first ? nodes_.second : nodes_.first;
  network_.bus(to)->tell_received(from, message.mapped());
  zero_keys(message.mapped());
}

void MemoryLink::cut() {
  after(network_.options_.detection, [this, cut = ++cuts_] {
    if (cut == cuts_ && silent()) take_down("no answer to keepalives");
  });
}

void MemoryLink::heal() {
  if (silent()) return;
  ++cuts_;
  if (!up_) return try_soon();
  for (const std::string& to : {nodes_.first, nodes_.second}) {
    Direction& direction = towards(to);
    // Deliveries that were scheduled before the cut and are still to come take the first of these; the rest is
    // spare.
    for (std::size_t i = 0; i < direction.under_way.size(); ++i) schedule_delivery(to);
  }
}

void MemoryLink::take_down(const std::string& reason) {
  if (!std::exchange(up_, false)) return;
  ++era_;
  for (const auto& [self, peer] : {nodes_, MemoryNetwork::Pair{nodes_.second, nodes_.first}}) {
    Direction& direction = towards(self);
    for (auto& [number, message] : direction.under_way) zero_keys(message);
    direction = Direction();
    if (MemoryBus* bus = network_.bus(self)) bus->tell_down(peer, reason);
  }
  backoff_ = kBackoffMin;
  try_soon();
}

}  // namespace testudo::xcf
