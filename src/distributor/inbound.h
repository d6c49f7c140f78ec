// SPDX-License-Identifier: Apache-2.0
// Inbound: what the owner of a DVIPA does with packets from the network (seed blocks 130–146, spec C1–C9, A7). It
// says what becomes of each packet; the worker does it. Packets of known connections are forwarded without being
// authenticated: peek, look up, put a header before them. The bytes stay as they came. What is the same for AH, ESP
// and both, transport and tunnel mode, IPv4 and IPv6, is said once: docs/decisions/0008-the-owners-decisions.md.
//
//   distributor::Inbound inbound(config, {transforms, sad, drops, hash_key});
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
#include "distributor/connection_table.h"
#include "distributor/distribution.h"
#include "distributor/reassembler.h"
#include "distributor/replay_ledger.h"
#include "distributor/target_choice.h"
#include "ipsec/sad.h"
#include "ipsec/transforms.h"
#include "policy/filter_table.h"
#include "policy/flow_cache.h"
#include "policy/flow_log.h"
#include "policy/inbound_check.h"
#include "wire/fast.h"
#include "wire/icmp.h"
#include "wire/packet.h"

namespace testudo::distributor {

/// What becomes of one packet.
struct Verdict {
  enum class Kind : std::uint8_t {
    kDrop,     // `reason`; counted
    kForward,  // `out` goes to `target` over XCF
    kLocal,    // `bytes`: a plain IP packet for this host's TUN
    kIke,      // `bytes`: an IKE message without marker, for charon
    kIgnore,   // a NAT keepalive, or an ICMP error that was taken note of
    kHeld,     // a fragment that waits for the others of its packet
  };
  Kind kind = Kind::kDrop;
  Drop reason{};
  NodeId target;
  ipsec::TunnelId tunnel;  // kForward: of the connection's answers; none: they are in the clear
  /// kLocal, and kForward in the clear: the owner itself has accepted it, by an SA of this DVIPA, so that nobody
  /// else knows of its number (spec C5). Null: somebody does, or it came in the clear.
  const Dvipa* accepted = nullptr;
  std::span<std::uint8_t> bytes;
  /// Head, body and destination are set; the source is the sender's to set.
  wire::Outgoing out;
};

struct InboundConfig {
  ConnectionTableConfig connections = {};
  ReplayLedgerConfig ledger = {};                     // `memory` is the Inbound's own
  std::size_t pending_groups = std::size_t{1} << 20;  // of all ledgers (ReplayMemory): 64 bytes each, once used
  ReassemblerConfig reassembler = {};
  std::size_t age_per_tick = 256;  // connections looked at
};

/// A number that this owner itself has accepted, whatever became of the packet then.
struct Accepted {
  const Dvipa* dvipa = nullptr;  // whose SA it is
  SaId sa;
  SeqNo number;
};

/// An authentic packet with UDP encapsulation came from elsewhere than the peer was: a NAT has forgotten it (RFC
/// 3948 section 4, RFC 7296 section 2.23). Said once, and again when it moves again: at most once a second per SA.
struct PeerMoved {
  SaId sa;  // inbound
  Endpoint remote;
};

/// An ICMP error says that packets of this outbound SA are too big for their path. It is as good as the sequence
/// number in it: anybody can send it, but only who saw the packet knows SPI and number (RFC 4301 section 8.2.1).
struct PathMtuHint {
  SaId sa;
  std::uint32_t sequence_low = 0;
  std::uint16_t mtu = 0;  // bytes of the whole outer packet
};

/// Of packets.
struct InboundCounters {
  Counter peeked;               // the beginning was decrypted
  Counter read;                 // nothing is encrypted: AH, ESP with NULL
  Counter authenticated_syn;    // SYNs that would make a connection, authenticated or found forged
  Counter authenticated_first;  // of a known connection, but its number was pending elsewhere or far ahead, or its
                                // peer has moved
  Counter fully_processed;      // decrypted here for this host itself, or because a peek could not decide
  Counter
      established_full_decrypt;  // of known connections at other nodes, decrypted as a whole for whatever reason
  Counter forwarded, forwarded_clear;
  Counter local;
  Counter connections_made;
  Counter reassembled;     // packets that came in fragments
  Counter icmp_relayed;    // errors about connections of other nodes
  Counter path_mtu_hints;  // errors about protected packets
};

class Inbound {
 public:
  struct Parts {
    ipsec::Transforms& transforms;
    ipsec::Sad& sad;
    DropCounters& drops;
    SipKey hash_key;
    policy::FlowLog* flow_log = nullptr;  // of connections whose filter asks for it. Null: nothing is logged
    policy::FlowCache* flows = nullptr;   // of what is logged and no connection of the table. Null: it is not
  };

