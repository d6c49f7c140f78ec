// SPDX-License-Identifier: Apache-2.0
// Peer: the other end of the tunnels. It numbers what it sends, as any IPsec peer; and with it an attacker, who has
// seen all of it, sends it again whenever he likes, and forges numbers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/protocol/packet.h"

namespace testudo::sim::protocol {

class World;

class Peer {
 public:
  explicit Peer(World& world) : world_(world) {}

  void start();
  /// The tunnel has a new inbound SA, ours outbound.
  void uses(std::uint32_t tunnel);
  /// The cluster has delivered it.
  void heard(const EspPacket& packet);

  /// From now on each flow says something until it is heard.
  void begin_last_words();
  /// Empty: each flow was. Else a sentence.
  [[nodiscard]] std::string unheard() const;
  /// In a run without faults.
  void must_have_all_arrived();

  [[nodiscard]] std::uint64_t sent() const { return sent_; }

 private:
  static constexpr std::size_t kRemembered = 400;  // packets, by the attacker

  void speak(std::uint32_t tunnel);
  void say(std::uint32_t tunnel, std::uint32_t flow);
  void last_words();
  void attack();
  [[nodiscard]] EspPacket forged();
  [[nodiscard]] std::uint32_t flows() const;

  World& world_;
  std::map<SaId, std::uint64_t> next_;  // numbers
  std::deque<EspPacket> seen_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> waits_;  // tunnel, flow: for its last words to be heard
  std::vector<EspPacket> all_;                               // of a run without faults
  std::uint64_t sent_ = 0;
};

}  // namespace testudo::sim::protocol
