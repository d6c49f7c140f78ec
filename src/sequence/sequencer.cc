// SPDX-License-Identifier: Apache-2.0
#include "sequence/sequencer.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"

namespace testudo::sequence {
namespace {

constexpr std::uint64_t kLastWithEsn = 0xffff'ffff'ffff'0000;  // far out of reach; sums with a count do not wrap

/// For differences only: it wraps.
std::uint32_t milliseconds(Time t) {
  return static_cast<std::uint32_t>(t.time_since_epoch() / std::chrono::milliseconds(1));
}
constexpr std::size_t kRoomsLeast = 64, kSasPerRoom = 16;
constexpr std::size_t kEntriesMax = (wire::kFastDatagramMax - wire::kFastHeaderSize) / wire::LeaseReturn::kSize;

}  // namespace

void Sequencer::Sa::forget_silent(std::uint32_t heard_least) {
  for (Requester& r : known()) {
    if (r.want == 0 || static_cast<std::int32_t>(r.heard - heard_least) >= 0) continue;
    r.want = 0;
    --r.id;  // should it be repeated after all, it is as good as a new one
    r.seen = Time::min();
  }
}

std::uint32_t Sequencer::Sa::waiting() const {
  return static_cast<std::uint32_t>(std::ranges::count_if(known(), [](const Requester& r) { return r.want != 0; }));
}

/// The lessee's entry; a new one takes the place of who was quiet longest. Null: all places are taken by who waits.
Sequencer::Requester* Sequencer::entry_of(Sa& sa, const Lessee& lessee, std::uint64_t request) {
  Requester* quiet = nullptr;
  for (Requester& r : sa.known()) {
    if (r.lessee == lessee) return &r;
    if (r.want == 0 && (quiet == nullptr || r.turn < quiet->turn)) quiet = &r;
  }
  if (has_place(sa, sa.requesters_count)) quiet = sa.known().data() + sa.requesters_count++;
  if (quiet != nullptr) *quiet = {.lessee = lessee, .id = request - 1};
  return quiet;
}

/// For one more than `taken` leases or requesters. Gives the SA room when it needs it.
bool Sequencer::has_place(Sa& sa, std::size_t taken) {
  static_assert(kLeasesMax == kLesseesMax);
  if (sa.room == nullptr && taken == kFew) give_room(sa);
  return taken < (sa.room == nullptr ? kFew : kLeasesMax);
}

void Sequencer::give_room(Sa& sa) {
  if (free_rooms_.empty()) return;
  Room* room = free_rooms_.back();
  free_rooms_.pop_back();
  std::ranges::copy(sa.live(), room->leases.begin());
  std::ranges::copy(sa.known(), room->requesters.begin());
  sa.room = room;
}

/// Once few use it, or nobody. Then only those who asked last are remembered; to the others' requests it makes no
/// difference.
void Sequencer::take_room_back(Sa& sa, Time now) {
  if (sa.room == nullptr || sa.leases_count >= kFew || sa.waiting() != 0) return;
  if (sa.leases_count != 0 && sa.requesters_count > kFew) return;
  if (config_.offers && sa.last_request + config_.offer_memory > now) return;
  std::ranges::copy(sa.live(), sa.few_leases.begin());
  const auto known = sa.known();
  const std::size_t kept = std::min(known.size(), kFew);
  const auto end = known.begin() + static_cast<std::ptrdiff_t>(kept);
  std::ranges::partial_sort(known, end, std::ranges::greater{}, [](const Requester& r) { return r.turn; });
  std::copy(known.begin(), end, sa.few_requesters.begin());
  sa.requesters_count = static_cast<std::uint8_t>(kept);
  free_rooms_.push_back(std::exchange(sa.room, nullptr));
}

void Sequencer::Sa::forget_ended(Time now) {
  const auto all = live();
  const auto ended =
      std::remove_if(all.begin(), all.end(), [now](const Lease& lease) { return lease.ends <= now; });
  leases_count -= static_cast<std::uint8_t>(all.end() - ended);
}

Sequencer::Sequencer(NodeId self, const SequencerConfig& config) : self_(self), config_(config) {
  CHECK(config.exclusive_least > 0 && config.exclusive_least <= config.exclusive_most && config.ceiling_step > 1);
  CHECK(config.shared_parts > 0);
  sas_.reserve(config.sas_max);
  free_.reserve(config.sas_max);
  index_.reserve(config.sas_max);
  timers_.reserve(config.sas_max);
  events_.reserve(2 * config.sas_max);
  free_rooms_.reserve(config.rooms_max);
}

void Sequencer::add_sa(SaId id, const SequencedSa& parameters) {
  CHECK(parameters.first.value() > 0 && !index_.contains(id));
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(sas_.size()));
    sas_.emplace_back();
  }
  if (rooms_.size() < std::min(config_.rooms_max, kRoomsLeast + sas_.size() / kSasPerRoom))
    free_rooms_.push_back(&rooms_.emplace_back());
  const std::uint32_t index = free_.back();
  free_.pop_back();
  index_.emplace(id, index);
  Sa& sa = sas_[index];
  sa = Sa{};
  sa.id = id;
  sa.used = true;
  sa.parameters = {.dvipa = parameters.dvipa, .epoch = parameters.epoch, .peer_window = parameters.peer_window};
  sa.supplied = parameters.supplied;
  sa.next = parameters.first;
  sa.ceiling = SeqNo(parameters.first.value() - 1);
  sa.limit = SeqNo(parameters.esn ? kLastWithEsn : kLastWithoutEsn);
  serve_soon(sa);
}