  Inbound(const InboundConfig& config, Parts parts);

  /// Both must live until the next call. Before the first: everything is dropped.
  void set_distribution(const Distribution* distribution);
  void set_filters(const policy::FilterTable* table) { filters_ = table; }
  /// The SA is in the Sad. Of outbound ones only ICMP errors want to know.
  void sa_installed(ipsec::Sa& sa);
  /// Takeover: an inbound SA whose numbers others have judged so far. `known`: what they may have accepted.
  void sa_adopted(ipsec::Sa& sa, const WindowReport& known);
  void sa_removed(SaId sa);
  /// Its peer's address has changed.
  void sa_moved(ipsec::Sa& sa);
  /// What was forwarded to the node and not committed counts as seen (spec C5).
  void node_died(NodeId node);

  /// Of sa_installed() or sa_adopted(), and not removed.
  [[nodiscard]] bool knows(SaId sa) const { return states_.contains(sa) || outbound_keys_.contains(sa); }
  /// What the SA's ledger knows. Nothing: it has none.
  [[nodiscard]] std::optional<WindowReport> report(const ipsec::Sa& sa) const;

  /// Takeover: a connection that is established already, at a target or here (inbound_takeover.cc). A filter must
  /// let it in; else, when it is there, or when the table is full, nothing happens.
  void add_connection(const ConnectionKey& key, NodeId target, Time now);
  /// This host is not the DVIPA's owner any more: looks at `budget` places of the table and returns where to go on;
  /// 0: that was all.
  std::size_t forget_connections(IpAddress dvipa, std::size_t from, std::size_t budget) {
    return connections_.forget(dvipa, from, budget);
  }

  /// Each takes up to wire::kBurst packets and returns a verdict for each, valid as long as the packets are and
  /// until the next call. Packets may be changed.
  [[nodiscard]] std::span<const Verdict> ike(std::span<const wire::Packet> burst);              // UDP port 500
  [[nodiscard]] std::span<const Verdict> nat_t(std::span<const wire::Packet> burst, Time now);  // UDP port 4500
  [[nodiscard]] std::span<const Verdict> raw(std::span<const wire::Packet> burst,
                                             Time now);  // IP packets: super-segments are cut before
  /// What the last burst has shown.
  [[nodiscard]] std::span<const PeerMoved> moved() const { return std::span(moved_).first(moved_count_); }
  [[nodiscard]] std::span<const Accepted> accepted() const { return std::span(accepted_).first(accepted_count_); }
  [[nodiscard]] std::span<const PathMtuHint> path_mtus() const { return std::span(hints_).first(hints_count_); }

  /// kReplayCommit of a target. The caller has checked that the sender is who the header says.
  void commit(const wire::FastMessage& message);
  /// Once a turn: forgets silent connections, and packets of which fragments are missing.
  void tick(Time now);
  [[nodiscard]] Time next_timer() const { return reassembler_.next_timer(); }

  [[nodiscard]] const ConnectionTable& connections() const { return connections_; }
  [[nodiscard]] const InboundCounters& counters() const { return counters_; }
  /// Packets forwarded to the node since the start.
  [[nodiscard]] std::uint64_t forwarded_to(NodeId node) const { return forwarded_to_[node.value()].value(); }

