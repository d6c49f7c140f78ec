// SPDX-License-Identifier: Apache-2.0
// Distribution: DVIPAs, who owns them, which targets are ready for which port, and where members are reached, as
// the data plane needs it. Immutable: the control thread builds a new one for each change and publishes it.
//
//   distributor::Distribution d(self, members, {{.address = dvipa, .epoch = e, .owner = self, .ports = {80},
//                                                .ready = {{80, {{t1, true}, {t2, true}}}}}});
//   const Dvipa* dvipa = d.find(address);                     // null: not a DVIPA
//   if (d.owns(*dvipa) && dvipa->distributes(80)) for (const ReadyTarget& t : dvipa->ready_for(80)) …
//   const Member* member = d.member_at(packet.source.address);   // null: not XCF
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/strong.h"

namespace testudo::distributor {

/// A node whose XCF link is up, or this node itself.
struct Member {
  NodeId node;
  Endpoint data;  // XCF: GRE in UDP
  Endpoint fast;  // XCF: leases and replay commits; same address
};

struct ReadyTarget {
  NodeId node;
  bool takes_ipsec = true;  // false: only connections in the clear (spec A5)
  friend bool operator==(const ReadyTarget&, const ReadyTarget&) = default;
};

struct ReadyPort {
  std::uint16_t port = 0;
  std::vector<ReadyTarget> targets;
};

struct Dvipa {
  IpAddress address;
  Epoch epoch{};
  NodeId owner{};
  bool all_ports = false;
  std::vector<std::uint16_t> ports{};  // distributed ones, unless all_ports
  std::vector<ReadyPort> ready{};      // on the owner only
  /// On the owner only: whom it may forward to (replay_journal.h), also of connections that are in the table. None:
  /// every member.
  std::optional<std::vector<NodeId>> forward_to{};

  [[nodiscard]] bool distributes(std::uint16_t port) const;
  /// In ascending NodeId.
  [[nodiscard]] std::span<const ReadyTarget> ready_for(std::uint16_t port) const;
};

class Distribution {
 public:
  Distribution() = default;
  /// Lists may come in any order. A ready target that is no member is left out: nothing could be sent to it.
  /// `local`: see is_local().
  Distribution(NodeId self, std::vector<Member> members, std::vector<Dvipa> dvipas,
               std::vector<IpAddress> local = {});

  [[nodiscard]] NodeId self() const { return self_; }
  /// Null: not a DVIPA.
  [[nodiscard]] const Dvipa* find(IpAddress address) const;
  [[nodiscard]] bool owns(const Dvipa& dvipa) const { return dvipa.owner == self_; }
  /// Null: no member.
  [[nodiscard]] const Member* member(NodeId node) const {
    const std::uint32_t place = node.value() < member_index_.size() ? member_index_[node.value()] : 0;
    return place == 0 ? nullptr : &members_[place - 1];
  }
  [[nodiscard]] const Member* member_at(IpAddress xcf) const;
  /// As member(), of those that the owner of the DVIPA may forward to.
  [[nodiscard]] const Member* target(const Dvipa& dvipa, NodeId node) const {
    if (dvipa.forward_to && !std::ranges::binary_search(*dvipa.forward_to, node)) return nullptr;
    return member(node);
  }

  /// An address of this host that is no DVIPA, and for which it takes and gives protected packets as a gateway
  /// does: what it sends from there passes the TUN and the filters, as what it sends from a DVIPA does.
  [[nodiscard]] bool is_local(IpAddress address) const { return local_.contains(address); }

  [[nodiscard]] std::span<const Dvipa> dvipas() const { return dvipas_; }
  [[nodiscard]] std::span<const Member> members() const { return members_; }

 private:
  NodeId self_;
  std::vector<Member> members_;  // by NodeId
  std::vector<Dvipa> dvipas_;    // by address
  absl::flat_hash_set<IpAddress> local_;
  std::vector<std::uint32_t> member_index_;  // by NodeId: place in members_ + 1; 0: none
  absl::flat_hash_map<IpAddress, std::uint32_t> member_at_;
  absl::flat_hash_map<IpAddress, std::uint32_t> dvipa_index_;
};

}  // namespace testudo::distributor
