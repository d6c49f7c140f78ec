// SPDX-License-Identifier: Apache-2.0
// Readiness: which targets may be given a new connection, per DVIPA and port, as its owner sees it. A target is
// ready for a port when DESTIP names it, its XCF link is up, and it has said that an application listens there
// (spec A4). Pure bookkeeping: link and listener messages go in, lists come out.
//
//   readiness.distribute(dvipa, definition.distributes_of(dvipa));
//   readiness.link_up({.node = NodeId{3}, .xcf_address = t1, .ipsec = true, .distributed_ipsec = true});
//   readiness.listener(NodeId{3}, dvipa, 80, true);
//   readiness.ready(dvipa)  →  {80: [{NodeId{3}, takes_ipsec: true}]}
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "base/address.h"
#include "base/strong.h"
#include "vipa/definition.h"

namespace testudo::vipa {

/// A member with its XCF link up (this node itself included), as its HELLO described it.
struct TargetMember {
  NodeId node;
  IpAddress xcf_address;
  bool ipsec = false;              // has an SA cache (spec A5)
  bool distributed_ipsec = false;  // has shadow SA caches (spec A5)
};

struct ReadyTarget {
  NodeId node;
  /// Its shadow SA cache (the owner: its SA cache) serves connections under IPsec. False: clear traffic only (A5,
  /// A7).
  bool takes_ipsec = false;
  friend auto operator<=>(const ReadyTarget&, const ReadyTarget&) = default;
};

class Readiness {
 public:
  /// `self` is the owner's own number: a target of its own DVIPA, it needs no shadow cache (spec A1).
  explicit Readiness(NodeId self) : self_(self) {}

  /// Sets the distributions of one DVIPA; an empty list forgets it.
  void distribute(IpAddress dvipa, std::vector<Distribute> distributes);

  void link_up(const TargetMember& member);
  /// Forgets the node and what listens there; after the next link_up it says everything anew.
  void link_down(NodeId node);
  /// True when this changed what is remembered. Ignored, false, from a node whose link is not up.
  bool listener(NodeId node, IpAddress dvipa, std::uint16_t port, bool listening);

  using PerPort = std::map<std::uint16_t, std::vector<ReadyTarget>>;  // targets in ascending NodeId; none empty
  [[nodiscard]] PerPort ready(IpAddress dvipa) const;
  [[nodiscard]] std::vector<ReadyTarget> ready(IpAddress dvipa, std::uint16_t port) const;

  /// DVIPA and port are distributed by what distribute() was given.
  [[nodiscard]] bool distributed(IpAddress dvipa, std::uint16_t port) const;
  /// Members with their link up that DESTIP of any distribution of the DVIPA names: who gets its SAs and filters
  /// (B3).
  [[nodiscard]] std::vector<NodeId> potential_targets(IpAddress dvipa) const;

 private:
  [[nodiscard]] bool named(IpAddress dvipa, std::uint16_t port, const TargetMember& member) const;

  NodeId self_;
  std::map<IpAddress, std::vector<Distribute>> distributes_;
  std::map<NodeId, TargetMember> members_;
  std::set<std::tuple<IpAddress, std::uint16_t, NodeId>> listening_;
};

}  // namespace testudo::vipa
