// SPDX-License-Identifier: Apache-2.0
#include "xcf/memory/memory_bus.h"

#include <utility>

#include "xcf/hello_check.h"

namespace testudo::xcf {

MemoryBus::MemoryBus(MemoryNetwork& network, Executor& executor, MemoryNetwork::Identity identity)
    : network_(network), executor_(executor), identity_(std::move(identity)) {}

MemoryBus::~MemoryBus() {
  alive_.reset();
  network_.leave(*this);
}

void MemoryBus::start(v1::Hello self, BusEvents events) {
  self_ = std::move(self);
  if (self_.version() == 0) self_.set_version(kProtocolVersion);
  events_ = std::move(events);
  started_ = true;
  for (const std::string& member : members_) network_.link(identity_.node, member).try_soon();
}

void MemoryBus::add_member(const Member& member) {
  if (member.name == identity_.node || !members_.insert(member.name).second) return;
  if (started_) network_.link(identity_.node, member.name).try_soon();
}

void MemoryBus::remove_member(const std::string& name) {
  if (members_.erase(name) == 0) return;
  network_.link(identity_.node, name).take_down("node " + name + " is no longer a member");
}

bool MemoryBus::send(const std::string& node, const v1::Envelope& message) {
  return up_.contains(node) && network_.link(identity_.node, node).send(identity_.node, message);
}

void MemoryBus::later(std::function<void()> task) {
  executor_.post([alive = std::weak_ptr(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

void MemoryBus::tell_up(const v1::Hello& peer) {
  later([this, peer] {
    up_.insert(peer.node());
    refusals_.erase(peer.node());
    if (events_.up) events_.up(peer);
  });
}

void MemoryBus::tell_down(const std::string& peer, const std::string& reason) {
  later([this, peer, reason] {
    if (up_.erase(peer) != 0 && events_.down) events_.down(peer, reason);
  });
}

void MemoryBus::tell_received(const std::string& peer, const v1::Envelope& message) {
  later([this, peer, message = message]() mutable {
    if (up_.contains(peer) && events_.received) events_.received(peer, message);
    zero_keys(message);
  });
}

void MemoryBus::tell_refused(const std::string& who, const std::string& reason) {
  later([this, who, reason] {
    if (std::exchange(refusals_[who], reason) != reason && events_.refused) events_.refused(who, reason);
  });
}

}  // namespace testudo::xcf
