// SPDX-License-Identifier: Apache-2.0
// WindowReport: what one member knows of the numbers of one inbound SA that may have been accepted. Targets report
// their replay windows, owners their ledgers; the union of reports is what a new owner goes on with (spec C5).
//
//   WindowReport known = report_of(sa.id(), sa.replay());   // a target's
//   known.merge(another);
//   ReplayLedger ledger(window, config, known);
//
// Few bytes for a window of ordinary size: the blocks that lie between floor and top, and the rare number ahead of
// it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/strong.h"
#include "ipsec/replay_window.h"

namespace testudo::distributor {

struct WindowReport {
  /// Bit i speaks of base + i; base is a multiple of 64.
  struct Block {
    std::uint64_t base = 0;
    std::uint64_t seen = 0;
    friend bool operator==(const Block&, const Block&) = default;
  };

  SaId sa;
  SeqNo top;    // the newest number that is known to be genuine; 0: none. Gives the high half with ESN
  SeqNo floor;  // all numbers up to this one count as seen
  std::vector<Block> blocks;  // of numbers above the floor, by rising base; also some ahead of top

  void see(SeqNo number);
  [[nodiscard]] bool sees(SeqNo number) const;
  /// The union. Both must speak of the same SA.
  void merge(const WindowReport& other);
  friend bool operator==(const WindowReport&, const WindowReport&) = default;

 private:
  [[nodiscard]] Block& block_of(std::uint64_t base);
};

/// What is known of each SA, and what the reports add to it.
using WindowReports = std::map<SaId, WindowReport>;
void merge(WindowReports& known, const std::vector<WindowReport>& reports);

/// What a target has accepted. Older than its window counts as seen.
[[nodiscard]] WindowReport report_of(SaId sa, const ipsec::ReplayWindow& window);

}  // namespace testudo::distributor
