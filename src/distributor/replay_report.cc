// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_report.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::distributor {

/// Made when it is not there.
WindowReport::Block& WindowReport::block_of(std::uint64_t base) {
  auto block = std::ranges::lower_bound(blocks, base, {}, &Block::base);
  if (block == blocks.end() || block->base != base) block = blocks.insert(block, {.base = base});
  return *block;
}

void WindowReport::see(SeqNo number) {
  if (number <= floor) return;
  block_of(number.value() & ~std::uint64_t{63}).seen |= std::uint64_t{1} << (number.value() & 63);
}

bool WindowReport::sees(SeqNo number) const {
  if (number <= floor) return true;
  const std::uint64_t base = number.value() & ~std::uint64_t{63};
  const auto block = std::ranges::lower_bound(blocks, base, {}, &Block::base);
  return block != blocks.end() && block->base == base && (block->seen >> (number.value() & 63) & 1) != 0;
}

void WindowReport::merge(const WindowReport& other) {
  CHECK(sa == other.sa);
  top = std::max(top, other.top);
  floor = std::max(floor, other.floor);
  for (const Block& theirs : other.blocks) block_of(theirs.base).seen |= theirs.seen;
  std::erase_if(blocks, [this](const Block& block) { return block.base + 63 <= floor.value(); });
}

void merge(WindowReports& known, const std::vector<WindowReport>& reports) {
  for (const WindowReport& report : reports) {
    const auto [held, fresh] = known.emplace(report.sa, report);
    if (!fresh) held->second.merge(report);
  }
}

WindowReport report_of(SaId sa, const ipsec::ReplayWindow& window) {
  const std::uint64_t newest = window.newest().value();
  const std::uint64_t size = window.size();
  WindowReport report{
      .sa = sa, .top = SeqNo(newest), .floor = SeqNo(newest > size ? newest - size : 0), .blocks = {}};
  for (std::uint64_t n = report.floor.value() + 1; n <= newest; ++n) {
    if (window.check(SeqNo(n))) report.see(SeqNo(n));
  }
  return report;
}

}  // namespace testudo::distributor
