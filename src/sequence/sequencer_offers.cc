// SPDX-License-Identifier: Apache-2.0
// The sequencer's offers: numbers that nobody has asked for, to targets whose applications will answer what is
// being forwarded to them. An offer is a shared lease like any other, in the span from now on; it is made only
// while nobody waits, of numbers that the span has to spare, and recalled at once when somebody does.
#include <algorithm>
#include <ranges>

#include "sequence/sequencer.h"

namespace testudo::sequence {
namespace {

constexpr std::ptrdiff_t kOffersInHand = 2;  // of one lessee, which has room for two leases

}  // namespace

void Sequencer::expect(SaId id, NodeId target, Time now, wire::FastOutbox& out) {
  if (!config_.offers) return;
  Sa* sa = find(id);
  if (sa == nullptr || !sa->shared || sa->supplied || sa->waiting() != 0) return;
  Requester* requester = target_of(*sa, target);
  if (requester == nullptr || !offer_due(*sa, *requester, now)) return;
  sa->forget_ended(now);
  const std::uint64_t count = offerable(*sa, *requester);
  if (count == 0 || !has_place(*sa, sa->leases_count)) return;
  requester = target_of(*sa, target);  // it may have moved to the SA's new room
  requester->credit = 0;
  Lease& lease = lend(*sa, requester->lessee, wire::LeaseOffer::kIds | ++offers_, count, now);
  lease.offered = true;
  lease.next_recall = now;
  const auto age = std::chrono::duration_cast<std::chrono::microseconds>(now - requester->seen);
  out.append(target, header(*sa, lease.holder, wire::FastType::kLeaseOffer),
             wire::LeaseOffer{.sa = sa->id,
                              .id = lease.id,
                              .first = lease.first,
                              .count = lease.count,
                              .duration_us = lease.duration_us,
                              .seen = requester->id,
                              .age_us = static_cast<std::uint32_t>(age.count())});
  serve_soon(*sa);
}

/// The lessee at the target, as it is since its last start.
Sequencer::Requester* Sequencer::target_of(Sa& sa, NodeId node) {
  Requester* newest = nullptr;
  for (Requester& r : sa.known()) {
    if (r.lessee.node == node && (newest == nullptr || r.turn > newest->turn)) newest = &r;
  }
  return newest;
}

/// To who has asked lately and has no more than one offer in hand, as often as they were of use.
bool Sequencer::offer_due(const Sa& sa, Requester& requester, Time now) const {
  if (now > requester.seen + config_.offer_memory) return false;
  const auto in_hand = [&](const Lease& l) { return l.offered && !l.returned && l.holder == requester.lessee; };
  if (std::ranges::count_if(sa.live(), in_hand) >= kOffersInHand) return false;
  requester.credit = std::min<unsigned>(kInclined, requester.credit + requester.inclination) & 0xf;
  return requester.credit == kInclined;
}

/// No more than an answer seems to need, a quarter of the span for all offers, and half of it must stay free.
std::uint64_t Sequencer::offerable(const Sa& sa, const Requester& requester) const {
  const std::uint64_t span = span_of(sa), reserved = sa.ceiling.value() + 1 - sa.next.value();
  std::uint64_t offered = 0;
  for (const Lease& lease : sa.live()) offered += lease.offered ? lease.count : 0;
  const std::uint64_t used = sa.leases_count == 0 ? 0 : sa.next.value() - sa.live()[0].first.value();
  const std::uint64_t count = requester.answer;
  return count <= reserved && offered + count <= span / 4 && used + count <= span / 2 ? count : 0;
}

void Sequencer::learn(Sa& sa, const Lease& offer, SeqNo last) const {
  for (Requester& r : sa.known()) {
    if (r.lessee != offer.holder) continue;
    if (last < offer.first) {  // not used
      r.inclination = std::max(1u, r.inclination / 2u) & 0xf;
      continue;
    }
    r.inclination = std::min<unsigned>(kInclined, r.inclination * 2u) & 0xf;
    const std::uint64_t used = last.value() - offer.first.value() + 1;
    const std::uint64_t answer = used < offer.count ? used : used + 1;  // more may have been of use
    r.answer = static_cast<std::uint8_t>(
        std::min<std::uint64_t>(answer, std::min<std::uint16_t>(config_.offer_most, 255)));
  }
}

}  // namespace testudo::sequence
