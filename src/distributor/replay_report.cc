// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_report.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::distributor {

void WindowReport::see(SeqNo number) {
  if (number <= floor) return;
  const std::uint64_t base = number.value() & ~std::uint64_t{63};
  auto block = std::ranges::lower_bound(blocks, base, {}, &Block::base);
  if (block == blocks.end() || block->base != base) block = blocks.insert(block, {.base = base, .seen = 0});
  block->seen |= std::uint64_t{1} << (number.value() & 63);
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
  for (const Block& theirs : other.blocks) {
    auto block = std::ranges::lower_bound(blocks, theirs.base, {}, &Block::base);
    if (block == blocks.end() || block->base != theirs.base) block = blocks.insert(block, {.base = theirs.base});
    block->seen |= theirs.seen;
  }
  std::erase_if(blocks, [this](const Block& block) { return block.base + 63 <= floor.value(); });
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
