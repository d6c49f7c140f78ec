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
#include <optional>
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
#include "policy/flow_log.h"
#include "policy/inbound_check.h"
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
  ConnectionTableConfig connections = {};
  ReplayLedgerConfig ledger = {};
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
    policy::FlowLog* flow_log = nullptr;  // of connections whose filter asks for it. Null: nothing is logged
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
  [[nodiscard]] std::span<const Verdict> raw(std::span<const wire::Packet> burst,
                                             Time now);  // IPv4 packets: super-segments are cut before

  /// kReplayCommit of a target. The caller has checked that the sender is who the header says.
  void commit(const wire::FastMessage& message);
  /// Once a turn: forgets silent connections.
  void tick(Time now) { connections_.age(now, config_.age_per_tick); }

  [[nodiscard]] const ConnectionTable& connections() const { return connections_; }
  [[nodiscard]] const InboundCounters& counters() const { return counters_; }
  /// Packets forwarded to the node since the start.
  [[nodiscard]] std::uint64_t forwarded_to(NodeId node) const { return forwarded_to_[node.value()].value(); }

 private:
  struct SaState {
    IpAddress dvipa;
    ReplayLedger ledger;
    std::uint32_t window;  // numbers behind the newest: to infer the high half of a number
  };
  /// Why a packet is authenticated here.
  enum class Why : std::uint8_t {
    kSyn,    // it would make a connection
    kFirst,  // of a known connection, and the ledger does not trust its number
    kFull,   // for this host, or a peek could not tell
  };
  /// One ESP packet on its way through the stages.
  struct Item {
    std::size_t index = 0;  // in the burst
    const Dvipa* dvipa = nullptr;
    ipsec::Sa* sa = nullptr;
    SaState* state = nullptr;
    SeqNo seq{};
    std::span<std::uint8_t> esp{};
    std::span<std::uint8_t> ip{};  // the packet around it; empty: came in UDP
    std::uint8_t traffic_class = 0;
    ipsec::Peeked peeked{};
    std::uint64_t hash = 0;  // of the connection; names the flow in the ledger
    Why why = Why::kFull;
    bool in_place = false;  // it will not be forwarded: may be decrypted where it lies
  };
  /// A decrypted packet whose ICV is right.
  struct Opened {
    policy::Flow flow;
    const policy::Rule* rule = nullptr;  // that lets it in
    std::uint8_t tcp_flags = 0;
    bool tcp = false;
  };

  /// Of what is not TCP, the ports are 0 and the protocol: then it is only the flow's name for the ledger.
  static ConnectionKey key_of(const policy::Flow& flow);
  /// The first segment of a connection (wire/tcp.h).
  static bool is_initial_syn(std::uint8_t tcp_flags);

  // inbound.cc: the stages, in order
  void begin(std::size_t count);
  [[nodiscard]] const Dvipa* owned(IpAddress address) const;
  void drop(std::size_t index, Drop reason);
  void ike_one(std::size_t index, std::span<std::uint8_t> message, IpAddress dvipa);
  void raw_one(std::size_t index, const wire::Packet& packet, Time now);
  void take_esp(Item item, IpAddress source, IpAddress destination);
  [[nodiscard]] SaState* state_of(const ipsec::Sa& sa);
  void run(Time now);
  void peek_all();
  void decide(Item& item, Time now);
  void decide_known(Item& item, Connection& connection, Time now);
  void authenticate(Item& item, Why why, bool in_place);
  void forward(const Item& item, Connection& connection, std::uint8_t flags, std::uint8_t tcp_flags, Time now);
  void local(std::size_t index, std::span<std::uint8_t> bytes);

  // inbound_authenticated.cc: packets that the owner itself decrypts
  void authenticate_all(Time now);
  std::size_t gather(std::size_t from);
  void resolve(Item& item, const ipsec::DecapRequest& request, Time now);
  [[nodiscard]] std::optional<Drop> judge(Item& item, const ipsec::DecapRequest& request, Opened& opened, Time now);
  void route(Item& item, const Opened& opened, std::span<std::uint8_t> inner, Time now);
  void refuse(const Item& item, Drop reason);
  void accept(const Item& item, std::span<std::uint8_t> inner);

  // inbound_clear.cc: connections, and packets in the clear
  [[nodiscard]] bool stays(const Connection& connection, const Dvipa& dvipa, bool initial_syn) const;
  Connection* connect(const ConnectionKey& key, std::uint64_t hash, const Dvipa& dvipa, ipsec::TunnelId tunnel,
                      const policy::Rule* rule, Time now, Drop& reason);
  void log_dropped(const policy::Judgement& judgement, const policy::Flow& flow, Time now);
  void clear_one(std::size_t index, std::span<std::uint8_t> bytes, bool checksum_missing, Time now);
  void clear_tcp(std::size_t index, std::span<std::uint8_t> bytes, const policy::Flow& flow,
                 const policy::Rule* rule, const Dvipa& dvipa, Time now);
  void forward_clear(std::size_t index, std::span<std::uint8_t> bytes, const Dvipa& dvipa, NodeId target);
  void send_to(std::size_t index, NodeId target, std::span<const std::uint8_t> body);

  static constexpr std::size_t kArena = 2 * 65536;  // bytes: any two packets, or a burst of usual ones

  InboundConfig config_;
  Parts parts_;
  const Distribution* distribution_ = nullptr;
  const policy::FilterTable* filters_ = nullptr;
  ConnectionTable connections_;
  TargetChoice choice_;
  absl::flat_hash_map<SaId, std::unique_ptr<SaState>> states_;  // look-up, and what no order matters to
  InboundCounters counters_;
  std::vector<Counter> forwarded_to_;  // by NodeId

  // One burst.
  std::array<Verdict, wire::kBurst> verdicts_;
  std::array<Item, wire::kBurst> items_;
  std::size_t items_count_ = 0;
  std::array<std::uint8_t, wire::kBurst> waiting_;  // items to be authenticated, in order
  std::size_t waiting_count_ = 0;
  std::array<ipsec::PeekRequest, wire::kBurst> peeks_;
  std::array<ipsec::Peeked, wire::kBurst> peeked_;
  std::array<ipsec::DecapRequest, wire::kBurst> requests_;
  std::unique_ptr<std::uint8_t[]> arena_;  // plain text of packets whose bytes must stay
};

}  // namespace testudo::distributor
