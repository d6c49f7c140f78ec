// SPDX-License-Identifier: Apache-2.0
#include "sim/freshness/peer.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::freshness {

Peer::Peer(const Case& c, Dice& dice) : delay_(c.path), guard_(c.guard), dice_(dice), paths_(c.targets) {
  for (const std::uint32_t window : c.windows) refusals_.push_back({.window = window});
}

void Peer::send(std::size_t host, std::uint64_t first, std::uint32_t count, Time when) {
  Path& path = paths_[host];
  const Time least = when + delay_.base;
  const double mean = static_cast<double>(delay_.mean.count());
  for (std::uint64_t number = first; number < first + count; ++number) {
    const bool bounded = delay_.uniform_most > Duration(0);
    const Duration jitter = bounded ? dice_.uniform(delay_.uniform_most) : dice_.exponential(mean);
    path.last = std::max(path.last, least + jitter);
    path.packets.push_back({path.last, number, path.last - least > guard_});
  }
}

void Peer::receive_until(Time now) {
  for (;;) {
    Path* first = nullptr;
    for (Path& path : paths_) {
      if (path.packets.empty()) continue;
      if (first == nullptr || path.packets.front().arrives < first->packets.front().arrives) first = &path;
    }
    if (first == nullptr || first->packets.front().arrives > now) return;
    receive(first->packets.front());
    first->packets.pop_front();
  }
}

/// A packet is refused only if one with a much higher number, sent after it, has overtaken it on the way; when
/// numbers are kept from use for a guard's time after they were sent, the path must have delayed this one by more
/// than that.
void Peer::receive(const Packet& packet) {
  if (seen_.size() <= packet.number) seen_.resize(packet.number * 2 + 1024);
  CHECK(!seen_[packet.number]);
  seen_[packet.number] = true;
  ++received_;
  if (packet.beyond_guard) ++beyond_guard_;
  for (Refusals& r : refusals_) {
    if (packet.number + r.window > top_) continue;
    ++r.refused;
    if (packet.beyond_guard) ++r.by_jitter;
  }
  top_ = std::max(top_, packet.number);
}

}  // namespace testudo::freshness
