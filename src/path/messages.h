// SPDX-License-Identifier: Apache-2.0
// What the control thread tells a worker, and what a worker tells the control thread: the only things that pass
// between them, through two bounded queues. Tables come as immutable snapshots or as single SAs whose ownership
// moves; what a worker no longer needs goes back in an event, so that it never frees memory.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/bounded_queue.h"
#include "base/strong.h"
#include "distributor/connection_table.h"
#include "distributor/distribution.h"
#include "distributor/replay_report.h"
#include "io/port.h"
#include "ipsec/sa.h"
#include "policy/filter_table.h"
#include "policy/flow_log.h"
#include "sequence/sequencer.h"

namespace testudo::path {

/// One UDP datagram of IKE (RFC 7296), without the non-ESP marker, between charon and a peer.
struct IkeDatagram {
  Endpoint local;  // DVIPA, port 500 or 4500
  Endpoint remote;
  std::vector<std::uint8_t> payload;
};

// ---- control → worker ----

/// `owner` sequences it; if that is this node, its own sequencer does.
struct InstallSa {
  std::unique_ptr<ipsec::Sa> sa;
  Epoch epoch;
  NodeId owner;
  SeqNo first = SeqNo(1);  // outbound, at its owner: numbers below were granted before, under the same key
};
struct RemoveSa {
  SaId id;
};
/// The peer of an SA is at another place (RFC 3948: a NAT gave it another port; RFC 4555: it moved). It stays the
/// same SA: sequence numbers, IVs and replay window go on.
struct MoveSa {
  SaId id;
  Endpoint remote;
  std::uint16_t local_port = 0;
  bool udp_encapsulation = false;
};
struct SetFilters {
  std::shared_ptr<const policy::FilterTable> table;
};
/// DVIPAs, their owners and ready targets, and the members' addresses. Replaces the former one.
struct SetDistribution {
  std::shared_ptr<const distributor::Distribution> table;
};
/// Sockets of one DVIPA: an owner receives and sends on them, a target only sends.
struct SetDvipaPorts {
  IpAddress dvipa;
  std::unique_ptr<io::PacketPort> ike;    // UDP 500; null: none
  std::unique_ptr<io::PacketPort> nat_t;  // UDP 4500; null: none
  bool keep_nat_t = false;                // the one that is there stays
};
/// The coupling facility has set aside the sequence numbers below and including `last` of an outbound SA.
struct SetCeiling {
  SaId sa;
  SeqNo last;
};
struct SendIke {
  IkeDatagram datagram;
};
struct ForgetNode {
  NodeId node;  // its link is down: what was forwarded to it and not committed counts as seen
};
/// The DVIPA's SAs that are here are sequenced by another owner, or under another epoch, from now on; accepted
/// numbers go to that one (spec G1). What this node has of the DVIPA as its owner under an earlier epoch goes:
/// sequencers, ledgers, connections. So ask a former owner for its ledgers (ReportWindows) before, and let it own
/// what it keeps (OwnSa) after.
struct FollowOwner {
  IpAddress dvipa;
  Epoch epoch;
  NodeId owner;
};
/// This node owns the SA, which is here already as a shadow (spec G1, G3): it sequences it, or judges its numbers.
/// Nothing happens when the SA is not here, or owned under this epoch already. What this host has accepted as a
/// target counts as known. An outbound SA needs its SetCeiling.
struct OwnSa {
  SaId id;
  Epoch epoch;
  SeqNo first = SeqNo(1);                // outbound: numbers below may have been granted before
  distributor::WindowReport known = {};  // inbound: what may have been accepted before (spec C5)
};
/// Answered by one Windows with the same tag, when all commands before it are done: of all inbound SAs of the
/// DVIPA. A SetDistribution with the new epoch has to come before it: then this host accepts nothing more from the
/// former owner, and the answer is final.
struct ReportWindows {
  enum class Of : std::uint8_t {
    kTarget,  // this host's replay windows: what it has accepted as a target. Of SAs that it has met
    kOwner,   // the ledgers: what this owner knows of the whole cluster. Of all SAs that it owns
  };
  std::uint64_t tag = 0;
  IpAddress dvipa;
  Of of = Of::kTarget;
};
/// Connections that go on at a target after a takeover (spec G2). Filters and tunnels are looked up here:
/// SetFilters has to come before it. What no filter lets in, and what is in the table already, is left as it is.
struct AddConnections {
  IpAddress dvipa;
  NodeId node;  // where they live
  struct One {
    Endpoint remote;
    std::uint16_t local_port = 0;
  };
  std::vector<One> list;
};
/// From now on (`hold`), or no longer: what this owner itself accepts of the DVIPA's protected packets is told to
/// the control thread (OwnerAccepted) before the packet is delivered, which waits for Release (spec C5). What waits
/// already goes on waiting. Say it of a DVIPA before its first OwnSa or InstallSa.
struct HoldAccepted {
  IpAddress dvipa;
  bool hold = false;
};
/// Packets of this batch and of all before it may be delivered, of whatever DVIPA they are: their numbers are safe.
struct Release {
  std::uint64_t batch = 0;
};
struct ListConnections {};
struct ListLeases {};

/// Done in order. FollowOwner, ReportWindows and AddConnections may be about very many SAs or connections: they are
/// done in pieces, one in each turn, between which packets go on, but no other command is begun.
using Command = std::variant<std::monostate, InstallSa, RemoveSa, MoveSa, SetFilters, SetDistribution,
                             SetDvipaPorts, SetCeiling, SendIke, ForgetNode, FollowOwner, OwnSa, ReportWindows,
                             AddConnections, HoldAccepted, Release, ListConnections, ListLeases>;

// ---- worker → control ----

struct IkeReceived {
  IkeDatagram datagram;
};
/// The sequencer wants numbers up to `last` set aside in the coupling facility.
struct NeedCeiling {
  SaId sa;
  SeqNo last;
};
/// The sequence numbers of an SA without ESN are nearly used up: rekey it.
struct NearExhaustion {
  SaId sa;
};
/// A packet that the owner forwarded is for an SA that the shadow cache does not have.
struct UnknownSpi {
  IpAddress dvipa;
  Spi spi;
  IpAddress remote;
};
/// An authentic packet of this inbound SA came from elsewhere than the peer was (RFC 7296 section 2.23). Said once
/// for each place. Until a MoveSa for the SAs of both directions, here and at the targets, answers go where the
/// peer was.
struct PeerMoved {
  SaId sa;
  Endpoint remote;
};
/// A connection that a filter rule with a log flag decides has begun or ended, or a packet was dropped.
struct FlowLogged {
  policy::FlowRecord record;
};
/// The answer to ReportWindows.
struct Windows {
  std::uint64_t tag = 0;
  std::vector<distributor::WindowReport> list;
};
/// Numbers that this owner itself has accepted in one turn. Their packets wait for Release of the batch, but not
/// for longer than AcceptedHoldConfig::time; some may have been dropped in spite of their numbers.
struct OwnerAccepted {
  std::uint64_t batch = 0;  // grows by 1
  struct One {
    IpAddress dvipa;
    SaId sa;
    SeqNo number;
  };
  std::vector<One> list;
};
struct Connections {
  std::vector<distributor::ConnectionInfo> list;
};
struct Leases {
  std::vector<sequence::SequencerInfo> list;
};
/// To be destroyed by the control thread.
struct Retired {
  std::unique_ptr<ipsec::Sa> sa;
  std::shared_ptr<const void> table;
  std::unique_ptr<io::PacketPort> ports[2];
};

using Event = std::variant<std::monostate, IkeReceived, NeedCeiling, NearExhaustion, UnknownSpi, PeerMoved,
                           FlowLogged, Windows, OwnerAccepted, Connections, Leases, Retired>;

using CommandQueue = BoundedQueue<Command>;
using EventQueue = BoundedQueue<Event>;

}  // namespace testudo::path
