// SPDX-License-Identifier: Apache-2.0
// World: hosts, the network between them, the coupling facility, the peer and an attacker, in virtual time. All
// chance comes from the seed.
//
//   World world(seed, plan_of(seed), verbose);
//   world.run();
//   EXPECT_THAT(world.judge().violations(), IsEmpty());
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "sequence/lessee.h"
#include "sim/protocol/faults.h"
#include "sim/protocol/host.h"
#include "sim/protocol/judge.h"
#include "sim/protocol/packet.h"
#include "sim/protocol/peer.h"
#include "sim/protocol/plan.h"
#include "sim/protocol/register.h"
#include "sim/transcript.h"
#include "sim/virtual_time.h"

namespace testudo::sim::protocol {

class World {
 public:
  World(std::uint64_t seed, const Plan& plan, bool verbose);

  /// The whole run: with faults, then without, until everything is settled.
  void run();

  // ---- for its parts ----
  [[nodiscard]] const Plan& plan() const { return plan_; }
  [[nodiscard]] Judge& judge() { return judge_; }
  [[nodiscard]] const Transcript& transcript() const { return transcript_; }
  template <typename... Args>
  void tell(const std::string& who, fmt::format_string<Args...> format, Args&&... args) {
    transcript_.tell(who, format, std::forward<Args>(args)...);
  }

  [[nodiscard]] Time now() const { return time_.now(); }
  void at(Time when, std::function<void()> task) { time_.at(when, std::move(task)); }
  void after(Duration delay, std::function<void()> task) { time_.after(delay, std::move(task)); }
  [[nodiscard]] std::uint64_t events() const { return time_.events_run(); }

  [[nodiscard]] std::uint64_t random(std::uint64_t below) { return below == 0 ? 0 : rng_.next() % below; }
  [[nodiscard]] Duration random(Duration up_to) {
    return Duration(static_cast<Duration::rep>(random(static_cast<std::uint64_t>(up_to.count()) + 1)));
  }
  [[nodiscard]] bool chance(double p) {
    return p > 0 && static_cast<double>(rng_.next() >> 11) < p * 9007199254740992.0;
  }
  /// The faults are over.
  [[nodiscard]] bool calm() const { return calm_; }

  [[nodiscard]] std::span<const NodeId> nodes() const { return nodes_; }
  [[nodiscard]] Host& host(NodeId node) { return *hosts_[node.value() - 1u]; }
  [[nodiscard]] std::span<Tunnel> tunnels() { return tunnels_; }
  /// Null: this host is not, or no more, the owner under this epoch.
  [[nodiscard]] Owner* owner_role(NodeId node, Epoch epoch);
  [[nodiscard]] Peer& peer() { return peer_; }
  [[nodiscard]] Faults& faults() { return faults_; }

  // ---- XCF ----
  /// A datagram: it may be lost, come twice, late, or after a later one. `arrive` runs at the receiver.
  void send(NodeId from, NodeId to, std::function<void(Host&)> arrive);
  /// What the state machines of the leases say to each other.
  void observe(const Host& from, NodeId to, const wire::FastMessage& message);

  // ---- the outside ----
  void to_peer(const Host& from, SaId sa, const sequence::Numbers& numbers);
  /// From the peer, or somebody who claims to be: to the owner where the network thinks it is.
  void to_dvipa(const EspPacket& packet);
  void to_host(NodeId node, const EspPacket& packet);
  /// An owner repeats its announcement: that of a former one, should it come later, does not last.
  void moves_dvipa_to(NodeId node, Epoch epoch);
  /// A host has delivered the packet, as a target or as the owner of this epoch.
  void accepted(const EspPacket& packet, SeqNo number, const Host& host, Epoch epoch);

  // ---- the facility and what control does with it ----
  void reserve(const Host& host, Epoch epoch, SaId sa, SeqNo last, std::function<void()> granted);
  /// `answer` runs at the host: the write came to its end, or there was no answer.
  void store(const Host& host, Epoch epoch, std::uint64_t version, const distributor::ReplayWitnesses& witnesses,
             std::function<void(bool answered)> answer);
  [[nodiscard]] SeqNo ceiling_at_takeover(SaId sa) const { return register_.ceiling(sa); }
  [[nodiscard]] const Register& written() const { return register_; }
  /// The host's session with the facility is over.
  void session_over(NodeId host);
  /// The host tries to take the ownership from that epoch's owner.
  void tries_to_take(NodeId host, Epoch seen);
  /// The facility answers it again: it learns who owns the DVIPA.
  void catches_up(NodeId host);
  /// Control negotiates a new inbound SA in the place of the tunnel's, which is closed.
  void replace(std::uint32_t tunnel);

 private:
  void start();
  void produce(NodeId node, std::uint32_t tunnel);
  void elect();
  void replaced(std::uint32_t tunnel);
  void settle();
  [[nodiscard]] std::string unsettled();

  Plan plan_;
  SeededRng rng_;
  VirtualTime time_;
  Transcript transcript_;
  Judge judge_;
  Register register_;
  std::vector<NodeId> nodes_;  // by rank
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<Tunnel> tunnels_;
  std::uint64_t sas_ = 0;
  NodeId dvipa_at_;
  Epoch announced_;                                // by whom it is
  std::map<std::pair<NodeId, SaId>, Time> paths_;  // last arrival at the peer: each is first in, first out
  bool calm_ = false;
  Peer peer_;
  Faults faults_;
};

}  // namespace testudo::sim::protocol
