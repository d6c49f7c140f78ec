// SPDX-License-Identifier: Apache-2.0
#include "vipa/failsafe.h"

#include <algorithm>

namespace testudo::vipa {
namespace {

/// Questions whose answers are still of use: more than periods in a promise.
constexpr std::size_t kRemembered = 16;

constexpr Duration counted(Duration lasts) { return lasts / 10 * 9; }

}  // namespace

Ask Failsafe::ask(IpAddress dvipa, Epoch epoch, Time now) {
  Asking& asking = asking_[dvipa];
  if (asking.epoch != epoch) asking = {.epoch = epoch, .last = 0, .asked = {}, .until = {}};
  asking.asked.emplace_back(++asking.last, now);
  if (asking.asked.size() > kRemembered) asking.asked.pop_front();
  return {dvipa, epoch, asking.last};
}

void Failsafe::promised(const std::string& by, const Promise& promise, Time now) {
  const auto found = asking_.find(promise.dvipa);
  if (found == asking_.end() || found->second.epoch != promise.epoch) return;
  Asking& asking = found->second;
  const auto question = std::find_if(asking.asked.begin(), asking.asked.end(),
                                     [&](const auto& q) { return q.first == promise.number; });
  if (question == asking.asked.end() || promise.lasts <= Duration()) return;
  const Time until = question->second + counted(std::min(promise.lasts, Duration(1h)));
  if (until > now) asking.until[by] = std::max(asking.until[by], until);
}

Time Failsafe::until(IpAddress dvipa, Epoch epoch, const std::set<std::string>& backups) const {
  const auto found = asking_.find(dvipa);
  if (found == asking_.end() || found->second.epoch != epoch) return Time::min();
  Time out = backups.empty() ? Time::min() : Time::max();
  for (const std::string& name : backups) {
    const auto promise = found->second.until.find(name);
    if (promise == found->second.until.end()) return Time::min();
    out = std::min(out, promise->second);
  }
  return out;
}

Promise Failsafe::promise(const Ask& ask, Time now) {
  bound_[ask.dvipa] = std::max(bound_until(ask.dvipa), now + options_.promise);
  return {ask.dvipa, ask.epoch, ask.number, options_.promise};
}

Time Failsafe::bound_until(IpAddress dvipa) const {
  const auto found = bound_.find(dvipa);
  return found == bound_.end() ? Time::min() : found->second;
}

}  // namespace testudo::vipa
