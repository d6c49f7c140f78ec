// SPDX-License-Identifier: Apache-2.0
// HostSequencer: divides what the owner leases to this host among the host's workers, so that one SA scales over
// cores the way it scales over hosts (spec E2, E6). To the owner it is one lessee, to the workers it is the
// sequencer: both sides speak the same protocol, and a worker's Lessee does not know the difference.
//
//   HostSequencer divider(self, incarnation, {}, {});        // incarnation: its own, as each worker has one
//   divider.add_sa(sa, {.dvipa = d, .epoch = e, .owner = n, .peer_window = 32});
//   ...each turn...
//   divider.from_worker(message, now, to_workers);           // kLeaseRequest, kLeaseReturn of a worker
//   divider.from_owner(message, now, to_workers);            // kLeaseGrant, kLeaseRecall of the owner
//   divider.turn(now, to_owner, to_workers);                 // always, after them; at the latest at next_timer()
//
// The workers' lessees name this host as the SA's owner; datagrams in `to_workers` are for the worker whose
// incarnation their header has.
//
// Invariants: a worker gets only numbers that are leased to this host, each at most once, and not for longer. The
// host's numbers are returned to the owner when no worker can send one of them any more. What several workers hold
// at once lies within the peer's window, also when the host is the only one that sends.
// Thread: one. Time: the host's.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "sequence/lessee.h"
#include "sequence/sequencer.h"

namespace testudo::sequence {

struct DividedSa {
  IpAddress dvipa;
  Epoch epoch;
  NodeId owner;
  std::uint32_t peer_window = 32;  // numbers
  bool esn = false;
};

class HostSequencer {
 public:
  HostSequencer(NodeId self, std::uint32_t incarnation, const SequencerConfig& sequencer,
                const LesseeConfig& lessee)
      : self_(self), lessee_(self, incarnation, lessee), sequencer_(self, sequencer) {}

  void add_sa(SaId sa, const DividedSa& parameters);
  void remove_sa(SaId sa);
  /// Takeover: what the former owner has leased ends. The workers' lessees are told by their own set_owner(), with
  /// the new epoch and this host.
  void set_owner(IpAddress dvipa, Epoch epoch, NodeId owner);

  /// The callers have checked that a message comes from the sender it names.
  void from_worker(const wire::FastMessage& message, Time now, wire::FastOutbox& to_workers);
  void from_owner(const wire::FastMessage& message, Time now, wire::FastOutbox& to_workers);
  void turn(Time now, wire::FastOutbox& to_owner, wire::FastOutbox& to_workers);
  [[nodiscard]] Time next_timer() const { return std::min(lessee_.next_timer(), sequencer_.next_timer()); }

 private:
  struct Sa {
    DividedSa parameters;
    SeqNo last{};     // of all that was supplied
    SeqNo settled{};  // will not be sent any more: told to the lessee
    bool touched = false;
  };

  void touch(SaId id);
  void sequence(SaId id, const Sa& sa);
  void settle(SaId id, Sa& sa, Time now);
  /// True: there is something new for the workers.
  bool supply(SaId id, Sa& sa, Time now);

  NodeId self_;
  Lessee lessee_;        // of the owner's sequencer
  Sequencer sequencer_;  // of the workers' lessees
  absl::flat_hash_map<SaId, Sa> sas_;
  std::vector<SaId> touched_;  // SAs that the next turn looks at
};

}  // namespace testudo::sequence
