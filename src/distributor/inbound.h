// SPDX-License-Identifier: Apache-2.0
// Inbound: what the owner of a DVIPA does with packets from the network (seed blocks 130–146, spec C1–C9, A7). It
// says what becomes of each packet; the worker does it. Packets of known connections are forwarded without being
// authenticated: peek, look up, put a header before them. The bytes stay as they came.
//
//   distributor::Inbound inbound(config, {engine, sad, drops, hash_key});
//   inbound.set_distribution(distribution); inbound.set_filters(filters);   // at every change
//   inbound.sa_installed(*sa);                                             // an inbound SA of an owned DVIPA
//   for (const Verdict& v : inbound.nat_t(burst, now)) …   // verdicts in the order of the packets
//
// Nothing is built on what a peek shows: a connection is made only of a SYN that was authenticated, and no sequence
// number counts as seen but by authentication, here or at a target. Thread: one worker. Only set_*() and sa_*()
// allocate.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/drop.h"
#include "base/time.h"
#include "crypto/engine.h"
#include "distributor/connection_table.h"
#include "distributor/distribution.h"
#include "distributor/replay_ledger.h"
#include "distributor/target_choice.h"
#include "ipsec/esp.h"
#include "ipsec/peek.h"
#include "ipsec/sad.h"
#include "policy/filter_table.h"
#include "wire/fast.h"
#include "wire/packet.h"

namespace testudo::distributor {

/// What becomes of one packet.
struct Verdict {
  enum class Kind : std::uint8_t {
    kDrop,     // `reason`; counted
    kForward,  // `out` goes to `target` over XCF
    kLocal,    // `bytes`: a plain IPv4 packet for this host's TUN
    kIke,      // `bytes`: an IKE message without marker, for charon
    kIgnore,   // a NAT keepalive
  };
  Kind kind = Kind::kDrop;
  Drop reason{};
  NodeId target;
  std::span<std::uint8_t> bytes;  // within the packet
  /// Head, body (within the packet) and destination are set; the source is the sender's to set.
  wire::Outgoing out;
};

struct InboundConfig {
  ConnectionTableConfig connections;
  ReplayLedgerConfig ledger;
  std::size_t age_per_tick = 256;  // connections looked at
};

/// Of packets.
struct InboundCounters {
  Counter peeked;
  Counter authenticated_syn;    // SYNs that would make a connection, authenticated or found forged
  Counter authenticated_first;  // of a known connection, but its number was pending elsewhere or far ahead
  Counter fully_processed;      // decrypted here for this host itself, or because a peek could not decide
  Counter
      established_full_decrypt;  // of known connections at other nodes, decrypted as a whole for whatever reason
  Counter forwarded, forwarded_clear;
  Counter local;
  Counter connections_made;
};

class Inbound {
 public:
  struct Parts {
    crypto::Engine& engine;
    ipsec::Sad& sad;
    DropCounters& drops;
    SipKey hash_key;
  };

  Inbound(const InboundConfig& config, Parts parts);

  /// Both must live until the next call. Before the first: everything is dropped.
  void set_distribution(const Distribution* distribution);
  void set_filters(const policy::FilterTable* table) { filters_ = table; }
  /// Outbound SAs are ignored. The SA is in the Sad.
  void sa_installed(const ipsec::Sa& sa);
  void sa_removed(SaId sa);
  /// What was forwarded to the node and not committed counts as seen (spec C5).
  void node_died(NodeId node);

  /// Each takes up to wire::kBurst packets and returns a verdict for each, valid as long as the packets are and
  /// until the next call. Packets may be changed.
  [[nodiscard]] std::span<const Verdict> ike(std::span<const wire::Packet> burst);              // UDP port 500
  [[nodiscard]] std::span<const Verdict> nat_t(std::span<const wire::Packet> burst, Time now);  // UDP port 4500
  [[nodiscard]] std::span<const Verdict> raw(std::span<const wire::Packet> burst, Time now);    // IPv4 packets

  /// kReplayCommit of a target. The caller has checked that the sender is who the header says.
  void commit(const wire::FastMessage& message);
  /// Once a turn: forgets silent connections.
  void tick(Time now) { connections_.age(now, config_.age_per_tick); }

  [[nodiscard]] const ConnectionTable& connections() const { return connections_; }
  [[nodiscard]] const InboundCounters& counters() const { return counters_; }
  /// Packets forwarded to the node since the start.
  [[nodiscard]] std::uint64_t forwarded_to(NodeId node) const { return forwarded_to_[node.value()].value(); }

 private:
  struct SaState;  // an inbound SA's replay ledger
  struct Item;     // one ESP packet on its way through the stages

  InboundConfig config_;
  Parts parts_;
  const Distribution* distribution_ = nullptr;
  const policy::FilterTable* filters_ = nullptr;
  ConnectionTable connections_;
  TargetChoice choice_;
  InboundCounters counters_;
  std::vector<Counter> forwarded_to_;  // by NodeId
  std::array<Verdict, wire::kBurst> verdicts_;
};

}  // namespace testudo::distributor
