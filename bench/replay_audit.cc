// SPDX-License-Identifier: Apache-2.0
#include "bench/replay_audit.h"

#include <fmt/format.h>

#include <algorithm>

namespace testudo::bench {

bool ReplayAudit::mark(Sa& sa, std::uint32_t sequence) {
  const std::size_t word = sequence / 64;
  if (word >= sa.seen.size()) sa.seen.resize(std::max<std::size_t>(word + 1, sa.seen.size() * 2));
  const std::uint64_t bit = std::uint64_t{1} << (sequence % 64);
  const bool before = (sa.seen[word] & bit) != 0;
  sa.seen[word] |= bit;
  return before;
}

void ReplayAudit::packet(const AuditedPacket& packet) {
  Sa& sa = sas_[packet.spi];
  for (Example& example : sa.examples) {
    if (example.wanted == 0) continue;
    example.neighbours.push_back(packet);
    --example.wanted;
  }
  ++packets_;
  const std::size_t at = sa.packets++ % kBefore;
  if (sa.packets > 1 && sa.last[(at + kBefore - 1) % kBefore].sender != packet.sender) ++sa.changes;
  sa.last[at] = packet;
  ++sa.senders[packet.sender];
  const bool duplicate = mark(sa, packet.sequence);
  sa.duplicates += duplicate ? 1 : 0;
  if (packet.sequence > sa.newest) {
    sa.newest = packet.sequence;
    sa.newest_ns = packet.time_ns;
    return;
  }
  const std::uint32_t behind = sa.newest - packet.sequence;
  ++sa.reordered;
  sa.deepest = std::max(sa.deepest, behind);
  for (std::size_t i = 0; i < kAuditWindows.size(); ++i) sa.too_old[i] += behind >= kAuditWindows[i] ? 1 : 0;
  if (duplicate || behind >= kAuditWindows[0]) note(sa, packet, behind, duplicate);
}

void ReplayAudit::note(Sa& sa, const AuditedPacket& packet, std::uint32_t behind, bool duplicate) {
  if (sa.examples.size() == kExamples) return;
  Example example{.sequence = packet.sequence,
                  .behind = behind,
                  .duplicate = duplicate,
                  .since_newest_ns = packet.time_ns - sa.newest_ns,
                  .neighbours = {},
                  .wanted = kAfter};
  const std::uint64_t count = std::min<std::uint64_t>(sa.packets, kBefore);
  for (std::uint64_t i = sa.packets - count; i < sa.packets; ++i)
    example.neighbours.push_back(sa.last[i % kBefore]);
  sa.examples.push_back(std::move(example));
}

std::string ReplayAudit::text(const Example& e) {
  std::string neighbours;
  for (const AuditedPacket& n : e.neighbours) {
    const auto apart = static_cast<std::int64_t>(n.time_ns - e.neighbours[0].time_ns) / 1000;
    neighbours +=
        fmt::format("{}[{}, {}, \"{:012x}\"]", neighbours.empty() ? "" : ", ", apart, n.sequence, n.sender);
  }
  return fmt::format(
      "{{\"sequence\": {}, \"behind\": {}, \"duplicate\": {}, \"newest_for_us\": {},\n     \"neighbours\": [{}]}}",
      e.sequence, e.behind, e.duplicate, e.since_newest_ns / 1000, neighbours);
}

std::string ReplayAudit::text(std::uint32_t spi, const Sa& sa) {
  std::string senders, refused, examples;
  for (const auto& [mac, count] : sa.senders)
    senders += fmt::format("{}\"{:012x}\": {}", senders.empty() ? "" : ", ", mac, count);
  for (std::size_t i = 0; i < kAuditWindows.size(); ++i)
    refused += fmt::format("{}\"{}\": {}", refused.empty() ? "" : ", ", kAuditWindows[i], sa.too_old[i]);
  for (const Example& example : sa.examples) examples += (examples.empty() ? "" : ",\n    ") + text(example);
  return fmt::format(
      "  {{\"spi\": \"0x{:08x}\", \"packets\": {}, \"newest\": {}, \"duplicates\": {}, \"too_old\": {{{}}},\n"
      "   \"reordered\": {}, \"deepest\": {}, \"senders\": {{{}}}, \"changes_of_sender\": {},\n   \"examples\": "
      "[{}]}}",
      spi, sa.packets, sa.newest, sa.duplicates, refused, sa.reordered, sa.deepest, senders, sa.changes, examples);
}

std::string ReplayAudit::json() const {
  std::string sas;
  for (const auto& [spi, sa] : sas_) sas += (sas.empty() ? "" : ",\n") + text(spi, sa);
  return fmt::format("[\n{}\n ]", sas);
}

}  // namespace testudo::bench
