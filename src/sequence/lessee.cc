// SPDX-License-Identifier: Apache-2.0
#include "sequence/lessee.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::sequence {
namespace {

constexpr std::uint64_t kWantMax = 0xffff;  // what a request can say

}  // namespace

std::uint64_t Lessee::Lease::left(Time now) const {
  return id == 0 || stopped || now >= stop ? 0 : last.value() + 1 - next.value();
}

void Lessee::Sa::end(Lease& lease) {
  if (&lease == leases.data()) leases[0] = leases[1];
  leases[1] = {};
}

void Lessee::Sa::tell(std::uint64_t lease, SeqNo last) {
  const auto known = std::span(returns).first(returns_count);
  if (std::ranges::any_of(known, [lease](const wire::LeaseReturn& r) { return r.id == lease; })) return;
  if (returns_count == kReturnsMax) return;  // the sequencer will ask
  returns[returns_count++] = {.sa = id, .id = lease, .last = last};
}

void Lessee::Sa::settle() {
  for (std::size_t i = leases.size(); i-- > 0;) {
    Lease& lease = leases[i];
    const bool over = lease.stopped || lease.next > lease.last;
    if (lease.id == 0 || !over || !lease.settled()) continue;
    tell(lease.id, lease.used() ? lease.sent : SeqNo());
    end(lease);
  }
}

Lessee::Lessee(NodeId self, std::uint32_t incarnation, const LesseeConfig& config)
    : self_(self), incarnation_(incarnation), config_(config) {
  CHECK(config.margin_divisor > 0);
  sas_.reserve(config.sas_max);
  free_.reserve(config.sas_max);
  index_.reserve(config.sas_max);
  timers_.reserve(config.sas_max);
  touched_.reserve(config.sas_max);
  granted_.reserve(config.sas_max);
}

void Lessee::add_sa(SaId id, const LeasedSa& parameters) {
  CHECK(!index_.contains(id));
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(sas_.size()));
    sas_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  index_.emplace(id, index);
  Sa& sa = sas_[index];
  const bool queued = sa.queued;
  sa = Sa{};
  sa.id = id;
  sa.present = true;
  sa.queued = queued;
  sa.parameters = parameters;
}

void Lessee::remove_sa(SaId id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  const std::uint32_t index = found->second;
  index_.erase(found);
  timers_.clear(index);
  std::erase(granted_, id);
  sas_[index].present = false;
  free_.push_back(index);
}

void Lessee::set_owner(IpAddress dvipa, Epoch epoch, NodeId owner) {
  for (Sa& sa : sas_) {
    if (sa.present && sa.parameters.dvipa == dvipa) follow(sa, epoch, owner);
  }
}

void Lessee::set_owner(SaId id, Epoch epoch, NodeId owner) {
  if (Sa* sa = find(id)) follow(*sa, epoch, owner);
}

void Lessee::follow(Sa& sa, Epoch epoch, NodeId owner) {
  if (sa.parameters.epoch == epoch) return;
  sa.parameters.epoch = epoch;
  sa.parameters.owner = owner;
  sa.request = {};
  sa.leases = {};
  sa.returns_count = 0;
  sa.ahead = 0;
  sa.exhausted = false;
  sa.asked = sa.last_offer = 0;
  touch(sa);
}

Lessee::Sa* Lessee::find(SaId id) {
  const auto found = index_.find(id);
  return found == index_.end() ? nullptr : &sas_[found->second];
}

/// The SA, when the message is its owner's, of its epoch, and to this incarnation of this worker.
Lessee::Sa* Lessee::find(SaId id, const wire::FastHeader& header) {
  Sa* sa = header.incarnation == incarnation_ ? find(id) : nullptr;
  if (sa == nullptr) return nullptr;
  const LeasedSa& p = sa->parameters;
  return p.owner == header.sender && p.epoch == header.epoch && p.dvipa == header.dvipa ? sa : nullptr;
}

void Lessee::touch(Sa& sa) {
  if (sa.queued) return;
  sa.queued = true;
  touched_.push_back(static_cast<std::uint32_t>(&sa - sas_.data()));
}

void Lessee::tell_granted(Sa& sa) {
  if (sa.told) return;
  sa.told = true;
  granted_.push_back(sa.id);
}

Numbers Lessee::take(SaId id, std::uint32_t want, Time now) {
  Sa* sa = find(id);
  if (sa == nullptr) return {};
  touch(*sa);
  sa->want = sa->exhausted ? 0 : want;
  for (Lease& lease : sa->leases) {
    const std::uint64_t count = std::min<std::uint64_t>(want, lease.left(now));
    if (count == 0) continue;
    const Numbers numbers{.first = lease.next,
                          .count = static_cast<std::uint32_t>(count),
                          .stop = lease.stop,
                          .shared = lease.shared};
    lease.next = SeqNo(lease.next.value() + count);
    sa->want -= numbers.count;
    sa->ahead = wanted_ahead(*sa, lease, now);
    return numbers;
  }
  return {};
}

