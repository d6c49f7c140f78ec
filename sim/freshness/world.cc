// SPDX-License-Identifier: Apache-2.0
#include "sim/freshness/world.h"

#include <algorithm>

#include "base/check.h"

namespace testudo::freshness {
namespace {

double microseconds(std::uint32_t ns) { return ns * 1e-3; }

}  // namespace

double bound(const Case& c) {
  const Duration round_trip = c.xcf.least + c.xcf.most;  // mean over hosts and messages
  return c.windows[0] / (static_cast<double>((round_trip + c.guard).count()) * 1e-9);
}

Result run(const Case& c) { return World(c).run(); }

World::World(const Case& c)
    : case_(c),
      traffic_(c.seed * 3),
      network_(c.seed * 3 + 1),
      path_(c.seed * 3 + 2),
      peer_(c, path_),
      numbering_(c.scheme == Scheme::kLeases ? make_leases(c) : make_counter(c)),
      hosts_(c.targets),
      ends_(now_ + Duration(static_cast<std::int64_t>(static_cast<double>(c.packets) / c.rate * 1e9))) {
  CHECK(c.targets > 0 && c.burst > 0 && c.xcf.least + c.xcf.spread <= c.xcf.most);
  for (std::size_t i = 0; i < hosts_.size(); ++i) next_burst(i);
}

Result World::run() {
  while (!events_.empty() && events_.top().when <= ends_) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.when;
    handle(event);
  }
  peer_.receive_until(Time::max());
  return result();
}

void World::handle(const Event& event) {
  Host& host = hosts_[event.host];
  switch (event.kind) {
    case Kind::kBurst:
      next_burst(event.host);
      if (!case_.answers.on) return ready(event.host);
      numbering_->expect(event.host, now_, mails_);
      carry_to_hosts();
      return at(now_ + xcf_delay(event.host) + case_.answers.least +
                    traffic_.uniform(case_.answers.most - case_.answers.least),
                Kind::kReady, event.host);
    case Kind::kReady:
      return ready(event.host);
    case Kind::kTurn:
      if (host.turn_due == now_) turn(event.host);
      return;
    case Kind::kMailToHost:
      host.inbox.push_back(std::move(host.from_source.mails.front()));
      host.from_source.mails.pop_front();
      measured_from_ = std::min(measured_from_, now_);
      return turn_at(event.host, now_);
    case Kind::kMailToSource:
      numbering_->receive_at_source(host.to_source.mails.front(), now_, mails_);
      host.to_source.mails.pop_front();
      return carry_to_hosts();
    case Kind::kSourceTurn:
      if (source_due_ != now_) return;
      numbering_->source_turn(now_, mails_);
      return carry_to_hosts();
  }
}

/// Bursts of all hosts together are `rate` packets a second; when they come is random.
void World::next_burst(std::size_t host) {
  const double mean = 1e9 * case_.burst * case_.targets / case_.rate;
  at(now_ + traffic_.exponential(mean), Kind::kBurst, host);
}

void World::ready(std::size_t index) {
  Host& host = hosts_[index];
  const bool counts = now_ >= measured_from_;
  if (counts) result_.offered += case_.burst;
  const std::uint32_t room = std::min(case_.burst, kWaitMost - host.packets);
  if (counts) result_.overflowed += case_.burst - room;
  if (room == 0) return;
  host.waiting.push_back({Time::max(), room});
  host.packets += room;
  turn_at(index, now_);
}

void World::turn_at(std::size_t index, Time when) {
  Host& host = hosts_[index];
  when = std::max({when, now_, host.busy_until});
  if (when >= host.turn_due) return;
  host.turn_due = when;
  at(when, Kind::kTurn, index);
}