void Sequencer::remove_sa(SaId id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  const std::uint32_t index = found->second;
  index_.erase(found);
  timers_.clear(index);
  Sa& sa = sas_[index];
  sa.used = false;
  if (sa.room != nullptr) free_rooms_.push_back(std::exchange(sa.room, nullptr));
  free_.push_back(index);
}

void Sequencer::set_ceiling(SaId id, SeqNo last) {
  Sa* sa = find(id);
  if (sa == nullptr || last <= sa->ceiling) return;
  sa->ceiling = std::min(last, sa->limit);
  serve_soon(*sa);
}

void Sequencer::supply(SaId id, const Supply& supply) {
  Sa* sa = find(id);
  if (sa == nullptr) return;
  CHECK(sa->supplied && supply.first >= sa->next && supply.last >= supply.first && supply.last <= sa->limit);
  sa->next = supply.first;
  sa->ceiling = supply.last;
  sa->stop = supply.stop;
  sa->supply_shared = supply.shared;
  serve_soon(*sa);
}

void Sequencer::withdraw(SaId id, Time now, wire::FastOutbox& out) {
  Sa* sa = find(id);
  if (sa == nullptr) return;
  sa->ceiling = SeqNo(sa->next.value() - 1);
  for (Lease& lease : sa->live()) lease.next_recall = std::min(lease.next_recall, now);
  recall_blocking(*sa, now, out);
  serve_soon(*sa);
}

void Sequencer::exhaust(SaId id) {
  Sa* sa = find(id);
  if (sa == nullptr) return;
  sa->limit = sa->ceiling = SeqNo(sa->next.value() - 1);
  serve_soon(*sa);
}

std::uint32_t Sequencer::short_of(SaId id, Time now) const {
  const Sa* sa = find(id);
  if (sa == nullptr || (sa->next <= sa->ceiling && now < sa->stop)) return 0;
  std::uint32_t wanted = 0;
  for (const Requester& requester : sa->known()) wanted += requester.want;
  return wanted;
}

std::optional<SeqNo> Sequencer::lowest_in_use(SaId id, Time now) const {
  const Sa* sa = find(id);
  if (sa == nullptr) return std::nullopt;
  for (const Lease& lease : sa->live()) {
    if (!lease.returned && now < lease.ends) return lease.first;
  }
  return sa->next <= sa->ceiling && now < sa->stop ? std::optional(sa->next) : std::nullopt;
}

const Sequencer::Sa* Sequencer::find(SaId id) const {
  const auto found = index_.find(id);
  return found == index_.end() ? nullptr : &sas_[found->second];
}

Sequencer::Sa* Sequencer::find(SaId id) { return const_cast<Sa*>(std::as_const(*this).find(id)); }

