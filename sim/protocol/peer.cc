// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/peer.h"

#include <fmt/format.h>

#include "sim/protocol/owner.h"
#include "sim/protocol/world.h"

namespace testudo::sim::protocol {
namespace {

constexpr Duration kLastWordsEvery = 5ms;

}  // namespace

/// The last one is no connection, but UDP and ICMP to the owner itself.
std::uint32_t Peer::flows() const { return world_.plan().flows + 1; }

void Peer::start() {
  for (std::uint32_t i = 0; i < world_.tunnels().size(); ++i) speak(i);
  attack();
}

void Peer::uses(std::uint32_t tunnel) { next_[world_.tunnels()[tunnel].inbound] = world_.plan().inbound_first; }

void Peer::speak(std::uint32_t tunnel) {
  if (world_.calm()) return;
  world_.after(world_.random(2 * world_.plan().packet_every), [this, tunnel] {
    say(tunnel, static_cast<std::uint32_t>(world_.random(flows())));
    speak(tunnel);
  });
}

void Peer::say(std::uint32_t tunnel, std::uint32_t flow) {
  const SaId sa = world_.tunnels()[tunnel].inbound;
  if (sa == SaId()) return;
  const SeqNo number(next_[sa]++);
  const EspPacket packet{.sa = sa,
                         .low = static_cast<std::uint32_t>(number.value()),
                         .covered = number,
                         .tunnel = tunnel,
                         .flow = flow,
                         .genuine = true};
  ++sent_;
  seen_.push_back(packet);
  if (seen_.size() > kRemembered) seen_.pop_front();
  if (world_.plan().peaceful()) all_.push_back(packet);
  world_.to_dvipa(packet);
}

// ---- the attacker ----

void Peer::attack() {
  const Duration every = world_.plan().attack_every;
  if (world_.calm() || every == Duration::zero()) return;
  world_.after(world_.random(2 * every), [this] { attack(); });
  if (seen_.empty()) return;
  // Mostly something recent.
  const std::uint64_t back = world_.random(world_.chance(0.8) ? 40 : seen_.size());
  const EspPacket packet =
      world_.chance(0.6) ? seen_[seen_.size() - 1 - std::min<std::uint64_t>(back, seen_.size() - 1)] : forged();
  if (world_.chance(0.7)) return world_.to_dvipa(packet);
  // To whoever takes itself for the owner.
  for (const NodeId node : world_.nodes()) {
    if (world_.host(node).owner() != nullptr) world_.to_host(node, packet);
  }
}

EspPacket Peer::forged() {
  EspPacket packet = seen_[world_.random(seen_.size())];
  packet.genuine = false;
  const std::uint64_t next = next_[packet.sa];
  const std::uint64_t off = world_.random(world_.chance(0.9) ? 100 : 5000);
  packet.low = static_cast<std::uint32_t>(world_.chance(0.5) ? next + off : next - std::min(off, next));
  if (world_.chance(0.5)) packet.flow = static_cast<std::uint32_t>(world_.random(flows()));
  return packet;
}

// ---- the end ----

void Peer::begin_last_words() {
  for (std::uint32_t tunnel = 0; tunnel < world_.tunnels().size(); ++tunnel) {
    for (std::uint32_t flow = 0; flow < flows(); ++flow) waits_.emplace(tunnel, flow);
  }
  last_words();
}

void Peer::last_words() {
  if (waits_.empty()) return;
  for (const auto& [tunnel, flow] : waits_) say(tunnel, flow);
  world_.after(kLastWordsEvery, [this] { last_words(); });
}

void Peer::heard(const EspPacket& packet) {
  if (world_.calm()) waits_.erase({packet.tunnel, packet.flow});
}

std::string Peer::unheard() const {
  if (waits_.empty()) return "";
  const auto& [tunnel, flow] = *waits_.begin();
  return fmt::format("tunnel {}, flow {}: what the peer says is not heard any more", tunnel, flow);
}

void Peer::must_have_all_arrived() {
  for (const EspPacket& packet : all_) {
    if (!world_.judge().was_accepted(packet.sa, packet.covered)) {
      return world_.judge().fail(fmt::format("SA {}: {} was genuine, nothing was wrong, and nobody accepted it",
                                             packet.sa.value(), packet.covered.value()));
    }
  }
}

}  // namespace testudo::sim::protocol
