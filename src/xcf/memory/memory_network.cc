// SPDX-License-Identifier: Apache-2.0
#include "xcf/memory/memory_network.h"

#include <utility>

#include "base/check.h"
#include "xcf/memory/memory_bus.h"

namespace testudo::xcf {

MemoryNetwork::MemoryNetwork(Executor& executor, std::uint64_t seed, Options options)
    : executor_(executor), rng_(seed), options_(options) {}

MemoryNetwork::~MemoryNetwork() = default;

std::unique_ptr<Bus> MemoryNetwork::join(Executor& node_executor, Identity identity) {
  CHECK(!buses_.contains(identity.node));
  auto bus = std::make_unique<MemoryBus>(*this, node_executor, identity);
  buses_[identity.node] = bus.get();
  return bus;
}

void MemoryNetwork::leave(MemoryBus& bus) {
  const std::string node = bus.identity().node;
  buses_.erase(node);
  for (auto& [nodes, link] : links_) {
    if (nodes.first == node || nodes.second == node) link->take_down("node " + node + " closed the connection");
  }
}

MemoryLink& MemoryNetwork::link(const std::string& a, const std::string& b) {
  const Pair nodes = pair(a, b);
  auto& link = links_[nodes];
  if (!link) link = std::make_unique<MemoryLink>(*this, nodes);
  return *link;
}

MemoryBus* MemoryNetwork::bus(const std::string& node) const {
  const auto found = buses_.find(node);
  return found == buses_.end() ? nullptr : found->second;
}

Duration MemoryNetwork::up_to(Duration limit) {
  if (limit <= Duration::zero()) return {};
  return Duration(static_cast<Duration::rep>(rng_.next() % static_cast<std::uint64_t>(limit.count() + 1)));
}

Duration MemoryNetwork::delay_now(const Pair& nodes) {
  const Duration own = link(nodes.first, nodes.second).delay;
  return (own < Duration::zero() ? options_.delay : own) + up_to(options_.jitter);
}

void MemoryNetwork::set_delay(const std::string& a, const std::string& b, Duration one_way) {
  link(a, b).delay = one_way;
}

void MemoryNetwork::cut(const std::string& a, const std::string& b) {
  link(a, b).cut_by_test = true;
  link(a, b).cut();
}

void MemoryNetwork::heal(const std::string& a, const std::string& b) {
  link(a, b).cut_by_test = false;
  link(a, b).heal();
}

void MemoryNetwork::break_link(const std::string& a, const std::string& b) {
  link(a, b).take_down("the connection was reset");
}

void MemoryNetwork::isolate(const std::string& node) {
  isolated_.insert(node);
  for (auto& [nodes, link] : links_) {
    if (nodes.first == node || nodes.second == node) link->cut();
  }
}

void MemoryNetwork::rejoin(const std::string& node) {
  isolated_.erase(node);
  for (auto& [nodes, link] : links_) {
    if (nodes.first == node || nodes.second == node) link->heal();
  }
}

}  // namespace testudo::xcf
