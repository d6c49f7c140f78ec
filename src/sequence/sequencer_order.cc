// SPDX-License-Identifier: Apache-2.0
// In which order the sequencer serves those who wait: in sweeps from the near ones to the far ones and back. The
// span is freed in order, so numbers of a near host that were granted behind those of a far one come back early and
// wait for nothing. In the order of arrival, near and far mixed, nearly every lease holds the span as long as the
// farthest host does; in a sweep a lease has its like before and behind it, and what it costs is nearly its own
// time. Nobody starves: a sweep serves all those who waited when it began, and only them.
#include <algorithm>

#include "sequence/sequencer.h"

namespace testudo::sequence {

Sequencer::Requester* Sequencer::Sa::next_waiting() {
  Requester* first = nullptr;
  const auto before = [this](const Requester& a, const Requester& b) {
    if (a.held_us != b.held_us) return sweep_falls != 0 ? a.held_us > b.held_us : a.held_us < b.held_us;
    return a.turn < b.turn;
  };
  const auto look = [&] {
    for (Requester& r : known()) {
      if (r.want != 0 && r.turn <= sweep_end && (first == nullptr || before(r, *first))) first = &r;
    }
  };
  look();
  if (first != nullptr || waiting() == 0) return first;
  sweep_end = turns & kTurnMask;
  sweep_falls = sweep_falls == 0 ? 1 : 0;
  look();
  return first;
}

/// How long who has returned it had it, on its way there and back included: so far away it is. Of what cannot be,
/// the nearest that can.
void Sequencer::note_held(Sa& sa, const Lease& lease, Time now) const {
  constexpr std::int64_t kMost = 0xffff;
  const Time lent = lease.ends - config_.skew_guard - std::chrono::microseconds(lease.duration_us);
  const std::int64_t held = std::chrono::duration_cast<std::chrono::microseconds>(now - lent).count();
  for (Requester& r : sa.known()) {
    if (r.lessee == lease.holder)
      r.held_us = static_cast<std::uint64_t>(std::clamp<std::int64_t>(held, 0, kMost)) & 0xffff;
  }
}

}  // namespace testudo::sequence
