// SPDX-License-Identifier: Apache-2.0
// Owner: what a host does that takes itself for the owner of the DVIPA, rightly or not: the real Sequencer for all
// outbound SAs, the real ReplayLedger per inbound SA, a table of connections, and the failure detector's view of
// the targets. Receives as distributor/inbound does, on packets of few words.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "distributor/replay_ledger.h"
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
  void on_join(NodeId node, std::uint32_t life);
  /// The failure detector: that life of the host is over, or out of sight.
  void on_gone(NodeId node, std::uint32_t life);
  /// A connection goes to another target.
  void reassign();

  /// At the end of each turn of the host.
  void turn();
  [[nodiscard]] Time next_timer() const { return sequencer_.next_timer(); }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  [[nodiscard]] bool receives(SaId sa) const { return ledgers_.contains(sa); }

 private:
  using FlowKey = std::pair<std::uint32_t, std::uint32_t>;  // tunnel, flow
  [[nodiscard]] bool is_connection(const EspPacket& packet) const;
  /// A name for the flow, as the hash of its addresses and ports.
  [[nodiscard]] static std::uint32_t hash(const EspPacket& packet) {
    return packet.tunnel * 1000 + packet.flow + 1;
  }
  void add_sequenced(SaId sa);
  void authenticate(const EspPacket& packet, SeqNo number, distributor::ReplayLedger& ledger);
  void route(const EspPacket& packet, SeqNo number, distributor::ReplayLedger& ledger);
  void forward(const EspPacket& packet, SeqNo number, NodeId target, distributor::ReplayLedger& ledger);
  void close(std::uint32_t tunnel);
  void announce(Duration again);
  void member_gone(NodeId node);
  [[nodiscard]] NodeId choose();

  World& world_;
  Host& host_;
  Epoch epoch_;
  sequence::Sequencer sequencer_;
  std::map<SaId, distributor::ReplayLedger> ledgers_;
  std::map<NodeId, std::uint32_t> members_;  // with their lives
  std::map<FlowKey, NodeId> connections_;
};

}  // namespace testudo::sim::protocol
