// SPDX-License-Identifier: Apache-2.0
// ReplayRecovery: how a new owner of a DVIPA finds the replay windows of its inbound SAs (spec C5). It asks the
// witnesses that the facility names (replay_journal.h) and decides for each SA: go on with the union of what they
// know, or close it and have it replaced at once, because somebody is gone who may have accepted something.
//
//   ReplayRecovery recovery(witnesses);            // read with the ownership; the epoch is taken by then
//   for (NodeId node : recovery.missing()) control.ask(node, epoch);          // again now and then
//   recovery.report(report);                       // as they come
//   recovery.gone(node);                           // the failure detector; or it took too long
//   if (recovery.done()) {
//     if (const auto known = recovery.window(sa)) ledger = ReplayLedger(window, config, *known); else close(sa);
//   }
//
// What is closed is deleted from the targets only when the journal is active(). Before that the next owner may find
// all the windows, and a target that has deleted an SA could not be told from one that has never met it.
//
// A member that is asked adopts the new epoch first, for forwards and for records (ReplayKeeper::fence), and then
// reports: after its report it accepts nothing more from the former owner.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "base/strong.h"
#include "distributor/replay_journal.h"
#include "distributor/replay_report.h"

namespace testudo::distributor {

/// Member → new owner.
struct MemberReport {
  Witness from;
  std::vector<WindowReport> windows;  // of its own replay windows, one per SA that it has met
  Epoch record_epoch;                 // of the record that it keeps; 0: none
  std::vector<WindowReport> record;
};

class ReplayRecovery {
 public:
  explicit ReplayRecovery(const ReplayWitnesses& before);

  void report(const MemberReport& report);
  /// The member will not answer any more.
  void gone(NodeId node);
  /// Who has to be asked yet.
  [[nodiscard]] std::vector<NodeId> missing() const { return {missing_.begin(), missing_.end()}; }
  [[nodiscard]] bool done() const { return lost_ || missing_.empty(); }
  /// Somebody's windows are lost: every SA must be closed.
  [[nodiscard]] bool lost() const { return lost_; }

  /// When done: what the SA's ledger begins with. Nothing: close the SA. All SAs of the former owner that are not
  /// in its keeper's record are closed, too: it had closed them itself, or they were younger than its last record.
  [[nodiscard]] std::optional<WindowReport> window(SaId sa) const;

 private:
  ReplayWitnesses before_;
  std::set<NodeId> missing_;
  bool lost_ = false;
  WindowReports record_;   // the keeper's
  WindowReports windows_;  // the union of the targets'
};

}  // namespace testudo::distributor
