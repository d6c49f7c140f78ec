// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_ledger.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace testudo::distributor {
namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};

std::uint32_t size_of(std::uint32_t replay_window, const ReplayLedgerConfig& config) {
  CHECK(replay_window <= (1u << 20));  // also keeps 4 * replay_window from wrapping
  return std::bit_ceil(std::max({config.size, 4 * replay_window, 64u}));
}

bool has(std::uint64_t bits, std::uint64_t number) { return (bits >> (number & 63) & 1) != 0; }

/// The numbers of block `index`, that is from 64 · index on, that are greater.
std::uint64_t above(std::uint64_t index, std::uint64_t number) {
  if (number >> 6 != index) return number >> 6 < index ? kAll : 0;
  return kAll << (number & 63) << 1;
}

/// Calls what(index, mask) with each block of the 64 numbers from `base` on that the bits speak of.
template <typename What>
void in_blocks(std::uint64_t base, std::uint64_t bits, What what) {
  const std::uint64_t index = base >> 6;
  const unsigned shift = base & 63;
  if (const std::uint64_t low = bits << shift) what(index, low);
  const std::uint64_t high = bits >> 1 >> (63 - shift);
  if (high != 0 && index < kAll >> 6) what(index + 1, high);
}

std::uint64_t newest_of(std::uint64_t index, std::uint64_t mask) {
  return 64 * index + 63 - static_cast<unsigned>(std::countl_zero(mask));
}

}  // namespace

ReplayLedger::ReplayLedger(std::uint32_t replay_window, const ReplayLedgerConfig& config)
    : seat_(config.memory == nullptr ? ReplayMemory::take_alone(size_of(replay_window, config))
                                     : config.memory->take(size_of(replay_window, config))) {}

/// Marks little: what the report calls old is behind the window then.
ReplayLedger::ReplayLedger(std::uint32_t replay_window, const ReplayLedgerConfig& config, const WindowReport& known)
    : ReplayLedger(replay_window, config) {
  top_ = known.top.value();
  clean_ = floor_ = std::max(known.floor.value(), top_ > behind() ? top_ - behind() : 0);
  for (const WindowReport::Block& block : known.blocks) {
    if (block.seen == 0) continue;
    const std::uint64_t newest = newest_of(block.base >> 6, block.seen);
    if (far_ahead(newest)) move_to(newest - behind());  // of a larger ledger: seen is seen
    see(block.base >> 6, block.seen);
  }
}

/// The number was met before.
Replay ReplayLedger::check_copy(Block block, std::uint64_t number, NodeId node, std::uint32_t flow) const {
  if (has(block.seen(), number)) return Replay::kReplay;
  const Group& copy = seat_.memory().find(block, number);
  const bool same = copy.node[number & 7] == node && copy.flow[number & 7] == flow;
  return same ? Replay::kForward : Replay::kAuthenticateFirst;
}

Replay ReplayLedger::authenticated(SeqNo number, std::uint32_t flow) {
  const std::uint64_t n = number.value();
  if (too_old(n)) return Replay::kTooOld;
  move_to(n);
  if (n > clean_) return Replay::kForward;
  const Block block = seat_.block(n >> 6);
  if (has(block.seen(), n)) return Replay::kReplay;
  // Of the same flow, the pending copy may be the genuine one, and this one its replay. Of another flow, it was
  // forged: a genuine packet has one number and one flow.
  if (has(block.pending(), n) && seat_.memory().find(block, n).flow[n & 7] == flow) return Replay::kReplay;
  return Replay::kForward;
}

void ReplayLedger::seen_by_owner(SeqNo number) {
  const std::uint64_t n = number.value();
  if (too_old(n)) return;
  move_to(n);
  see(n >> 6, std::uint64_t{1} << (n & 63));
}

void ReplayLedger::commit(NodeId from, const wire::ReplayCommit& report) {
  in_blocks(report.base.value(), report.accepted, [&](std::uint64_t index, std::uint64_t mask) {
    move_to(newest_of(index, mask));
    see(index, mask);
  });
  in_blocks(report.base.value(), report.rejected & ~report.accepted,
            [&](std::uint64_t index, std::uint64_t mask) { reject(index, mask, from); });
}

void ReplayLedger::node_died(NodeId node) { seat_.memory().node_died(node, &seat_); }

WindowReport ReplayLedger::report(SaId sa, std::uint32_t window) const {
  WindowReport report{.sa = sa,
                      .top = SeqNo(top_),
                      .floor = SeqNo(std::max(floor_, top_ > window ? top_ - window : 0)),
                      .blocks = {}};
  for (std::uint64_t n = report.floor.value() + 1; n <= clean_; ++n) {
    if (has(seat_.block(n >> 6).seen(), n)) report.see(SeqNo(n));
  }
  return report;
}

/// Numbers that come into the window are free (clean_); as many leave it at its old end.
void ReplayLedger::move_to(std::uint64_t top) {
  if (top <= top_) return;
  top_ = top;
  floor_ = std::max(floor_, top > behind() ? top - behind() : 0);
}

/// From here on the bits of the numbers up to this one, and of the rest of its block that is in the window, are
/// their own. It is in the window.
void ReplayLedger::clean_to(std::uint64_t number) {
  const std::uint64_t end = top_ + std::min<std::uint64_t>(behind(), kAll - top_);  // of the window
  const std::uint64_t last = std::min(number | 63, end);
  const std::uint64_t before = std::max(clean_, last > seat_.size() ? last - seat_.size() : 0);
  for (std::uint64_t index = before >> 6; index <= last >> 6; ++index) {
    const std::uint64_t fresh = above(index, before) & ~above(index, last);
    const Block block = seat_.block(index);
    seat_.memory().clear(block, fresh);
    block.seen() &= ~fresh;
    block.again() &= ~fresh;
  }
  clean_ = last;
}

/// Those of the mask that are not too old; none is far ahead.
void ReplayLedger::see(std::uint64_t index, std::uint64_t mask) {
  mask &= above(index, floor_);
  if (mask == 0) return;
  if (newest_of(index, mask) > clean_) clean_to(newest_of(index, mask));
  const Block block = seat_.block(index);
  block.seen() |= mask;
  seat_.memory().clear(block, mask);
}

/// What was forwarded twice stays pending. What is free now will have been forwarded twice the next time.
void ReplayLedger::reject(std::uint64_t index, std::uint64_t mask, NodeId from) {
  mask &= above(index, floor_) & ~above(index, clean_);
  if (mask == 0) return;
  const Block block = seat_.block(index);
  std::uint64_t freed = 0;
  for (std::uint64_t left = mask & block.pending() & ~block.again(); left != 0; left &= left - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(left));
    if (seat_.memory().find(block, i).node[i & 7] == from) freed |= std::uint64_t{1} << i;
  }
  block.again() |= freed;
  seat_.memory().clear(block, freed);
}

}  // namespace testudo::distributor
