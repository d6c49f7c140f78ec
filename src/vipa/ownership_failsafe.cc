// SPDX-License-Identifier: Apache-2.0
// Ownership's part for a facility that does not answer: an owner without a session, by its backups' promises.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "vipa/ownership.h"

namespace testudo::vipa {

using facility::Revision;

void Ownership::reachable(bool now) {
  reachable_ = now;
  ask_backups();
}

void Ownership::ask_backups() {
  if (ask_timer_ != 0) executor_.cancel(std::exchange(ask_timer_, 0));
  bool asking = false;
  for (auto& [address, dvipa] : dvipas_) {
    const bool without = dvipa.claim == Claim::kHeld && !reachable_;
    if (!without && !dvipa.on_promise) continue;
    asking = true;
    const Ask ask = failsafe_.ask(address, dvipa.state.epoch, executor_.now());
    for (const BackupRecord& b : dvipa.state.backups) events_.ask(b.node, ask);
    for (const std::string& name : dvipa.required) {
      if (!dvipa.backups.contains(name)) events_.ask(name, ask);  // its entry is gone with its session
    }
  }
  if (!asking) return;
  ask_timer_ = executor_.run_after(options_.failsafe.ask_period, [this, alive = std::weak_ptr(generation_)] {
    if (!alive.lock()) return;
    ask_timer_ = 0;
    ask_backups();
  });
}

void Ownership::asked(const std::string& from, const Ask& ask) {
  const auto found = dvipas_.find(ask.dvipa);
  if (found == dvipas_.end()) return;
  const Dvipa& dvipa = found->second;
  const DvipaState& state = dvipa.state;
  const bool acts = dvipa.claim != Claim::kIdle || dvipa.on_promise || dvipa.removing || dvipa.claim_unknown;
  const bool gone = ask.epoch.value() <= dvipa.last_deleted.value();
  const bool others = state.owner && ask.epoch == state.epoch && state.owner->node != from;
  if (acts || gone || others || ask.epoch < state.epoch || !own_rank(ask.dvipa)) return;
  events_.promise(from, failsafe_.promise(ask, executor_.now()));
}

void Ownership::promised(const std::string& from, const Promise& promise) {
  failsafe_.promised(from, promise, executor_.now());
  const auto found = dvipas_.find(promise.dvipa);
  if (found != dvipas_.end()) check_promises(found->second);
}

void Ownership::go_on_or_lose(Dvipa& dvipa) {
  const IpAddress address = dvipa.state.address;
  for (const BackupRecord& b : dvipa.state.backups) dvipa.required.insert(b.node);
  const Time until = failsafe_.until(address, dvipa.state.epoch, dvipa.required);
  if (until <= executor_.now() || dvipa.move == Move::kHandingOver) {
    return lose(dvipa, "the session with the coupling facility is lost");
  }
  if (dvipa.move != Move::kNone) {
    end_move(dvipa);
    events_.move_failed(address, "the coupling facility does not answer");
  }
  dvipa.on_promise = true;
  dvipa.claim = Claim::kIdle;
  events_.note(
      fmt::format("{}: the coupling facility is away, owned by the backups' promise", address.to_string()));
  check_promises(dvipa);
}

void Ownership::check_promises(Dvipa& dvipa) {
  if (!dvipa.on_promise) return;
  if (dvipa.promise_timer != 0) executor_.cancel(std::exchange(dvipa.promise_timer, 0));
  const IpAddress address = dvipa.state.address;
  const Time now = executor_.now();
  const Time until = failsafe_.until(address, dvipa.state.epoch, dvipa.required);
  if (until <= now) {
    lose(dvipa, "the coupling facility is away, and not every backup promises to leave it here");
    return succeed(dvipa);
  }
  dvipa.promise_timer = executor_.run_after(until - now, [this, address, alive = std::weak_ptr(generation_)] {
    if (!alive.lock()) return;
    entry_of(address).promise_timer = 0;
    check_promises(entry_of(address));
  });
}

void Ownership::renew(Dvipa& dvipa, OwnerRecord record, Revision created, Revision modified) {
  end_promise(dvipa);
  take(dvipa, std::move(record), created, modified);
  const Acquired news = acquired(dvipa);
  succeed(dvipa);  // nothing more to be done
  events_.renewed(news);
  changed(dvipa);
}

void Ownership::end_promise(Dvipa& dvipa) {
  if (dvipa.promise_timer != 0) executor_.cancel(std::exchange(dvipa.promise_timer, 0));
  dvipa.on_promise = false;
  dvipa.required.clear();
  failsafe_.forget(dvipa.state.address);
}

}  // namespace testudo::vipa
