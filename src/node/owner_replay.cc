// SPDX-License-Identifier: Apache-2.0
#include "node/owner_replay.h"

#include <fmt/format.h>

#include <algorithm>

#include "node/window_message.h"

namespace testudo::node {

using distributor::ReplayRecord;
using distributor::ReplayWitnesses;
using distributor::WindowReport;
using distributor::Witness;
using Of = path::ReportWindows::Of;

namespace {

constexpr Duration kWriteAgain = 250ms;
constexpr Duration kHeld = 1s;  // the worker has dropped what waits for longer (path/accepted_hold.h)

}  // namespace

std::string OwnerReplay::key(const std::string& prefix, IpAddress dvipa) {
  return fmt::format("{}replay-witnesses/{}", prefix, dvipa.to_string());
}

OwnerReplay::Dvipa* OwnerReplay::find(IpAddress dvipa, Epoch epoch) {
  const auto found = dvipas_.find(dvipa);
  return found == dvipas_.end() || found->second.epoch != epoch ? nullptr : &found->second;
}

bool OwnerReplay::active(IpAddress dvipa) const {
  const auto found = dvipas_.find(dvipa);
  return found != dvipas_.end() && !found->second.over && found->second.journal.active();
}

bool OwnerReplay::may_forward(IpAddress dvipa, NodeId node) const {
  const auto found = dvipas_.find(dvipa);
  return found != dvipas_.end() && !found->second.over && found->second.journal.may_forward(node);
}

// ---- ownership ----

void OwnerReplay::became_owner(IpAddress address, Epoch epoch, facility::Revision revision) {
  lost(address);
  dvipas_.try_emplace(address, epoch).first->second.revision = revision;
}

void OwnerReplay::lost(IpAddress address) {
  const auto found = dvipas_.find(address);
  if (found == dvipas_.end()) return;
  parts_.executor.cancel(found->second.timer);
  dvipas_.erase(found);
  parts_.plane.submit(path::HoldAccepted{.dvipa = address, .hold = false});
}

void OwnerReplay::added(IpAddress address, SaId sa) {
  const auto found = dvipas_.find(address);
  if (found == dvipas_.end()) return;
  found->second.journal.added(sa);
  progress(address, found->second);
}

// ---- the keeper ----

/// What is accepted while the snapshot is made is noted for both: the record so far, and the new one.
void OwnerReplay::set_keeper(IpAddress address, const std::optional<Keeper>& keeper) {
  const auto found = dvipas_.find(address);
  if (found == dvipas_.end()) return;
  Dvipa& dvipa = found->second;
  if (dvipa.keeper_set && dvipa.keeper == keeper) return;
  dvipa.keeper_set = true;
  dvipa.keeper = keeper;
  dvipa.meanwhile.clear();
  dvipa.copying = ++copies_;
  if (keeper) parts_.plane.submit(path::HoldAccepted{.dvipa = address, .hold = true});
  parts_.windows.ask(address, Of::kOwner,
                     [this, address, copy = dvipa.copying](std::vector<WindowReport> snapshot) {
                       const auto now = dvipas_.find(address);
                       if (now != dvipas_.end() && now->second.copying == copy)
                         copied(address, now->second, std::move(snapshot));
                     });
}

void OwnerReplay::copied(IpAddress address, Dvipa& dvipa, std::vector<WindowReport> snapshot) {
  dvipa.copying = 0;
  dvipa.journal.keep_with(dvipa.keeper ? dvipa.keeper->node : NodeId(), std::move(snapshot));
  for (const auto& [sa, number] : std::exchange(dvipa.meanwhile, {}))
    static_cast<void>(dvipa.journal.accepted(sa, number));
  progress(address, dvipa);
}

void OwnerReplay::acknowledged(NodeId from, const xcf::v1::ReplayRecordAck& ack) {
  const auto address = IpAddress::from_bytes(ack.dvipa());
  Dvipa* dvipa = address ? find(*address, Epoch(ack.epoch())) : nullptr;
  if (dvipa == nullptr) return;
  dvipa->journal.acknowledged(from, ack.copy(), ack.serial());
  progress(*address, *dvipa);
}

void OwnerReplay::send_record(IpAddress address, const Dvipa& dvipa, const ReplayRecord& record) {
  std::size_t begin = 0;
  do {
    const std::size_t end = std::min(begin + kWindowsPerMessage, record.windows.size());
    xcf::v1::Envelope envelope;
    xcf::v1::ReplayRecord& part = *envelope.mutable_replay_record();
    part.set_dvipa(address.to_bytes());
    part.set_epoch(record.epoch.value());
    part.set_copy(record.copy);
    part.set_serial(record.serial);
    part.set_whole(record.whole);
    part.set_last(end == record.windows.size());
    for (; begin < end; ++begin) *part.add_windows() = window_to_message(record.windows[begin]);
    if (!parts_.bus.send(dvipa.keeper->name, envelope)) return;  // repeated, or the link is down: another keeper
  } while (begin < record.windows.size());
}

// ---- targets ----

void OwnerReplay::set_targets(IpAddress address, const std::vector<Witness>& targets) {
  const auto found = dvipas_.find(address);
  if (found == dvipas_.end() || found->second.wanted == targets) return;
  found->second.wanted = targets;
  join_targets(address, found->second);
}

void OwnerReplay::join_targets(IpAddress address, Dvipa& dvipa) {
  for (const auto& [node, incarnation] : dvipa.targets) {
    if (std::ranges::find(dvipa.wanted, Witness{node, incarnation}) == dvipa.wanted.end())
      leave(address, dvipa, node);
  }
  for (const Witness& target : dvipa.wanted) {
    if (dvipa.leaving.contains(target.node)) continue;  // its former self has to go first
    if (dvipa.targets.emplace(target.node, target.incarnation).second) dvipa.journal.target_joined(target);
  }
  progress(address, dvipa);
}

/// The worker counts what is pending there as seen before it makes the snapshot: it was told before.
void OwnerReplay::leave(IpAddress address, Dvipa& dvipa, NodeId node) {
  if (!dvipa.leaving.insert(node).second) return;
  parts_.windows.ask(address, Of::kOwner,
                     [this, address, node, epoch = dvipa.epoch](std::vector<WindowReport> snapshot) {
                       Dvipa* now = find(address, epoch);
                       if (now == nullptr) return;
                       now->journal.target_gone(node, std::move(snapshot));
                       now->targets.erase(node);
                       now->leaving.erase(node);
                       join_targets(address, *now);
                     });
}

// ---- what the owner accepts ----

void OwnerReplay::accepted(const path::OwnerAccepted& accepted) {
  Batch batch{.number = accepted.batch, .told = parts_.executor.now(), .packets = {}};
  for (const auto& one : accepted.list) {
    const auto found = dvipas_.find(one.dvipa);
    if (found == dvipas_.end()) {  // not the owner any more: nobody knows of them, ever
      batch.packets.push_back({.dvipa = one.dvipa, .epoch = Epoch()});
      continue;
    }
    Dvipa& dvipa = found->second;
    if (dvipa.copying != 0) dvipa.meanwhile.emplace_back(one.sa, one.number);
    batch.packets.push_back(
        {.dvipa = one.dvipa, .epoch = dvipa.epoch, .ticket = dvipa.journal.accepted(one.sa, one.number)});
  }
  held_.push_back(std::move(batch));
  for (auto& [address, dvipa] : dvipas_) progress(address, dvipa);
  release();
}

bool OwnerReplay::is_safe(const Held& held) const {
  const auto found = dvipas_.find(held.dvipa);
  if (found == dvipas_.end() || found->second.epoch != held.epoch) return false;
  const Dvipa& dvipa = found->second;
  return !dvipa.over && dvipa.copying == 0 && dvipa.journal.is_safe(held.ticket);
}

/// What never becomes safe is given up when the worker has given it up.
void OwnerReplay::release() {
  std::uint64_t safe = 0;
  for (; !held_.empty(); held_.pop_front()) {
    const Batch& next = held_.front();
    if (std::ranges::all_of(next.packets, [this](const Held& held) { return is_safe(held); })) {
      safe = next.number;
    } else if (parts_.executor.now() - next.told < kHeld) {
      break;
    }
  }
  if (safe != 0) parts_.plane.submit(path::Release{.batch = safe});
}

// ---- records and the facility ----

void OwnerReplay::progress(IpAddress address, Dvipa& dvipa) {
  if (dvipa.over) return;
  for (const ReplayRecord& record : dvipa.journal.poll(parts_.executor.now())) {
    if (dvipa.keeper && dvipa.copying == 0) send_record(address, dvipa, record);
  }
  set_timer(address, dvipa);
  if (!dvipa.writing) {
    if (const auto wanted = dvipa.journal.wanted()) write(address, dvipa, *wanted);
  }
  release();
}

void OwnerReplay::set_timer(IpAddress address, Dvipa& dvipa) {
  parts_.executor.cancel(std::exchange(dvipa.timer, 0));
  const Time next = dvipa.journal.next_timer();
  if (next == Time::max() || !dvipa.keeper) return;
  const Time now = parts_.executor.now();
  const Duration delay = next < now + 1ms ? Duration(1ms) : next - now;
  dvipa.timer = parts_.executor.run_after(delay, [this, address, epoch = dvipa.epoch, alive = alive_] {
    if (!*alive) return;
    Dvipa* present = find(address, epoch);
    if (present == nullptr) return;
    present->timer = 0;
    progress(address, *present);
  });
}

void OwnerReplay::write(IpAddress address, Dvipa& dvipa, const ReplayWitnesses& wanted) {
  dvipa.writing = true;
  dvipa.journal.storing(wanted);
  parts_.facility.compare_and_set(
      {.key = key(parts_.prefix, address),
       .expected = dvipa.revision,
       .value = witnesses_to_json(wanted),
       .with_session = false,
       .fence_key = parts_.owner_key(address),
       .fence_created = facility::Revision(dvipa.epoch.value())},
      [this, address, wanted, epoch = dvipa.epoch, alive = alive_](const Result<facility::CasOutcome>& outcome) {
        if (*alive) written(address, wanted, epoch, outcome);
      });
}

void OwnerReplay::written(IpAddress address, const ReplayWitnesses& witnesses, Epoch epoch,
                          const Result<facility::CasOutcome>& outcome) {
  Dvipa* dvipa = find(address, epoch);
  if (dvipa == nullptr) return;
  if (outcome && outcome->done) {
    dvipa->writing = false;
    dvipa->revision = outcome->revision;
    dvipa->journal.stored(witnesses);
    progress(address, *dvipa);
    if (!dvipa->keeper && dvipa->copying == 0)
      parts_.plane.submit(path::HoldAccepted{.dvipa = address, .hold = false});
    return parts_.changed(address);
  }
  if (outcome) {
    const facility::Revision present = outcome->current ? outcome->current->modified : facility::Revision(0);
    if (present == dvipa->revision) {  // then it was the fence that is gone
      dvipa->over = true;
      parts_.log.warning("the ownership of {} under epoch {} is over: nothing more is forwarded",
                         address.to_string(), epoch.value());
      return parts_.changed(address);
    }
    dvipa->revision = present;  // the answer to an earlier write was lost
    return write(address, *dvipa, witnesses);
  }
  // What the facility holds is in doubt until a write is answered. What is wanted may be something else by then.
  parts_.executor.run_after(kWriteAgain, [this, address, epoch, alive = alive_] {
    Dvipa* now = *alive ? find(address, epoch) : nullptr;
    if (now == nullptr) return;
    now->writing = false;
    progress(address, *now);
  });
}

}  // namespace testudo::node
