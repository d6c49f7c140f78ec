// SPDX-License-Identifier: Apache-2.0
// What an owner does while it lives so that another one can take over its replay windows (spec C5). Two things must
// be known after its death: who may have accepted numbers of which no one else knows (the targets, each by its own
// window), and what the owner accepted itself.
//
//   - The coupling facility holds the *witnesses*: the targets that the owner forwards to, each with its
//   incarnation,
//     and the keeper. A target is forwarded nothing before it is written there.
//   - The *keeper*, the first backup, holds the record: a window per SA of what the owner has accepted itself. The
//     owner delivers nothing of it before the keeper has acknowledged it. The record begins with a snapshot of all
//     ledgers.
//   - A target dies: ledger.node_died(), then a snapshot goes to the keeper, and only when that is acknowledged the
//     target is struck off the witnesses. If the owner dies before that, both have died together.
//
//   ReplayJournal journal(epoch);
//   journal.keep_with(first_backup, snapshot());         // NodeId(0): there is none, the owner is alone
//   journal.target_joined({node, incarnation});
//   ...each turn...
//   for (const ReplayRecord& record : journal.poll(now)) control.send(journal.keeper(), record);
//   if (const auto w = journal.wanted()) {                                      // one write at a time
//     journal.storing(*w);
//     facility.compare_and_set(epoch, version, *w);
//   }
//   ...as answers come...
//   journal.acknowledged(from, copy, serial);
//   journal.stored(what the facility holds for sure);
//   ...packets...
//   if (journal.may_forward(target)) ...                 // asked when a connection gets its target, not per packet
//   const auto ticket = journal.accepted(sa, number);    // after ledger.seen_by_owner(); deliver the packet when
//   if (journal.is_safe(ticket)) deliver(packet);        // this becomes true
//
// Messages may be lost, doubled and reordered: records are repeated until they are acknowledged, one by one, and
// their union is the same in any order. ReplayKeeper is the other end; ReplayRecovery what follows the owner's
// death.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/strong.h"
#include "base/time.h"
#include "distributor/replay_report.h"

namespace testudo::distributor {

/// A target in one of its lives: a restart has forgotten its windows.
struct Witness {
  NodeId node;
  std::uint32_t incarnation = 0;
  friend auto operator<=>(const Witness&, const Witness&) = default;
};

/// In the facility, one per DVIPA; written by its owner, by compare-and-set on the owner's epoch and the last
/// version.
struct ReplayWitnesses {
  Epoch epoch;    // of the owner that began to receive; 0: nobody ever has
  NodeId keeper;  // 0: none, the owner's death loses the windows
  std::vector<Witness> targets;
  friend bool operator==(const ReplayWitnesses&, const ReplayWitnesses&) = default;
};

/// Owner → keeper.
struct ReplayRecord {
  Epoch epoch;
  std::uint32_t copy = 0;    // a new one begins with `whole`
  std::uint64_t serial = 0;  // to be acknowledged
  bool whole = false;        // SAs that are not in it are closed
  std::vector<WindowReport> windows;
};

/// At the keeper.
class ReplayKeeper {
 public:
  /// Takeover: records of earlier epochs are refused from now on. To be called before anything is reported.
  void fence(Epoch epoch) { fence_ = std::max(fence_, epoch); }
  /// True: it is kept, and to be acknowledged. Else its beginning is missing, or it is of the past.
  bool keep(const ReplayRecord& record);
  /// The SA is gone for good.
  void forget(SaId sa) { windows_.erase(sa); }
  /// Of the record that is held; 0: none.
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  [[nodiscard]] const WindowReports& windows() const { return windows_; }

 private:
  Epoch fence_;
  Epoch epoch_;
  std::uint32_t copy_ = 0;
  WindowReports windows_;
};

class ReplayJournal {
 public:
  using Ticket = std::uint64_t;
  /// `repeat`: after this time a record that is not acknowledged is due again.
  explicit ReplayJournal(Epoch epoch, Duration repeat = std::chrono::milliseconds(5))
      : epoch_(epoch), repeat_(repeat) {}

  // ---- the keeper ----
  /// A new copy of the record, at this node; also when it has restarted. `snapshot`: a report of every ledger.
  void keep_with(NodeId keeper, std::vector<WindowReport> snapshot);
  [[nodiscard]] NodeId keeper() const { return keeper_; }
  /// Records that are due, to be sent to the keeper.
  [[nodiscard]] std::span<const ReplayRecord> poll(Time now);
  [[nodiscard]] Time next_timer() const;
  void acknowledged(NodeId from, std::uint32_t copy, std::uint64_t serial);

  // ---- the witnesses ----
  void target_joined(const Witness& target);
  /// After node_died() of every ledger. `snapshot`: a report of each of them.
  void target_gone(NodeId node, std::vector<WindowReport> snapshot);
  /// What the facility should hold; nothing when it does, or when that has to wait.
  [[nodiscard]] std::optional<ReplayWitnesses> wanted() const;
  /// It is being written: until stored(), who is not in it does not count as named, for nobody knows which of the
  /// two the facility holds.
  void storing(const ReplayWitnesses& witnesses);
  /// What the facility holds now, for sure: no write is under way.
  void stored(const ReplayWitnesses& witnesses);
  /// The owner may accept and forward.
  [[nodiscard]] bool active() const { return stored_.epoch == epoch_; }
  [[nodiscard]] bool may_forward(NodeId node) const;

  // ---- what the owner accepts ----
  /// A new SA. If the owner dies before the keeper knows of it, it is closed.
  void added(SaId sa) { noted(sa); }
  [[nodiscard]] Ticket accepted(SaId sa, SeqNo number);
  [[nodiscard]] bool is_safe(Ticket ticket) const;

 private:
  struct Outstanding {
    ReplayRecord record;
    Time due = Time::min();
    bool acknowledged = false;
  };
  WindowReport& noted(SaId sa);
  void append(bool whole, std::vector<WindowReport> windows);
  [[nodiscard]] bool stands() const { return active() && stored_.keeper == keeper_ && !keeper_in_doubt_; }
  [[nodiscard]] std::vector<Witness> listed() const;

  Epoch epoch_;
  Duration repeat_;
  NodeId keeper_;
  bool chosen_ = false;  // keep_with() was called
  bool whole_ = false;   // the keeper has the beginning of the present copy
  std::uint32_t copy_ = 0;
  std::uint64_t serial_ = 0;                // the last that was given to a record
  WindowReports gathered_;                  // for the next record
  std::deque<Outstanding> outstanding_;     // by rising serial; the first is not acknowledged
  std::vector<ReplayRecord> due_;           // what poll() returns
  std::map<NodeId, std::uint32_t> joined_;  // targets, with their incarnations
  std::map<Witness, Ticket> leaving_;       // struck off when this is safe
  ReplayWitnesses stored_;
  std::set<Witness> in_doubt_;  // in stored_, and left out by a write that is under way
  bool keeper_in_doubt_ = false;
};

}  // namespace testudo::distributor