 private:
  /// Of an inbound SA, which points to it (Sa::stage_state()). What a packet or a commit needs lies in the first
  /// cache line.
  struct alignas(64) SaState {
    ReplayLedger ledger;
    IpAddress local;
    Endpoint moved_to;  // that was reported last
    Time moved_at{};
  };
  /// Of an outbound SA, as a packet that it has protected shows it.
  struct OutboundKey {
    Spi spi;
    IpAddress remote;
    friend bool operator==(const OutboundKey&, const OutboundKey&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const OutboundKey& k) {
      return H::combine(std::move(h), k.spi, k.remote);
    }
  };
  /// Why a packet is authenticated here.
  enum class Why : std::uint8_t {
    kSyn,    // it would make a connection
    kFirst,  // of a known connection, and the ledger does not trust its number, or its peer has moved
    kFull,   // for this host, or a peek could not tell
  };
  /// One protected packet on its way through the stages.
  struct Item {
    std::size_t index = 0;             // in the burst
    std::span<std::uint8_t> packet{};  // with its IP header; of what came in UDP from the SPI on
    std::uint32_t offset = 0;          // where AH or ESP begins; 0: at once, it came in UDP
    std::uint8_t traffic_class = 0;    // of what came in UDP
    ipsec::Protocol protocol = ipsec::Protocol::kEsp;
    Spi spi{};
    std::uint32_t sequence_low = 0;
    Endpoint source{};  // port 0: did not come in UDP
    IpAddress destination{};
    const Dvipa* dvipa = nullptr;  // destination; null: this host's own address
    ipsec::Sa* sa = nullptr;
    SaState* state = nullptr;
    SeqNo seq{};
    ipsec::Peeked peeked{};
    std::uint64_t hash = 0;      // of the connection; names the flow in the ledger
    std::size_t inner_size = 0;  // of a good inner packet, once decrypted
    Why why = Why::kFull;
    bool in_place = false;  // it will not be forwarded as it came: may be decrypted where it lies
    bool done = false;      // ledger and lifesize know that it was accepted here
  };
  /// What fragments have become.
  struct Whole {
    std::span<std::uint8_t> bytes;
    wire::IpView ip;
  };
  /// A decrypted packet whose ICV is right.
  struct Opened {
    std::span<std::uint8_t> bytes;
    policy::Flow flow;
    std::uint64_t hash = 0;
    const policy::Rule* rule = nullptr;  // that lets it in
    std::uint8_t tcp_flags = 0;
    [[nodiscard]] bool tcp() const { return flow.protocol == wire::kProtocolTcp; }
  };

  /// Of what is not TCP, the ports are 0 and the protocol: then it is only the flow's name for the ledger.
  static ConnectionKey key_of(const policy::Flow& flow);
  /// The first segment of a connection (wire/tcp.h).
  static bool is_initial_syn(std::uint8_t tcp_flags);

  void give_state(ipsec::Sa& sa, const WindowReport* known);

  // inbound.cc: what has come
  void begin(std::size_t count);
  [[nodiscard]] const Dvipa* owned(IpAddress address);
  [[nodiscard]] const Dvipa* find_owned(IpAddress address) const;
  [[nodiscard]] bool is_local(IpAddress address) const;
  void drop(std::size_t index, Drop reason);
  void local(std::size_t index, std::span<std::uint8_t> bytes);
  void ike_one(std::size_t index, std::span<std::uint8_t> message, IpAddress dvipa);
  void raw_one(std::size_t index, const wire::Packet& packet, Time now);
  void fragment_one(std::size_t index, const wire::IpView& ip, Time now);
  std::optional<Whole> put_together(std::size_t index, const wire::IpView& fragment, std::uint32_t context,
                                    Time now);
  void count_lost_fragments();
  void whole_one(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip, bool checksum_missing,
                 Time now);
  void take(Item item, std::span<const std::uint8_t> from_spi);

  // inbound_stages.cc: protected packets, in a burst
  void run(Time now);
  void look_up();
  void peek_all();
  void decide(Item& item, Time now);
  void decide_known(Item& item, Connection& connection, Time now);
  void authenticate(Item& item, Why why, bool in_place);
  void forward(const Item& item, Connection& connection, std::uint8_t flags, std::uint8_t tcp_flags, Time now);
  void send_to(std::size_t index, const Member& target, std::span<const std::uint8_t> body);