void Lessee::sent(SaId id, SeqNo last) {
  Sa* sa = find(id);
  if (sa == nullptr) return;
  for (Lease& lease : sa->leases) {
    if (lease.id == 0 || last < lease.first) continue;
    const SeqNo taken(lease.next.value() - 1);
    lease.sent = std::max(lease.sent, std::min(last, taken));
  }
  touch(*sa);
}

bool Lessee::exhausted(SaId id) const {
  const auto found = index_.find(id);
  return found != index_.end() && sas_[found->second].exhausted;
}

void Lessee::forget_want(SaId id) {
  if (Sa* sa = find(id)) sa->want = 0;
}

void Lessee::receive(const wire::FastMessage& message, Time now) {
  const wire::FastHeader& head = message.header();
  for (std::size_t i = 0; i < message.count(); ++i) {
    if (head.type == wire::FastType::kLeaseGrant) {
      const auto grant = message.entry<wire::LeaseGrant>(i);
      if (Sa* sa = find(grant.sa, head)) on_grant(*sa, grant, now);
    } else if (head.type == wire::FastType::kLeaseOffer) {
      const auto offer = message.entry<wire::LeaseOffer>(i);
      if (Sa* sa = find(offer.sa, head)) on_offer(*sa, offer, now);
    } else if (head.type == wire::FastType::kLeaseRecall) {
      const auto recall = message.entry<wire::LeaseRecall>(i);
      if (Sa* sa = find(recall.sa, head)) on_recall(*sa, recall.id);
    }
  }
}

Duration Lessee::usable_of(std::uint32_t duration_us) const {
  const Duration duration = std::chrono::microseconds(duration_us);
  return duration - duration / config_.margin_divisor;
}

/// Only the answer to the one request that is out; a late or repeated grant speaks of numbers that may be used
/// already.
void Lessee::on_grant(Sa& sa, const wire::LeaseGrant& grant, Time now) {
  if (grant.id != sa.request.id || sa.leases[1].id != 0) return;
  const Time asked = sa.request.sent_first;
  sa.request = {};
  touch(sa);
  tell_granted(sa);
  if (grant.count == 0) {
    sa.exhausted = true;
    sa.want = 0;
    return;
  }
  if (grant.first <= sa.highest) return sa.tell(grant.id, SeqNo());  // numbers only rise: an offer was faster
  const Duration usable = usable_of(grant.duration_us);
  sa.highest = SeqNo(grant.first.value() + grant.count - 1);
  sa.size = grant.count;
  Lease& lease = sa.leases[sa.leases[0].id == 0 ? 0 : 1];
  lease = {.id = grant.id,
           .first = grant.first,
           .next = grant.first,
           .last = sa.highest,
           .sent = SeqNo(grant.first.value() - 1),
           .renew = grant.shared ? asked : asked + usable - usable / 4,
           .stop = asked + usable,
           .shared = grant.shared,
           .stopped = now >= asked + usable};
}

/// The sequencer has lent these numbers `age` after it had seen our request, so not before we had sent that and as
/// much had passed: by our clock, at least `age` less what clocks may differ. What does not fit is given back at
/// once. A late or repeated offer speaks of numbers that may be used already, or that the sequencer has recalled.
void Lessee::on_offer(Sa& sa, const wire::LeaseOffer& offer, Time now) {
  if (std::ranges::any_of(sa.leases, [&](const Lease& lease) { return lease.id == offer.id; })) return;
  touch(sa);
  const Duration age = std::chrono::microseconds(offer.age_us);
  const Time begun = std::min(now, sa.asked_at + age - age / config_.drift_divisor);
  const Time stop = begun + usable_of(offer.duration_us);
  const bool fresh = offer.id > sa.last_offer && offer.first > sa.highest && offer.seen == sa.asked;
  const bool room = sa.leases[1].id == 0 && (sa.request.id == 0 || sa.leases[0].id == 0);  // for a grant as well
  sa.last_offer = std::max(sa.last_offer, offer.id);
  if (!fresh || !room || sa.exhausted || now + config_.offer_patience >= stop) return sa.tell(offer.id, SeqNo());
  tell_granted(sa);
  sa.highest = SeqNo(offer.first.value() + offer.count - 1);
  sa.leases[sa.leases[0].id == 0 ? 0 : 1] = {.id = offer.id,
                                             .first = offer.first,
                                             .next = offer.first,
                                             .last = sa.highest,
                                             .sent = SeqNo(offer.first.value() - 1),
                                             .renew = now + config_.offer_patience,
                                             .stop = stop,
                                             .shared = true};
}

