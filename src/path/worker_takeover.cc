// SPDX-License-Identifier: Apache-2.0
// What the worker does when a DVIPA gets another owner (spec G1, G2, C5): it follows that one, tells what it has
// accepted, or takes over itself.
#include <algorithm>
#include <utility>

#include "path/worker.h"

namespace testudo::path {
namespace {

// What is done in one turn of a command about many: packets wait for less than a millisecond.
constexpr std::size_t kDisownedPerTurn = 256;
constexpr std::size_t kWindowsPerTurn = 256;
constexpr std::size_t kLedgersPerTurn = 64;  // each has thousands of numbers
constexpr std::size_t kConnectionsPerTurn = 1024;
constexpr std::size_t kPlacesPerTurn = 8192;  // of the connection table, looked at

}  // namespace

std::vector<SaId> Worker::sas_of(IpAddress dvipa) const {
  std::vector<SaId> ids;
  sad_.for_each([&](const ipsec::Sa& sa) {
    if (sa.local() == dvipa) ids.push_back(sa.id());
  });
  std::ranges::sort(ids);  // the cache has them in no order; all that is made of them is the same in every run
  return ids;
}

bool Worker::go_on() {
  if (std::holds_alternative<std::monostate>(unfinished_)) return false;
  if (std::visit([this](auto& command) { return finish_some(command); }, unfinished_)) unfinished_ = {};
  return true;
}

// ---- following ----

/// A lease of the former owner is not used up: its numbers are unique, for the new owner begins behind the ceiling,
/// but old ones behind new ones might lie outside the peer's window.
void Worker::apply(FollowOwner& command) {
  lessee_.set_owner(command.dvipa, command.epoch, command.owner);
  commits_.set_owner(command.dvipa, command.epoch, command.owner);
  const auto owned = owned_.find(command.dvipa);
  if (owned == owned_.end() || owned->second == command.epoch) return;
  owned_.erase(owned);
  unfinished_ = disown(command.dvipa);
  static_cast<void>(go_on());
}

/// Grants end here and now; the rest is memory.
Worker::Disowning Worker::disown(IpAddress dvipa) {
  Disowning all{.dvipa = dvipa, .sas = sas_of(dvipa)};
  for (const SaId id : all.sas) sequencer_.remove_sa(id);
  return all;
}

bool Worker::finish_some(Disowning& disowning) {
  const std::size_t stop = std::min(disowning.next + kDisownedPerTurn, disowning.sas.size());
  for (; disowning.next < stop; ++disowning.next) owner_inbound_.sa_removed(disowning.sas[disowning.next]);
  disowning.next_connection =
      owner_inbound_.forget_connections(disowning.dvipa, disowning.next_connection, kPlacesPerTurn);
  return stop == disowning.sas.size() && disowning.next_connection == 0;
}

// ---- telling ----

void Worker::apply(ReportWindows& command) {
  Reporting reporting{.what = command, .sas = sas_of(command.dvipa)};
  reporting.answer.tag = command.tag;
  reporting.answer.list.reserve(reporting.sas.size());
  unfinished_ = std::move(reporting);
  static_cast<void>(go_on());
}

bool Worker::finish_some(Reporting& reporting) {
  const bool ledgers = reporting.what.of == ReportWindows::Of::kOwner;
  const std::size_t stop =
      std::min(reporting.next + (ledgers ? kLedgersPerTurn : kWindowsPerTurn), reporting.sas.size());
  for (; reporting.next < stop; ++reporting.next) {
    ipsec::Sa* sa = sad_.find(reporting.sas[reporting.next]);
    if (sa == nullptr || !sa->inbound()) continue;
    if (ledgers) {
      if (auto report = owner_inbound_.report(*sa)) reporting.answer.list.push_back(std::move(*report));
    } else if (sa->replay().newest() != SeqNo()) {
      reporting.answer.list.push_back(distributor::report_of(sa->id(), sa->replay()));
    }
  }
  if (stop < reporting.sas.size()) return false;
  emit(std::move(reporting.answer));
  return true;
}

// ---- taking over ----

/// What is here of an ownership that is over has to go first. FollowOwner does that, in pieces: here it is too late
/// for those.
void Worker::own(IpAddress dvipa, Epoch epoch) {
  const auto [owned, fresh] = owned_.try_emplace(dvipa, epoch);
  if (fresh || owned->second == epoch) return;
  owned->second = epoch;
  for (Disowning former = disown(dvipa); !finish_some(former);) {
  }
}

void Worker::apply(OwnSa& command) {
  ipsec::Sa* sa = sad_.find(command.id);
  if (sa == nullptr) return;
  own(sa->local(), command.epoch);
  lessee_.set_owner(command.id, command.epoch, config_.self);
  commits_.set_owner(command.id, command.epoch, config_.self);
  // Once: numbers would be granted a second time, or accepted.
  if (owner_inbound_.knows(command.id)) return;
  if (!sa->inbound()) return sequence(*sa, command.epoch, command.first);
  command.known.sa = command.id;
  command.known.merge(distributor::report_of(command.id, sa->replay()));
  owner_inbound_.sa_adopted(*sa, command.known);
}

void Worker::apply(AddConnections& command) {
  unfinished_ = Connecting{.what = std::move(command)};
  static_cast<void>(go_on());
}

bool Worker::finish_some(Connecting& connecting) {
  const AddConnections& what = connecting.what;
  const std::size_t stop = std::min(connecting.next + kConnectionsPerTurn, what.list.size());
  for (; connecting.next < stop; ++connecting.next) {
    const AddConnections::One& one = what.list[connecting.next];
    owner_inbound_.add_connection({.client = one.remote, .dvipa = {what.dvipa, one.local_port}}, what.node, now_);
  }
  return stop == what.list.size();
}

// ---- what the owner itself accepts ----

void Worker::apply(HoldAccepted& command) {
  std::erase(holding_, command.dvipa);
  if (command.hold) holding_.push_back(command.dvipa);
}

/// What has waited for too long is lost first: control counts on it (node/owner_replay.h).
void Worker::apply(Release& command) {
  drops_.count(Drop::kUnconfirmed, accepted_hold_.expire(now_));
  while (const AcceptedHold::Held* held = accepted_hold_.front()) {
    if (held->batch > command.batch) break;
    if (held->where == AcceptedHold::Where::kLocal) {
      deliver_local({held->out.body, held->out.body_size});
    } else {
      forward(held->out);
    }
    accepted_hold_.pop();
  }
  send_forwarded();
  send_local();
}

bool Worker::holds(const distributor::Dvipa* dvipa) const {
  return dvipa != nullptr && std::ranges::find(holding_, dvipa->address) != holding_.end();
}

/// A packet that has to wait, if it is not dropped anyway.
void Worker::hold(const distributor::Verdict& verdict) {
  using Kind = distributor::Verdict::Kind;
  if (verdict.kind != Kind::kLocal && verdict.kind != Kind::kForward) return;
  const bool local = verdict.kind == Kind::kLocal;
  wire::Outgoing out = verdict.out;
  if (local) {
    out = wire::Outgoing{};
    out.body = verdict.bytes.data();
    out.body_size = static_cast<std::uint32_t>(verdict.bytes.size());
  }
  const auto where = local ? AcceptedHold::Where::kLocal : AcceptedHold::Where::kXcf;
  drops_.count(Drop::kUnconfirmed, accepted_hold_.append(out, where, accepted_.batch, now_));
}

/// The numbers of a burst, also of packets that were dropped after all: it was those numbers' only chance.
void Worker::note_accepted() {
  for (const distributor::Accepted& one : owner_inbound_.accepted()) {
    if (!holds(one.dvipa)) continue;
    if (accepted_.list.empty()) accepted_.list.reserve(wire::kBurst);
    accepted_.list.push_back({.dvipa = one.dvipa->address, .sa = one.sa, .number = one.number});
  }
}

/// One event a turn, and one allocation.
void Worker::tell_accepted() {
  if (accepted_.list.empty()) return;
  const std::uint64_t next = accepted_.batch + 1;
  emit(std::exchange(accepted_, OwnerAccepted{.batch = next, .list = {}}));
}

}  // namespace testudo::path
