// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_ledger.h"

#include <algorithm>
#include <bit>
#include <span>

#include "base/check.h"

namespace testudo::distributor {

ReplayLedger::ReplayLedger(std::uint32_t replay_window, const ReplayLedgerConfig& config)
    : mask_(std::bit_ceil(std::max({config.size, 4 * replay_window, 2u})) - 1) {
  CHECK(replay_window <= (1u << 20));  // also keeps 4 * replay_window from wrapping
  static_assert(static_cast<int>(State::kFree) == 0);
  slots_.reset(static_cast<Slot*>(std::calloc(size(), sizeof(Slot))));
  CHECK(slots_ != nullptr);
}

/// Marks little: what the report calls old is behind the window then.
ReplayLedger::ReplayLedger(std::uint32_t replay_window, const ReplayLedgerConfig& config, const WindowReport& known)
    : ReplayLedger(replay_window, config) {
  top_ = known.top.value();
  floor_ = std::max(known.floor.value(), top_ > behind() ? top_ - behind() : 0);
  for (const WindowReport::Block& block : known.blocks) {
    for (std::uint64_t i = 0; i < 64; ++i) {
      const std::uint64_t n = block.base + i;
      if ((block.seen >> i & 1) == 0 || too_old(n)) continue;
      if (far_ahead(n)) move_to(n - behind());  // of a larger ledger: seen is seen
      slot(n).state = State::kSeen;
    }
  }
}

Replay ReplayLedger::check(SeqNo number, NodeId node, std::uint32_t flow) const {
  const std::uint64_t n = number.value();
  if (too_old(n)) return Replay::kTooOld;
  if (far_ahead(n)) return Replay::kAuthenticateFirst;
  const Slot& s = slot(n);
  switch (s.state) {
    case State::kFree:
      return Replay::kForward;
    case State::kSeen:
      return Replay::kReplay;
    case State::kPending:
      return s.node == node && s.flow == flow ? Replay::kForward : Replay::kAuthenticateFirst;
  }
  return Replay::kReplay;
}

Replay ReplayLedger::authenticated(SeqNo number, std::uint32_t flow) {
  const std::uint64_t n = number.value();
  if (too_old(n)) return Replay::kTooOld;
  move_to(n);
  const Slot& s = slot(n);
  if (s.state == State::kSeen) return Replay::kReplay;
  // Of the same flow, the pending copy may be the genuine one, and this one its replay. Of another flow, it was
  // forged: a genuine packet has one number and one flow.
  if (s.state == State::kPending && s.flow == flow) return Replay::kReplay;
  return Replay::kForward;
}

void ReplayLedger::forwarded(SeqNo number, NodeId node, std::uint32_t flow) {
  const std::uint64_t n = number.value();
  if (too_old(n) || far_ahead(n)) return;
  Slot& s = slot(n);
  if (s.state == State::kSeen) return;
  s.again = s.again || s.ever;
  s.ever = true;
  s.state = State::kPending;
  s.node = node;
  s.flow = flow;
}

void ReplayLedger::seen_by_owner(SeqNo number) {
  const std::uint64_t n = number.value();
  if (too_old(n)) return;
  move_to(n);
  slot(n).state = State::kSeen;
}

void ReplayLedger::commit(NodeId from, const wire::ReplayCommit& report) {
  const std::uint64_t base = report.base.value();
  if (report.accepted != 0) {
    move_to(base + 63 - static_cast<unsigned>(std::countl_zero(report.accepted)));
    for (std::uint64_t left = report.accepted; left != 0; left &= left - 1) {
      const std::uint64_t n = base + static_cast<unsigned>(std::countr_zero(left));
      if (!too_old(n)) slot(n).state = State::kSeen;
    }
  }
  for (std::uint64_t left = report.rejected & ~report.accepted; left != 0; left &= left - 1) {
    const std::uint64_t n = base + static_cast<unsigned>(std::countr_zero(left));
    if (too_old(n) || far_ahead(n)) continue;
    Slot& s = slot(n);
    if (s.state == State::kPending && s.node == from && !s.again) s.state = State::kFree;
  }
}

void ReplayLedger::node_died(NodeId node) {
  for (Slot& s : std::span(slots_.get(), size())) {
    if (s.state == State::kPending && s.node == node) s.state = State::kSeen;
  }
}

WindowReport ReplayLedger::report(SaId sa, std::uint32_t window) const {
  WindowReport report{.sa = sa,
                      .top = SeqNo(top_),
                      .floor = SeqNo(std::max(floor_, top_ > window ? top_ - window : 0)),
                      .blocks = {}};
  for (std::uint64_t n = report.floor.value() + 1; n <= top_ + behind(); ++n) {
    if (slot(n).state == State::kSeen) report.see(SeqNo(n));
  }
  return report;
}

/// Numbers that come into the window are free; as many leave it at its old end.
void ReplayLedger::move_to(std::uint64_t top) {
  if (top <= top_) return;
  const std::uint64_t first = top_ + behind() + 1;  // the first number ahead of the present window
  const std::uint64_t count = std::min(top - top_, size());
  if (count == size()) {
    std::fill_n(slots_.get(), count, Slot{});
  } else {
    for (std::uint64_t i = 0; i < count; ++i) slot(first + i) = {};
  }
  top_ = top;
  floor_ = std::max(floor_, top > behind() ? top - behind() : 0);
}

}  // namespace testudo::distributor