void Lessee::on_recall(Sa& sa, std::uint64_t id) {
  touch(sa);
  sa.ahead = 0;
  if ((id & wire::LeaseOffer::kIds) != 0)
    sa.last_offer = std::max(sa.last_offer, id);  // it may be still on its way
  for (Lease& lease : sa.leases) {
    if (lease.id != id) continue;
    lease.stopped = true;  // its return waits for the packets that are on their way out
    return;
  }
  if (sa.request.id == id) sa.request = {};  // its grant is lost or late: not to be used when it comes after all
  sa.tell(id, SeqNo());
}

void Lessee::poll(Time now, wire::FastOutbox& out) {
  for (const SaId id : granted_) {
    if (Sa* sa = find(id)) sa->told = false;
  }
  granted_.clear();
  while (timers_.earliest() <= now) touch(sas_[timers_.pop()]);
  for (const std::uint32_t index : touched_) {
    sas_[index].queued = false;
    if (sas_[index].present) poll_sa(sas_[index], now, out);
  }
  touched_.clear();
}

void Lessee::poll_sa(Sa& sa, Time now, wire::FastOutbox& out) {
  Time when = end_what_is_over(sa, now);
  if (request_due(sa, now)) send_request(sa, out);
  send_returns(sa, out);
  sa.ahead = 0;
  if (sa.request.id != 0 && sa.want > sa.left(now)) when = std::min(when, sa.request.resend);
  timers_.set(static_cast<std::uint32_t>(&sa - sas_.data()), when);
}

/// Stops leases that are too old, and shared ones that nobody here needs. Returns when to look again.
Time Lessee::end_what_is_over(Sa& sa, Time now) {
  Time again = Time::max();
  for (Lease& lease : sa.leases) {
    if (lease.id == 0) continue;
    if (now >= lease.stop) lease.stopped = true;
    const bool kept = !lease.used() && (!lease.idle || now < lease.renew);
    if (lease.shared && sa.want == 0 && lease.settled() && !kept) lease.stopped = true;
    if (lease.shared && kept && !lease.stopped) again = std::min(again, std::max(now + Duration(1), lease.renew));
    lease.idle = true;
  }
  sa.settle();
  for (std::size_t i = sa.leases.size(); i-- > 0;) {
    // Its packets were not sent in time and must not be sent now; the sequencer's deadline ends it.
    if (sa.leases[i].id != 0 && now >= sa.leases[i].stop) sa.end(sa.leases[i]);
  }
  return again;
}

/// In exclusive mode: more while leases are used up; as much as was used when one that is in use nears its end.
std::uint32_t Lessee::wanted_ahead(const Sa& sa, const Lease& lease, Time now) {
  if (lease.shared) return 0;
  if (sa.left(now) * 2 < sa.size) return sa.size * 2;
  return now < lease.renew ? 0 : static_cast<std::uint32_t>(lease.next.value() - lease.first.value());
}

/// How many numbers to ask for: what packets wait for, and what will be needed soon.
std::uint64_t Lessee::wanted(const Sa& sa, Time now) {
  const std::uint64_t left = sa.left(now);
  const std::uint64_t missing = sa.want > left ? sa.want - left : 0;
  return std::max<std::uint64_t>(missing, sa.ahead);
}

/// A new request, or the repetition of the one that is out.
bool Lessee::request_due(Sa& sa, Time now) {
  if (sa.leases[1].id != 0 || sa.exhausted) return false;
  const std::uint64_t want = wanted(sa, now);
  if (want == 0) return false;
  Request& request = sa.request;
  if (request.id != 0 && now < request.sent_first + config_.request_life) {
    if (now < request.resend) return false;
    request.backoff = std::min(request.backoff * 2, config_.resend_most);
  } else {
    sa.asked = ++requests_;
    sa.asked_at = now;
    request = {.id = requests_,
               .want = static_cast<std::uint16_t>(std::min(want, kWantMax)),
               .sent_first = now,
               .resend = now,
               .backoff = config_.resend_first};
  }
  request.resend = now + request.backoff;
  return true;
}

void Lessee::send_request(Sa& sa, wire::FastOutbox& out) const {
  wire::LeaseRequest entry{
      .sa = sa.id, .id = sa.request.id, .want = sa.request.want, .returned = 0, .last = SeqNo()};
  if (sa.returns_count != 0) {
    const wire::LeaseReturn& back = sa.returns[--sa.returns_count];
    entry.returned = back.id;
    entry.last = back.last;
  }
  out.append(sa.parameters.owner, header(sa, wire::LeaseRequest::kType), entry);
}

void Lessee::send_returns(Sa& sa, wire::FastOutbox& out) const {
  for (std::uint32_t i = 0; i < sa.returns_count; ++i) {
    out.append(sa.parameters.owner, header(sa, wire::LeaseReturn::kType), sa.returns[i]);
  }
  sa.returns_count = 0;
}

wire::FastHeader Lessee::header(const Sa& sa, wire::FastType type) const {
  return {.type = type,
          .sender = self_,
          .incarnation = incarnation_,
          .dvipa = sa.parameters.dvipa,
          .epoch = sa.parameters.epoch};
}

}  // namespace testudo::sequence
