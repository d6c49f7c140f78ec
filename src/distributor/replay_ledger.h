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
// is at least twice the SA's replay window.
//
// What is pending has its place in a ReplayMemory that the ledgers of a worker share. When that is full, a number
// that nobody has met is kAuthenticateFirst, and what is forwarded counts as seen, as the owner has authenticated
// it: nothing that was forwarded is ever forgotten. Thread: one worker.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/strong.h"
#include "distributor/replay_memory.h"
#include "distributor/replay_report.h"
#include "wire/fast.h"

namespace testudo::distributor {

enum class Replay : std::uint8_t {
  kForward,            // new, or pending at the same node in the same flow (whose own window judges it)
  kReplay,             // accepted before, or so long as nobody can tell otherwise
  kTooOld,             // behind the window
  kAuthenticateFirst,  // pending elsewhere, far ahead of the window, or there is no room to note what is pending:
                       // the owner verifies the ICV, then authenticated()
};

struct ReplayLedgerConfig {
  std::uint32_t size = 1024;       // numbers; made a power of two, at least 64 and 4 times the SA's replay window
  ReplayMemory* memory = nullptr;  // shared by ledgers, and outlives them; null: one of its own, with room for all
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

  /// Begins to load what check(), forwarded() and commit() read.
  void prefetch(SeqNo number) const { __builtin_prefetch(seat_.block(number.value() >> 6).row, 1); }
  /// The newest number that is known to be genuine; 0: none yet.
  [[nodiscard]] SeqNo top() const { return SeqNo(top_); }
  /// Numbers of the window behind top(), and as many ahead of it.
  [[nodiscard]] std::uint32_t behind() const { return static_cast<std::uint32_t>(seat_.size() / 2); }

 private:
  using Block = ReplayMemory::Block;
  using Group = ReplayMemory::Group;

  [[nodiscard]] bool too_old(std::uint64_t number) const { return number <= floor_; }
  [[nodiscard]] bool far_ahead(std::uint64_t number) const { return number > top_ && number - top_ > behind(); }
  /// Of a number that nobody has met, or that was rejected.
  [[nodiscard]] Replay new_one() const {
    return seat_.memory().room() ? Replay::kForward : Replay::kAuthenticateFirst;
  }
  [[nodiscard]] Replay check_copy(Block block, std::uint64_t number, NodeId node, std::uint32_t flow) const;
  void move_to(std::uint64_t top);
  void clean_to(std::uint64_t number);
  void see(std::uint64_t index, std::uint64_t mask);
  void reject(std::uint64_t index, std::uint64_t mask, NodeId from);

  ReplayMemory::Seat seat_;
  std::uint64_t top_ = 0;
  std::uint64_t floor_ = 0;  // numbers up to this one are behind the window
  /// Bits speak of the numbers up to this one, and in place of those above it of numbers a whole window older:
  /// above it all is free. So what comes into the window need not be touched before it is used.
  std::uint64_t clean_ = 0;
};

inline Replay ReplayLedger::check(SeqNo number, NodeId node, std::uint32_t flow) const {
  const std::uint64_t n = number.value();
  if (too_old(n)) return Replay::kTooOld;
  if (n > clean_) return far_ahead(n) ? Replay::kAuthenticateFirst : new_one();
  const Block block = seat_.block(n >> 6);
  if (((block.seen() | block.pending()) >> (n & 63) & 1) == 0) return new_one();
  return check_copy(block, n, node, flow);
}

inline void ReplayLedger::forwarded(SeqNo number, NodeId node, std::uint32_t flow) {
  const std::uint64_t n = number.value();
  if (too_old(n) || far_ahead(n)) return;
  if (n > clean_) clean_to(n);
  const Block block = seat_.block(n >> 6);
  const std::uint64_t bit = std::uint64_t{1} << (n & 63);
  if ((block.seen() & bit) != 0) return;
  block.again() |= block.pending() & bit;
  Group* group = seat_.memory().take(seat_, block, n);
  if (group == nullptr) {  // the owner has authenticated it: see new_one()
    block.seen() |= bit;
    return;
  }
  group->node[n & 7] = node;
  group->flow[n & 7] = flow;
}

}  // namespace testudo::distributor
