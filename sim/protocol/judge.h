// SPDX-License-Identifier: Apache-2.0
// Judge: sees everything that is granted, sent, honoured and accepted in the whole cluster, at the moment it
// happens, and says what must never be:
//
//   - a number that is granted twice, or sent twice on one SA, by whomever; or above the ceiling in the facility
//   (E5);
//   - a packet that the peer's window refuses because of how numbers were handed out (E6);
//   - a number of an inbound SA that is accepted twice, wherever; or a packet that is not genuine (C5);
//   - a host that honours a grant or a forward of an epoch after one of a later epoch (G5);
//   - an SA that was closed, and is opened again.
//
// World adds: nothing is accepted under an epoch that an active owner of a later one would let in as well.
//
// It knows real time and all of the cluster, which no part of the cluster does.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/strong.h"
#include "base/time.h"
#include "sim/protocol/plan.h"
#include "sim/transcript.h"
#include "wire/fast.h"

namespace testudo::sim::protocol {

class Judge {
 public:
  Judge(const Plan& plan, const VirtualTime& time, Transcript& transcript)
      : plan_(plan), time_(time), transcript_(transcript) {}

  void fail(const std::string& what);
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }

  // ---- outbound ----
  /// A sequencer's answer as it leaves: new, or the repetition of one.
  void granted(const wire::LeaseGrant& grant, Epoch epoch, std::uint32_t incarnation, SeqNo ceiling);
  void sent(SaId sa, SeqNo number, SeqNo ceiling);
  /// It reaches the peer.
  void reaches_peer(SaId sa, SeqNo number);
  /// The clock by which leases end has jumped: their holders are not to blame for what follows.
  void sequencer_jumped();

  // ---- inbound ----
  void accepted(SaId sa, SeqNo number, bool genuine, const std::string& who);
  [[nodiscard]] bool was_accepted(SaId sa, SeqNo number) const;
  /// The owner of this epoch forwards and accepts on the SA from now on; `false`: it is closed.
  void receives(SaId sa, Epoch epoch, bool open);

  /// A host in one of its lives does what an owner of this epoch says.
  void honours(NodeId host, std::uint32_t life, Epoch epoch, const char* what);

  struct Figures {
    std::uint64_t grants = 0, shared = 0, sent = 0, excused = 0, accepted = 0, handovers = 0, closed = 0;
  };
  [[nodiscard]] const Figures& figures() const { return figures_; }

 private:
  struct Range {
    SeqNo first;
    std::uint64_t id = 0;
    std::uint32_t incarnation = 0;
    Epoch epoch;
    Time at;
    bool excused = false;
  };
  struct Outbound {
    std::map<SeqNo, Range> ranges;                 // by last number
    std::unordered_map<std::uint64_t, Time> sent;  // never iterated
    SeqNo top;                                     // that the peer has seen
  };
  struct Inbound {
    std::unordered_map<std::uint64_t, std::string> accepted;  // by whom; never iterated
    Epoch epoch;                                              // of who receives
    bool open = true;
  };

  [[nodiscard]] const Range* range_of(const Outbound& sa, SeqNo number) const;
  [[nodiscard]] bool is_excused(const Outbound& sa, SeqNo number) const;

  const Plan& plan_;
  const VirtualTime& time_;
  Transcript& transcript_;
  std::map<SaId, Outbound> outbound_;
  std::map<SaId, Inbound> inbound_;
  std::map<std::pair<NodeId, std::uint32_t>, Epoch> honoured_;
  std::vector<std::string> violations_;
  Figures figures_;
};

}  // namespace testudo::sim::protocol
