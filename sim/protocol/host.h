// SPDX-License-Identifier: Apache-2.0
// Host: one member of the cluster in the simulation of the protocols. It sends on every tunnel with the real
// Lessee, accepts what owners forward with the real ReplayWindow per SA, reports with the real ReplayCommits, and
// may be the owner (Owner). It runs when something comes in or a timer of its own clock is due, unless it is
// paused: then what comes in waits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/strong.h"
#include "distributor/replay_recovery.h"
#include "ipsec/replay_window.h"
#include "sequence/lessee.h"
#include "sequence/replay_commits.h"
#include "sim/protocol/drifting_clock.h"
#include "sim/protocol/packet.h"
#include "wire/fast.h"

namespace testudo::sim::protocol {

class Owner;
class World;

class Host {
 public:
  Host(World& world, NodeId id);
  ~Host();

  // ---- its life ----
  void start(DriftingClock clock);
  void crash();
  void pause(Time until);
  /// Runs the task as soon as the host runs, in its present life; then the host takes a turn.
  void input(std::function<void()> task);
  /// Its clock goes wrong.
  void jump(Duration by);

  [[nodiscard]] NodeId id() const { return id_; }
  [[nodiscard]] std::string name() const;
  [[nodiscard]] bool running() const { return lessee_ != nullptr; }
  [[nodiscard]] bool paused() const;
  [[nodiscard]] bool up() const { return running() && !paused(); }
  [[nodiscard]] Time paused_until() const { return paused_until_; }
  [[nodiscard]] std::uint32_t life() const { return life_; }
  [[nodiscard]] Time clock() const;

  // ---- ownership ----
  /// The facility says who owns the DVIPA, 0: nobody at the moment. Until it has said so once in a life, the host
  /// believes no owner: a stale one must not find a host that has forgotten its successor.
  void reads(Epoch epoch, NodeId owner);
  /// An owner says so.
  void hears_of(Epoch epoch, NodeId owner);
  void becomes_owner(Epoch epoch);
  /// Null: it does not think so.
  [[nodiscard]] Owner* owner() { return owner_.get(); }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  /// The owner knows this life of ours, and what we accept from now on is ours to tell.
  void welcomed(Epoch epoch, std::uint32_t life);

  // ---- takeover ----
  /// A new owner asks for what we have accepted, and for the record that we keep.
  void on_asked(Epoch epoch, NodeId owner);
  [[nodiscard]] distributor::MemberReport report() const;
  void on_record(NodeId from, const distributor::ReplayRecord& record);

  // ---- packets and messages; within input() ----
  void produce(std::uint32_t tunnel, std::uint32_t count);
  void on_fast(const wire::FastMessage& message);
  void on_forward(NodeId from, std::uint32_t key, std::uint32_t high, const EspPacket& packet);
  [[nodiscard]] std::uint64_t held() const;
  [[nodiscard]] wire::FastOutbox& outbox() { return outbox_; }
  void forget_sa(SaId sa);

 private:
  void turn();
  void send_all(std::uint32_t tunnel);
  void send(SaId sa, const sequence::Numbers& numbers);
  void flush();
  void flush(const wire::FastDatagram& datagram);
  void set_timer();
  void join(Duration again);
  void adopt(Epoch epoch, NodeId owner);
  /// Null: the SA is deleted.
  [[nodiscard]] ipsec::ReplayWindow* window(SaId sa);

  World& world_;
  NodeId id_;
  std::uint32_t life_ = 0;  // also its incarnation
  DriftingClock clock_;
  Time paused_until_{};
  Time timer_ = Time::max();  // virtual time of the next turn that is planned

  Epoch epoch_;
  NodeId owner_id_;
  bool has_read_ = false;  // the facility, in this life
  bool welcome_ = false;   // in this life
  Epoch welcomed_;         // the newest epoch whose owner has said so
  std::unique_ptr<Owner> owner_;

  std::unique_ptr<sequence::Lessee> lessee_;
  std::unique_ptr<sequence::ReplayCommits> commits_;
  std::map<SaId, ipsec::ReplayWindow> windows_;
  distributor::ReplayKeeper keeper_;
  std::set<SaId> deleted_;                       // a target without the SA cannot open its packets
  std::map<std::uint32_t, std::uint32_t> held_;  // packets that wait for numbers, by tunnel
  wire::FastOutbox outbox_{32};
};

}  // namespace testudo::sim::protocol
