// SPDX-License-Identifier: Apache-2.0
#include "sequence/host_sequencer.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::sequence {

void HostSequencer::add_sa(SaId id, const DividedSa& parameters) {
  const auto [place, fresh] = sas_.try_emplace(id, Sa{.parameters = parameters});
  CHECK(fresh);
  lessee_.add_sa(id, {.dvipa = parameters.dvipa, .epoch = parameters.epoch, .owner = parameters.owner});
  sequence(id, place->second);
}

void HostSequencer::sequence(SaId id, const Sa& sa) {
  sequencer_.add_sa(id, {.dvipa = sa.parameters.dvipa,
                         .epoch = sa.parameters.epoch,
                         .first = SeqNo(sa.last.value() + 1),
                         .peer_window = sa.parameters.peer_window,
                         .esn = sa.parameters.esn,
                         .supplied = true});
}

void HostSequencer::remove_sa(SaId id) {
  if (sas_.erase(id) == 0) return;
  lessee_.remove_sa(id);
  sequencer_.remove_sa(id);
}

// The sub-leases end with the old epoch, as the leases do that they come of.
void HostSequencer::set_owner(IpAddress dvipa, Epoch epoch, NodeId owner) {
  for (auto& [id, sa] : sas_) {
    if (sa.parameters.dvipa != dvipa || sa.parameters.epoch == epoch) continue;
    sa.parameters.epoch = epoch;
    sa.parameters.owner = owner;
    sa.settled = sa.last;
    sequencer_.remove_sa(id);
    sequence(id, sa);
  }
  lessee_.set_owner(dvipa, epoch, owner);
}

void HostSequencer::touch(SaId id) {
  const auto found = sas_.find(id);
  if (found == sas_.end() || found->second.touched) return;
  found->second.touched = true;
  touched_.push_back(id);
}

void HostSequencer::from_worker(const wire::FastMessage& message, Time now, wire::FastOutbox& to_workers) {
  sequencer_.receive(message, now, to_workers);
  for (std::size_t i = 0; i < message.count(); ++i) {
    if (message.header().type == wire::FastType::kLeaseRequest) touch(message.entry<wire::LeaseRequest>(i).sa);
    if (message.header().type == wire::FastType::kLeaseReturn) touch(message.entry<wire::LeaseReturn>(i).sa);
  }
}

// The lessee has stopped what is recalled, and returns it when it is settled.
void HostSequencer::from_owner(const wire::FastMessage& message, Time now, wire::FastOutbox& to_workers) {
  lessee_.receive(message, now);
  if (message.header().type != wire::FastType::kLeaseRecall) return;
  for (std::size_t i = 0; i < message.count(); ++i) {
    const SaId id = message.entry<wire::LeaseRecall>(i).sa;
    sequencer_.withdraw(id, now, to_workers);
    touch(id);
  }
}

void HostSequencer::turn(Time now, wire::FastOutbox& to_owner, wire::FastOutbox& to_workers) {
  for (const SaId id : lessee_.granted()) touch(id);
  sequencer_.tick(now, to_workers);
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    const SaId id = touched_[i];
    const auto found = sas_.find(id);
    if (found == sas_.end()) continue;
    found->second.touched = false;
    settle(id, found->second, now);
    while (supply(id, found->second, now)) sequencer_.tick(now, to_workers);
  }
  touched_.clear();
  sequencer_.tick(now, to_workers);
  lessee_.poll(now, to_owner);
}

void HostSequencer::settle(SaId id, Sa& sa, Time now) {
  const auto lowest = sequencer_.lowest_in_use(id, now);
  const SeqNo settled = lowest ? SeqNo(lowest->value() - 1) : sa.last;
  if (settled <= sa.settled) return;
  sa.settled = settled;
  lessee_.sent(id, settled);
}

bool HostSequencer::supply(SaId id, Sa& sa, Time now) {
  if (lessee_.exhausted(id)) {
    sequencer_.exhaust(id);
    return false;
  }
  const std::uint32_t wanted = sequencer_.short_of(id, now);
  const Numbers numbers = lessee_.take(id, wanted, now);
  if (!numbers) return false;
  sa.last = numbers.last();
  sequencer_.supply(
      id, {.first = numbers.first, .last = numbers.last(), .stop = numbers.stop, .shared = numbers.shared});
  return true;
}

}  // namespace testudo::sequence
