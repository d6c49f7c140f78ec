// SPDX-License-Identifier: Apache-2.0
#include "ike/lifesize.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace testudo::ike {
namespace {

bool reached(std::uint64_t value, std::uint64_t limit) { return limit != 0 && value >= limit; }

std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
  return a > max - b ? max : a + b;
}

void forget_impossible(std::uint64_t& soft, std::uint64_t hard) {
  if (hard != 0 && soft > hard) soft = 0;
}

/// The time line ends after 292 years; a limit beyond it is none.
std::optional<Time> after(Time start, std::uint64_t seconds) {
  constexpr std::uint64_t kSecondsMax = std::uint64_t{100} * 365 * 86'400;
  if (seconds == 0 || seconds > kSecondsMax) return std::nullopt;
  return start + std::chrono::seconds(seconds);
}

}  // namespace

Used report_threshold(const ipsec::LifesizeLimits& limits, std::uint32_t percent) {
  const auto part = [percent](std::uint64_t soft, std::uint64_t hard) -> std::uint64_t {
    const std::uint64_t total = hard != 0 ? hard : soft;
    if (total == 0) return 0;
    const std::uint64_t share = total / 100 * percent + total % 100 * percent / 100;
    return std::max<std::uint64_t>(1, share);
  };
  return {.bytes = part(limits.soft_bytes, limits.hard_bytes),
          .packets = part(limits.soft_packets, limits.hard_packets)};
}

void Lifesize::add(SaId id, const ipsec::LifesizeLimits& limits, Time now) {
  Entry entry{.limits = limits, .installed = now, .sum = {}, .last_use = {}};
  forget_impossible(entry.limits.soft_bytes, limits.hard_bytes);
  forget_impossible(entry.limits.soft_packets, limits.hard_packets);
  forget_impossible(entry.limits.soft_seconds, limits.hard_seconds);
  entries_[id] = entry;
}

void Lifesize::remove(SaId id) { entries_.erase(id); }

void Lifesize::used(SaId id, Used use, Time now) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.sum.bytes = sum(entry.sum.bytes, use.bytes);
  entry.sum.packets = sum(entry.sum.packets, use.packets);
  if (use.packets != 0) entry.last_use = now;
}

SaUse Lifesize::total(SaId id, Time now) const {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return {};
  const Entry& entry = found->second;
  SaUse use{.bytes = entry.sum.bytes, .packets = entry.sum.packets, .used = entry.last_use.has_value()};
  if (entry.last_use) {
    const auto idle = std::chrono::duration_cast<std::chrono::seconds>(now - *entry.last_use);
    use.idle_seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(0, idle.count()));
  }
  return use;
}

std::vector<Lifesize::Due> Lifesize::due(Time now) {
  std::vector<Due> list;
  for (auto& [id, entry] : entries_) {
    const ipsec::LifesizeLimits& l = entry.limits;
    const auto passed = [now, installed = entry.installed](std::uint64_t seconds) {
      const std::optional<Time> end = after(installed, seconds);
      return end && now >= *end;
    };
    const bool hard = reached(entry.sum.bytes, l.hard_bytes) || reached(entry.sum.packets, l.hard_packets) ||
                      passed(l.hard_seconds);
    const bool soft = reached(entry.sum.bytes, l.soft_bytes) || reached(entry.sum.packets, l.soft_packets) ||
                      passed(l.soft_seconds);
    if (hard && !entry.hard_named) {
      entry.hard_named = entry.soft_named = true;
      list.push_back({id, Expiry::kHard});
    } else if (soft && !entry.soft_named) {
      entry.soft_named = true;
      list.push_back({id, Expiry::kSoft});
    }
  }
  return list;
}

void Lifesize::retry(const Due& due) {
  const auto found = entries_.find(due.id);
  if (found == entries_.end()) return;
  (due.expiry == Expiry::kHard ? found->second.hard_named : found->second.soft_named) = false;
}

std::optional<Time> Lifesize::next_due() const {
  std::optional<Time> next;
  const auto consider = [&next](std::optional<Time> end) {
    if (end && (!next || *end < *next)) next = end;
  };
  for (const auto& [id, entry] : entries_) {
    if (!entry.soft_named) consider(after(entry.installed, entry.limits.soft_seconds));
    if (!entry.hard_named) consider(after(entry.installed, entry.limits.hard_seconds));
  }
  return next;
}

}  // namespace testudo::ike