/// Those of the message's SAs that are here, under its epoch; the others are null. Of many SAs most are in no
/// cache: all are asked for before the first is looked at.
std::size_t Sequencer::find_all(const wire::FastMessage& message, std::span<Sa*> found) {
  const bool requests = message.header().type == wire::FastType::kLeaseRequest;
  const std::size_t count = std::min(message.count(), found.size());
  for (std::size_t i = 0; i < count; ++i) {
    found[i] = find(requests ? message.entry<wire::LeaseRequest>(i).sa : message.entry<wire::LeaseReturn>(i).sa);
    if (found[i] == nullptr) continue;
    found[i]->prefetch();
    timers_.prefetch(index_of(*found[i]));
  }
  return count;
}

void Sequencer::receive(const wire::FastMessage& message, Time now, wire::FastOutbox& out) {
  const wire::FastHeader& head = message.header();
  const bool requests = head.type == wire::FastType::kLeaseRequest;
  if (!requests && head.type != wire::FastType::kLeaseReturn) return;
  const Lessee lessee{head.sender, head.incarnation};
  std::array<Sa*, kEntriesMax> found;
  const std::size_t count = find_all(message, found);
  for (std::size_t i = 0; i < count; ++i) {
    Sa* sa = found[i];
    if (sa == nullptr || sa->parameters.epoch != head.epoch || sa->parameters.dvipa != head.dvipa) continue;
    if (requests) {
      on_request(*sa, lessee, message.entry<wire::LeaseRequest>(i), now, out);
    } else {
      const auto back = message.entry<wire::LeaseReturn>(i);
      on_return(*sa, lessee, back.id, back.last, now);
    }
  }
}

void Sequencer::on_request(Sa& sa, const Lessee& lessee, const wire::LeaseRequest& request, Time now,
                           wire::FastOutbox& out) {
  if (request.returned != 0) on_return(sa, lessee, request.returned, request.last, now);
  Requester* requester = entry_of(sa, lessee, request.id);
  if (requester == nullptr || request.id < requester->id) return;
  requester->heard = milliseconds(now);
  if (request.id == requester->id) {
    sa.forget_ended(now);
    return on_repetition(sa, *requester, out);
  }
  requester->id = request.id;
  requester->seen = now;
  if (requester->want == 0) requester->turn = ++sa.turns & kTurnMask;  // who already waits keeps the place
  requester->want = request.want;
  choose_mode(sa, lessee, now);
  serve_soon(sa);
}

/// The same grant again while it lives. It waits, or it is over (its lessee will ask anew): nothing.
void Sequencer::on_repetition(const Sa& sa, const Requester& requester, wire::FastOutbox& out) const {
  if (requester.want != 0) return;
  if (sa.next > sa.limit) return send_exhausted(sa, requester, out);
  for (const Lease& lease : sa.live()) {
    if (lease.holder == requester.lessee && lease.id == requester.id && !lease.returned) send_grant(sa, lease, out);
  }
}

void Sequencer::on_return(Sa& sa, const Lessee& lessee, std::uint64_t id, SeqNo last, Time now) {
  for (Lease& lease : sa.live()) {
    if (lease.holder != lessee || lease.id != id || lease.returned) continue;
    if (lease.offered) learn(sa, lease, last);
    note_held(sa, lease, now);
    lease.returned = true;
    lease.ends = std::min(lease.ends, now + config_.skew_guard);
    serve_soon(sa);
  }
}

void Sequencer::choose_mode(Sa& sa, const Lessee& lessee, Time now) const {
  const bool recent = now < sa.last_request + config_.sharing_time;
  sa.last_request = now;
  if (lessee != sa.last_requester) {
    sa.shared = recent;
    sa.last_requester = lessee;
    sa.last_change = now;
  } else if (now >= sa.last_change + config_.sharing_time && sa.waiting() == 1) {
    sa.shared = false;
  }
}

void Sequencer::tick(Time now, wire::FastOutbox& out) {
  while (timers_.earliest() <= now) serve(sas_[timers_.pop()], now, out);
}

