// SPDX-License-Identifier: Apache-2.0
// Owner: what a host does that takes itself for the owner of the DVIPA, rightly or not: the real Sequencer for all
// outbound SAs, the real ReplayLedger per inbound SA, a table of connections, and the failure detector's view of
// the targets. Receives as distributor/inbound does, on packets of few words. Takes over with the real
// ReplayRecovery, and lets itself be taken over with the real ReplayJournal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "distributor/replay_journal.h"
#include "distributor/replay_ledger.h"
#include "distributor/replay_recovery.h"
#include "sequence/sequencer.h"
#include "sim/protocol/packet.h"
#include "wire/fast.h"

namespace testudo::sim::protocol {

class Host;
class World;

class Owner {
 public:
  Owner(World& world, Host& host, Epoch epoch);

  void begin();
  /// A new SA in the place of one that was closed.
  void add_inbound(std::uint32_t tunnel);

  void on_packet(const EspPacket& packet);
  void on_fast(const wire::FastMessage& message);
  void on_report(const distributor::MemberReport& report);
  /// The keeper has a record.
  void on_kept(NodeId from, std::uint32_t copy, std::uint64_t serial);
  void on_join(NodeId node, std::uint32_t life);
  /// The failure detector: that life of the host is over, or out of sight.
  void on_gone(NodeId node, std::uint32_t life);
  /// A connection goes to another target.
  void reassign();

  /// At the end of each turn of the host.
  void turn();
  [[nodiscard]] Time next_timer() const { return std::min(sequencer_.next_timer(), journal_.next_timer()); }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  /// It has taken over, and what it says about the replay windows is written down.
  [[nodiscard]] bool active() const { return journal_.active(); }
  [[nodiscard]] bool would_accept(SaId sa, SeqNo number) const;

 private:
  using FlowKey = std::pair<std::uint32_t, std::uint32_t>;  // tunnel, flow
  [[nodiscard]] bool is_connection(const EspPacket& packet) const;
  /// A name for the flow, as the hash of its addresses and ports.
  [[nodiscard]] static std::uint32_t hash(const EspPacket& packet) {
    return packet.tunnel * 1000 + packet.flow + 1;
  }
  void add_sequenced(SaId sa);
  [[nodiscard]] distributor::ReplayLedgerConfig ledger_config();
  void authenticate(const EspPacket& packet, SeqNo number, distributor::ReplayLedger& ledger);
  void route(const EspPacket& packet, SeqNo number, distributor::ReplayLedger& ledger);
  void forward(const EspPacket& packet, SeqNo number, NodeId target, distributor::ReplayLedger& ledger);
  void close(std::uint32_t tunnel);
  void announce(Duration again);
  void give_up_late(Duration after);
  void take_over();
  void choose_keeper();
  [[nodiscard]] std::vector<distributor::WindowReport> snapshot() const;
  void store();
  void on_stored();
  void welcome(NodeId node);
  void deliver_safe();
  void member_gone(NodeId node);
  [[nodiscard]] NodeId choose();

  World& world_;
  Host& host_;
  Epoch epoch_;
  sequence::Sequencer sequencer_;
  distributor::ReplayRecovery recovery_;
  distributor::ReplayJournal journal_;
  bool taken_over_ = false;
  bool told_active_ = false;  // the judge
  bool storing_ = false;      // a write to the facility is under way
  std::uint64_t version_;     // of what the facility holds
  distributor::ReplayMemory memory_;
  std::map<SaId, distributor::ReplayLedger> ledgers_;
  std::map<NodeId, std::uint32_t> members_;  // with their lives
  std::map<FlowKey, NodeId> connections_;
  struct Held {
    distributor::ReplayJournal::Ticket ticket;
    EspPacket packet;
    SeqNo number;
  };
  std::vector<SaId> closed_;  // for the judge, once this owner is active
  std::deque<Held> held_;     // accepted, until the keeper knows
};

}  // namespace testudo::sim::protocol
