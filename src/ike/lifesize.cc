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

/// One kind of lifesize of an SA: bytes or packets.
struct Kind {
  std::uint64_t ipsec::LifesizeLimits::*hard;
  std::uint64_t Used::*amount;
  std::uint64_t chunk;  // a share that is worth a message: a train of super-segments
};
constexpr Kind kKinds[] = {{&ipsec::LifesizeLimits::hard_bytes, &Used::bytes, 32 * 1024},
                           {&ipsec::LifesizeLimits::hard_packets, &Used::packets, 32}};

/// So little that the next packets may need more.
constexpr Used kNextToNothing{.bytes = 64 * 1024, .packets = 1};

/// The first share of one host is at most this part of what is left: all have one before anybody says what it
/// needs.
constexpr std::uint64_t kFirstPart = 16;
/// And that of a host which had to drop packets at least this part.
constexpr std::uint64_t kRefusedPart = 32;

}  // namespace

Used report_threshold(const ipsec::LifesizeLimits& limits, std::uint32_t level) {
  constexpr std::uint64_t kWhole = 10'000;
  const auto part = [level](std::uint64_t soft, std::uint64_t hard) -> std::uint64_t {
    const std::uint64_t total = hard != 0 ? hard : soft;
    if (total == 0) return 0;
    const std::uint64_t share = total / kWhole * level + total % kWhole * level / kWhole;
    return std::max<std::uint64_t>(1, share);
  };
  return {.bytes = part(limits.soft_bytes, limits.hard_bytes),
          .packets = part(limits.soft_packets, limits.hard_packets)};
}

void Lifesize::add(SaId id, const ipsec::LifesizeLimits& limits, std::uint32_t level, Time now) {
  Entry entry{.limits = limits,
              .level = level,
              .report = {},
              .installed = now,
              .sum = {},
              .given = {},
              .hosts = {},
              .last_use = {}};
  forget_impossible(entry.limits.soft_bytes, limits.hard_bytes);
  forget_impossible(entry.limits.soft_packets, limits.hard_packets);
  forget_impossible(entry.limits.soft_seconds, limits.hard_seconds);
  entry.report = report_threshold(entry.limits, level);
  entries_[id] = std::move(entry);
}

void Lifesize::remove(SaId id) { entries_.erase(id); }

Share Lifesize::share(SaId id, std::uint32_t host) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return {};
  return {.allowed = account_of(id, found->second, host).allowed, .report = found->second.report};
}

Lifesize::Account& Lifesize::account_of(SaId id, Entry& entry, std::uint32_t host) {
  const auto found = std::ranges::find(entry.hosts, host, &std::pair<std::uint32_t, Account>::first);
  if (found != entry.hosts.end()) return found->second;
  Account& account = entry.hosts.emplace_back(host, Account()).second;
  for (const Kind& kind : kKinds) {
    const std::uint64_t left = entry.limits.*kind.hard - entry.given.*kind.amount;
    const std::uint64_t first = std::max(entry.report.*kind.amount, kind.chunk);
    account.allowed.*kind.amount = std::min(first, left / kFirstPart);
    entry.given.*kind.amount += account.allowed.*kind.amount;
  }
  note_given(id, entry);
  return account;
}

bool Lifesize::extend(SaId id, Entry& entry, Account& account, bool refused) {
  bool grown = false;
  for (const Kind& kind : kKinds) {
    const std::uint64_t hard = entry.limits.*kind.hard;
    if (hard == 0) continue;
    std::uint64_t& allowed = account.allowed.*kind.amount;
    const std::uint64_t used = account.used.*kind.amount;
    const std::uint64_t left = hard - entry.given.*kind.amount;
    std::uint64_t window = std::max(sum(entry.report.*kind.amount, entry.report.*kind.amount), kind.chunk);
    if (refused) window = std::max(window, left / kRefusedPart);
    const std::uint64_t wanted = sum(used, window);
    if (wanted > allowed && left > 0) {
      const std::uint64_t more = std::min(wanted - allowed, left);
      allowed += more;
      entry.given.*kind.amount += more;
      grown = true;
    } else if (refused && left == 0 && sum(used, kNextToNothing.*kind.amount) > allowed) {
      entry.used_up = true;
    }
  }
  note_given(id, entry);
  return grown;
}

void Lifesize::note_given(SaId id, Entry& entry) {
  for (const Kind& kind : kKinds) {
    const std::uint64_t hard = entry.limits.*kind.hard;
    if (hard == 0 || entry.given.*kind.amount < hard || entry.run_out) continue;
    entry.run_out = true;
    run_out_.push_back(id);
  }
}

bool Lifesize::used(SaId id, const HostUse& use, Time now) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return false;
  Entry& entry = found->second;
  Account& account = account_of(id, entry, use.host);
  if (use.total.packets > account.used.packets) entry.last_use = now;
  for (const Kind& kind : kKinds) {
    const std::uint64_t before = account.used.*kind.amount;
    const std::uint64_t total = std::max(before, use.total.*kind.amount);
    account.used.*kind.amount = total;
    entry.sum.*kind.amount = sum(entry.sum.*kind.amount, total - before);
  }
  return extend(id, entry, account, use.refused);
}

Used Lifesize::given(SaId id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? Used() : found->second.given;
}

std::uint32_t Lifesize::level(SaId id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? 0 : found->second.level;
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
    const bool hard_used =
        reached(entry.sum.bytes, l.hard_bytes) || reached(entry.sum.packets, l.hard_packets) || entry.used_up;
    const bool refresh = l.soft_bytes != 0 || l.soft_packets != 0;
    const bool soft_used = reached(entry.sum.bytes, l.soft_bytes) || reached(entry.sum.packets, l.soft_packets) ||
                           (entry.run_out && refresh);
    if ((hard_used || passed(l.hard_seconds)) && !entry.hard_named) {
      entry.hard_named = entry.soft_named = true;
      list.push_back({id, Expiry::kHard, !hard_used});
    } else if ((soft_used || passed(l.soft_seconds)) && !entry.soft_named) {
      entry.soft_named = true;
      list.push_back({id, Expiry::kSoft, !soft_used});
    }
  }
  std::ranges::sort(list, {}, &Due::id);
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