void Sequencer::serve(Sa& sa, Time now, wire::FastOutbox& out) {
  sa.forget_ended(now);
  if (now >= sa.stop) sa.ceiling = SeqNo(sa.next.value() - 1);
  sa.forget_silent(milliseconds(now - config_.request_life));
  Requester* requester = sa.next_waiting();
  while (requester != nullptr) {
    if (sa.next > sa.limit) {
      send_exhausted(sa, *requester, out);
      requester->want = 0;
    } else if (const std::uint64_t count = grantable(sa, *requester);
               count != 0 && has_place(sa, sa.leases_count)) {
      grant(sa, *sa.next_waiting(), count, now, out);  // it may have moved to the SA's new room
    } else {
      break;
    }
    requester = sa.next_waiting();
  }
  if (requester != nullptr && sa.next <= sa.ceiling) recall_blocking(sa, now, out);
  take_room_back(sa, now);
  emit_events(sa, now);
  set_timer(sa, now);
}

/// How many numbers who is served next gets now; 0: must wait.
std::uint64_t Sequencer::grantable(const Sa& sa, const Requester& requester) const {
  const std::uint64_t reserved = sa.ceiling.value() + 1 - sa.next.value();
  return std::min(reserved, sa.shared ? grantable_shared(sa, requester) : grantable_exclusive(sa, requester));
}

std::uint64_t Sequencer::grantable_exclusive(const Sa& sa, const Requester& requester) const {
  for (const Lease& lease : sa.live()) {
    if (lease.holder != requester.lessee) return 0;
  }
  return std::clamp(requester.want, config_.exclusive_least, config_.exclusive_most);
}

/// A fair share of the span, and no crumbs of it while more will be free soon. The span is freed in order, so that
/// each lease in it waits for the slowest one before it: a few large ones let it move faster than many small ones.
std::uint64_t Sequencer::grantable_shared(const Sa& sa, const Requester& requester) const {
  const std::uint64_t span = span_of(sa);
  const std::uint64_t used = sa.leases_count == 0 ? 0 : sa.next.value() - sa.live()[0].first.value();
  if (used >= span) return 0;
  const std::uint64_t share = std::max<std::uint64_t>(1, span / std::min(sa.waiting(), config_.shared_parts));
  const std::uint64_t count = std::min<std::uint64_t>(requester.want, share);
  const std::uint64_t least = std::min(count, std::max<std::uint64_t>(1, share / config_.shared_parts));
  return span - used < least ? 0 : std::min(count, span - used);
}

/// The most numbers from the oldest that is out to the newest, in shared mode.
std::uint64_t Sequencer::span_of(const Sa& sa) const {
  const std::uint32_t window = sa.parameters.peer_window;
  return window > config_.shared_margin ? window - config_.shared_margin : 1;
}

void Sequencer::grant(Sa& sa, Requester& requester, std::uint64_t count, Time now, wire::FastOutbox& out) {
  requester.want = 0;
  send_grant(sa, lend(sa, requester.lessee, requester.id, count, now), out);
}

Sequencer::Lease& Sequencer::lend(Sa& sa, const Lessee& holder, std::uint64_t id, std::uint64_t count, Time now) {
  const SeqNo last(sa.next.value() + count - 1);
  CHECK(count > 0 && count <= 0xffff && last <= sa.ceiling && last <= sa.limit);
  Lease& lease = sa.live().data()[sa.leases_count++];  // the caller has seen to its place
  const Duration duration =
      sa.stop == Time::max() ? config_.lease_duration : std::min(config_.lease_duration, sa.stop - now);
  lease = {.holder = holder,
           .id = id,
           .first = sa.next,
           .duration_us =
               static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(duration).count()),
           .count = static_cast<std::uint16_t>(count),
           .shared = sa.shared || sa.supply_shared,
           .next_recall = sa.shared ? now + config_.recall_after : now,
           .ends = now + duration + config_.skew_guard};
  sa.next = SeqNo(last.value() + 1);
  return lease;
}

/// Asks for the leases that keep others waiting: exclusive ones at once, shared ones when their return seems to be
/// lost.
void Sequencer::recall_blocking(Sa& sa, Time now, wire::FastOutbox& out) {
  for (Lease& lease : sa.live()) {
    if (lease.returned || now < lease.next_recall) continue;
    out.append(lease.holder.node, header(sa, lease.holder, wire::FastType::kLeaseRecall),
               wire::LeaseRecall{.sa = sa.id, .id = lease.id});
    lease.next_recall = now + config_.recall_retry * (1 << std::min<int>(lease.recalls, 4));
    ++lease.recalls;
  }
}