void World::turn(std::size_t index) {
  Host& host = hosts_[index];
  host.turn_due = Time::max();
  peer_.receive_until(now_);
  for (; !host.inbox.empty(); host.inbox.pop_front()) numbering_->receive(host.inbox.front(), now_);
  for (Waiting& waiting : host.waiting) waiting.since = std::min(waiting.since, now_);
  host.busy_until = now_;
  if (host.packets > 0) send_what_waits(index);
  numbering_->end_turn(index, now_, mails_);
  carry_to_source(host.busy_until);
  const Time timer = numbering_->next_turn(index);
  if (timer != Time::max()) turn_at(index, timer);
}

void World::send_what_waits(std::size_t index) {
  Host& host = hosts_[index];
  while (const sequence::Numbers numbers = numbering_->take(index, host.packets, now_)) {
    note_waits(host, numbers.count);
    host.busy_until = send(index, numbers, host.busy_until);
  }
}

/// Train by train. Returns when the last one has left.
Time World::send(std::size_t index, const sequence::Numbers& numbers, Time at) {
  for (std::uint32_t done = 0; done < numbers.count;) {
    const std::uint32_t count = std::min(kTrain, numbers.count - done);
    at += count * kPacketTakes;
    if (numbering_->may_send(index, numbers, at)) {
      peer_.send(index, numbers.first.value() + done, count, at);
      if (now_ >= measured_from_) result_.sent += count;
    } else {
      result_.late += count;
    }
    done += count;
    numbering_->sent(index, SeqNo(numbers.first.value() + done - 1));
  }
  return at;
}

/// The packets at the front have got their numbers.
void World::note_waits(Host& host, std::uint32_t count) {
  host.packets -= count;
  while (count > 0) {
    Waiting& first = host.waiting.front();
    const std::uint32_t part = std::min(count, first.count);
    const auto wait = static_cast<std::uint32_t>((now_ - first.since).count());
    if (first.since >= measured_from_ && waits_.size() < kSamples) waits_.insert(waits_.end(), part, wait);
    count -= part;
    first.count -= part;
    if (first.count == 0) host.waiting.pop_front();
  }
}

Duration World::xcf_delay(std::size_t index) {
  if (case_.owner_sends && index == 0) return Duration(0);
  const XcfDelay& xcf = case_.xcf;
  const Duration own = (xcf.most - xcf.spread - xcf.least) * (2 * index + 1) / (2 * hosts_.size());
  return xcf.least + own + network_.uniform(xcf.spread);
}

/// Each host's messages stay in order, in either direction.
void World::carry(Time when, Link Host::*direction, Kind kind) {
  for (Mail& mail : mails_) {
    Link& link = hosts_[mail.host].*direction;
    link.last = std::max(link.last, when + xcf_delay(mail.host));
    at(link.last, kind, mail.host);
    link.mails.push_back(std::move(mail));
  }
  result_.messages += mails_.size();
  mails_.clear();
}

void World::carry_to_source(Time when) { carry(when, &Host::to_source, Kind::kMailToSource); }

void World::carry_to_hosts() {
  carry(now_, &Host::from_source, Kind::kMailToHost);
  set_source_timer();
}

void World::set_source_timer() {
  const Time due = numbering_->next_source_turn();
  source_due_ = due == Time::max() ? due : std::max(due, now_);
  if (source_due_ != Time::max()) at(source_due_, Kind::kSourceTurn, 0);
}

Result World::result() {
  Result result = result_;
  result.received = peer_.received();
  result.refusals = peer_.refusals();
  result.granted = numbering_->granted();
  result.seconds = static_cast<double>((ends_ - std::min(ends_, measured_from_)).count()) * 1e-9;
  result.beyond_guard =
      static_cast<double>(peer_.beyond_guard()) / static_cast<double>(std::max<std::uint64_t>(1, peer_.received()));
  numbering_->count_offers(result);
  if (waits_.empty()) return result;
  const auto quantile = [this](double share) {
    const auto place = waits_.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(waits_.size() - 1));
    std::nth_element(waits_.begin(), place, waits_.end());
    return microseconds(*place);
  };
  result.wait_p50_us = quantile(0.5);
  result.wait_p99_us = quantile(0.99);
  result.wait_max_us = quantile(1);
  return result;
}

}  // namespace testudo::freshness