  // inbound_authenticated.cc: packets that the owner itself decrypts
  void authenticate_all(Time now);
  void resolve(Item& item, const ipsec::DecapRequest& request, Time now);
  [[nodiscard]] std::optional<Drop> judge(const Item& item, const wire::IpView& ip, Opened& opened, Time now);
  void join(Item& item, const wire::IpView& fragment, Time now);
  void route(Item& item, const Opened& opened, Time now);
  [[nodiscard]] bool may_complain(const Item& item, const Connection& connection) const;
  void route_tcp(Item& item, const Opened& opened, const Dvipa& dvipa, Time now);
  [[nodiscard]] bool finish(Item& item);
  void refuse(Item& item, Drop reason);
  void accept(Item& item, const Opened& opened, Time now);
  void note_moved(const Item& item, Time now);

  // inbound_clear.cc: connections, and packets in the clear
  [[nodiscard]] bool stays(const Connection& connection, const Dvipa& dvipa, bool initial_syn) const;
  Connection* connect(const ConnectionKey& key, std::uint64_t hash, const Dvipa& dvipa, ipsec::TunnelId tunnel,
                      const policy::Rule* rule, Time now, Drop& reason);
  void log_dropped(const policy::Judgement& judgement, const policy::Flow& flow, Time now);
  void log_local(const policy::Flow& flow, const policy::Rule* rule, ipsec::TunnelId tunnel,
                 std::span<const std::uint8_t> bytes, Time now);
  void clear_one(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip, bool checksum_missing,
                 Time now);
  void clear_tcp(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip, const policy::Flow& flow,
                 const policy::Rule* rule, const Dvipa& dvipa, Time now);
  void forward_clear(std::size_t index, std::span<const std::uint8_t> bytes, const Dvipa& dvipa, NodeId target);

  // inbound_icmp.cc: ICMP errors
  [[nodiscard]] const Connection* complained_of(const wire::IcmpError& error);
  [[nodiscard]] bool clear_error(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip,
                                 const Dvipa& dvipa);
  void clear_for_gateway(std::size_t index, const wire::IpView& ip);
  void error_about_protected(std::size_t index, const wire::IcmpError& error);

  /// Bytes for the plain text of a burst of packets of any size. Used by the system when it is needed.
  static constexpr std::size_t kSlack = 64;  // bytes between two: ipsec::kRestoredHeader, ipsec::kEsnTailroom
  static constexpr std::size_t kArena = wire::kBurst * (65536 + kSlack);

  InboundConfig config_;
  Parts parts_;
  const Distribution* distribution_ = nullptr;
  const policy::FilterTable* filters_ = nullptr;
  ConnectionTable connections_;
  TargetChoice choice_;
  Reassembler reassembler_;
  ReplayMemory replay_memory_;
  // Look-up, and what no order matters to.
  absl::flat_hash_map<SaId, std::unique_ptr<SaState>> states_;
  absl::flat_hash_map<OutboundKey, SaId> outbound_;
  absl::flat_hash_map<SaId, OutboundKey> outbound_keys_;
  InboundCounters counters_;
  std::vector<Counter> forwarded_to_;  // by NodeId

  // One burst.
  IpAddress asked_;  // the last one that owned() was asked about, and the answer
  const Dvipa* answer_ = nullptr;
  std::array<Verdict, wire::kBurst> verdicts_;
  std::array<Item, wire::kBurst> items_;
  std::size_t items_count_ = 0;
  std::array<std::uint8_t, wire::kBurst> waiting_;  // items to be authenticated, in order
  std::size_t waiting_count_ = 0;
  std::array<ipsec::PeekRequest, wire::kBurst> peeks_;
  std::array<ipsec::Peeked, wire::kBurst> peeked_;
  std::array<ipsec::DecapRequest, wire::kBurst> requests_;
  std::unique_ptr<std::uint8_t[]> arena_;  // plain text of packets whose bytes must stay
  std::array<PeerMoved, wire::kBurst> moved_;
  std::size_t moved_count_ = 0;
  std::array<Accepted, wire::kBurst> accepted_;
  std::size_t accepted_count_ = 0;
  std::array<PathMtuHint, wire::kBurst> hints_;
  std::size_t hints_count_ = 0;
};

}  // namespace testudo::distributor