void Sequencer::send_grant(const Sa& sa, const Lease& lease, wire::FastOutbox& out) const {
  out.append(lease.holder.node, header(sa, lease.holder, wire::FastType::kLeaseGrant),
             wire::LeaseGrant{.sa = sa.id,
                              .id = lease.id,
                              .first = lease.first,
                              .count = lease.count,
                              .duration_us = lease.duration_us,
                              .shared = lease.shared});
}

void Sequencer::send_exhausted(const Sa& sa, const Requester& requester, wire::FastOutbox& out) const {
  out.append(requester.lessee.node, header(sa, requester.lessee, wire::FastType::kLeaseGrant),
             wire::LeaseGrant{.sa = sa.id, .id = requester.id, .first = SeqNo()});
}

wire::FastHeader Sequencer::header(const Sa& sa, const Lessee& to, wire::FastType type) const {
  return {.type = type,
          .sender = self_,
          .incarnation = to.incarnation,
          .dvipa = sa.parameters.dvipa,
          .epoch = sa.parameters.epoch};
}

bool Sequencer::emit(const SequencerEvent& event) {
  if (events_.size() == events_.capacity()) return false;
  events_.push_back(event);
  return true;
}

void Sequencer::emit_events(Sa& sa, Time now) {
  if (sa.supplied) return;
  const std::uint64_t reserved = sa.ceiling.value() + 1 - sa.next.value();
  const bool low = sa.ceiling < sa.limit && reserved < config_.ceiling_step / 2;
  const bool asked = sa.ceiling_wanted > sa.ceiling && now < sa.ceiling_asked + config_.ceiling_retry;
  if (low && !asked) {
    const std::uint64_t step = std::min(config_.ceiling_step, sa.limit.value() - sa.ceiling.value());
    const SeqNo wanted(sa.ceiling.value() + step);
    sa.ceiling_asked = now;
    if (emit({SequencerEvent::Kind::kNeedCeiling, sa.id, wanted})) sa.ceiling_wanted = wanted;
  }
  if (!sa.near_exhaustion_told && sa.next.value() > sa.limit.value() - sa.limit.value() / 8) {
    sa.near_exhaustion_told = emit({SequencerEvent::Kind::kNearExhaustion, sa.id, sa.next});
  }
}

void Sequencer::set_timer(const Sa& sa, Time now) {
  Time when = Time::max();
  const bool reserving =
      !sa.supplied && sa.ceiling < sa.limit && sa.ceiling.value() + 1 - sa.next.value() < config_.ceiling_step / 2;
  if (reserving) when = sa.ceiling_asked + config_.ceiling_retry;
  if (sa.waiting() != 0 && sa.next <= sa.ceiling) {  // else only a ceiling helps
    for (const Lease& lease : sa.live()) {
      when = std::min(when, lease.ends);
      if (!lease.returned) when = std::min(when, lease.next_recall);
    }
  }
  if (sa.room != nullptr && sa.leases_count != 0)  // then it may be given back
    when = std::min(when, std::ranges::max(sa.live(), {}, &Lease::ends).ends);
  if (sa.room != nullptr && sa.leases_count == 0) when = std::min(when, sa.last_request + config_.offer_memory);
  timers_.set(index_of(sa), when == Time::max() ? when : std::max(when, now + Duration(1)));
}

void Sequencer::clear_events(std::size_t count) {
  events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(std::min(count, events_.size())));
}

std::optional<SeqNo> Sequencer::last_granted(SaId id) const {
  const Sa* sa = find(id);
  if (sa == nullptr || sa->next.value() <= 1) return std::nullopt;
  return SeqNo(sa->next.value() - 1);
}

void Sequencer::list(std::vector<SequencerInfo>& out) const {
  const std::size_t before = out.size();
  for (const Sa& sa : sas_) {
    if (!sa.used) continue;
    out.push_back({sa.id, sa.shared, sa.leases_count, sa.waiting(), sa.next, sa.ceiling});
  }
  std::sort(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(),
            [](const SequencerInfo& a, const SequencerInfo& b) { return a.sa < b.sa; });
}

}  // namespace testudo::sequence
