// SPDX-License-Identifier: Apache-2.0
// ReplayLedger: what the owner of a DVIPA knows about the sequence numbers of one inbound SA, so that nothing is
// accepted twice in the whole cluster (spec C5). The owner sees every packet but authenticates few; targets
// authenticate, and report. Until a target has reported, a number is *pending* at it: forwarded to no other node on
// trust.
//
//   switch (ledger.check(seq, node, flow)) {            // node: where the flow's packets go; the owner itself, too
//     case Replay::kForward: break;
//     case Replay::kReplay: return Drop::kReplay;
//     case Replay::kTooOld: return Drop::kReplayTooOld;
//     case Replay::kAuthenticateFirst:                  // decrypt and verify here, then ask again
//       if (!authentic(packet)) return Drop::kBadIcv;
//       if (ledger.authenticated(seq, flow) != Replay::kForward) return Drop::kReplay;
//   }
//   ledger.forwarded(seq, node, flow);                  // it leaves for the target, or:
//   ledger.seen_by_owner(seq);                          // the owner itself accepts it; authenticated() comes
//   before
//   ...
//   ledger.commit(from, entry);                         // kReplayCommit of a target
//   ledger.node_died(node);                             // its pending numbers count as seen
//
// Numbers have 64 bits; the caller completes the high half by top() (RFC 4303, appendix A2.2).
//
// The window: `size` numbers, half of them behind the newest that is known to be genuine (top), half ahead of it.
// Only a commit or the owner's own authentication moves it, so that a forged number moves nothing. The half behind
// is at least twice the SA's replay window. Thread: one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/strong.h"
#include "distributor/replay_report.h"
#include "wire/fast.h"

namespace testudo::distributor {

enum class Replay : std::uint8_t {
  kForward,            // new, or pending at the same node in the same flow (whose own window judges it)
  kReplay,             // accepted before, or so long as nobody can tell otherwise
  kTooOld,             // behind the window
  kAuthenticateFirst,  // pending elsewhere, or far ahead of the window: the owner verifies the ICV, then
                       // authenticated()
};

struct ReplayLedgerConfig {
  std::uint32_t size = 1024;  // numbers; made a power of two and at least 4 times the SA's replay window
};

class ReplayLedger {
 public:
  /// `replay_window`: the SA's. Numbers start at 1.
  ReplayLedger(std::uint32_t replay_window, const ReplayLedgerConfig& config);
  /// Takeover: goes on where others were (ReplayRecovery).
  ReplayLedger(std::uint32_t replay_window, const ReplayLedgerConfig& config, const WindowReport& known);

  /// What to do with a packet that nobody has authenticated. Changes nothing. `flow`: a keyed hash of the
  /// connection.
  [[nodiscard]] Replay check(SeqNo number, NodeId node, std::uint32_t flow) const;
  /// What to do with a packet whose ICV the owner has verified: kForward, kReplay or kTooOld. Moves the window.
  [[nodiscard]] Replay authenticated(SeqNo number, std::uint32_t flow);

  /// The packet is on its way to `node`.
  void forwarded(SeqNo number, NodeId node, std::uint32_t flow);
  /// The owner accepts the packet, after authenticated() has said kForward.
  void seen_by_owner(SeqNo number);

  /// A target's report. Accepted numbers are seen; rejected ones (wrong ICV) are free again when they were
  /// forwarded once.
  void commit(NodeId from, const wire::ReplayCommit& report);
  /// All that is pending at the node counts as seen: it may have been accepted there.
  void node_died(NodeId node);

  /// What is seen. Exact for the newest `window` numbers, and those ahead; what is older counts as seen. What is
  /// pending is not in it: those who have it know, or node_died() has made it seen.
  [[nodiscard]] WindowReport report(SaId sa, std::uint32_t window) const;

  /// Begins to load what check() will read.
  void prefetch(SeqNo number) const { __builtin_prefetch(&slot(number.value()), 1); }
  /// The newest number that is known to be genuine; 0: none yet.
  [[nodiscard]] SeqNo top() const { return SeqNo(top_); }

 private:
  enum class State : std::uint8_t { kFree, kPending, kSeen };
  struct Slot {
    std::uint32_t flow = 0;
    NodeId node;
    State state = State::kFree;
    bool ever : 1 = false;   // was forwarded
    bool again : 1 = false;  // was forwarded more than once: a report of "rejected" may speak of another copy
  };
  static_assert(sizeof(Slot) == 8);

  [[nodiscard]] std::uint64_t size() const { return std::uint64_t{mask_} + 1; }
  [[nodiscard]] std::uint64_t behind() const { return size() / 2; }
  [[nodiscard]] bool too_old(std::uint64_t number) const { return number <= floor_; }
  [[nodiscard]] bool far_ahead(std::uint64_t number) const { return number > top_ && number - top_ > behind(); }
  [[nodiscard]] Slot& slot(std::uint64_t number) { return slots_[number & mask_]; }
  [[nodiscard]] const Slot& slot(std::uint64_t number) const { return slots_[number & mask_]; }
  void move_to(std::uint64_t top);

  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  /// Zeroed, that is free, and given by the system when it is first used: most SAs of an owner are idle.
  std::unique_ptr<Slot[], Free> slots_;
  std::uint32_t mask_;
  std::uint64_t top_ = 0;
  std::uint64_t floor_ = 0;  // numbers up to this one are behind the window
};

}  // namespace testudo::distributor
