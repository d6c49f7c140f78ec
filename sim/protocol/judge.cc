// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/judge.h"

#include <fmt/format.h>

namespace testudo::sim::protocol {
namespace {

constexpr std::size_t kViolationsMost = 5;

}  // namespace

void Judge::fail(const std::string& what) {
  transcript_.line("judge", "VIOLATION: " + what);
  if (violations_.size() < kViolationsMost) violations_.push_back(what);
}

void Judge::granted(const wire::LeaseGrant& grant, Epoch epoch, std::uint32_t incarnation, SeqNo ceiling) {
  if (grant.count == 0) return;
  Outbound& sa = outbound_[grant.sa];
  const SeqNo first = grant.first, last(first.value() + grant.count - 1);
  const auto next = sa.ranges.lower_bound(first);
  if (next != sa.ranges.end() && next->second.first <= last) {
    const Range& r = next->second;
    const bool repeated = next->first == last && r.first == first && r.id == grant.id &&
                          r.incarnation == incarnation && r.epoch == epoch;
    if (!repeated)
      fail(fmt::format("SA {}: {} to {} are granted twice", grant.sa.value(), first.value(), last.value()));
    return;
  }
  if (last > ceiling) {
    fail(fmt::format("SA {}: {} is granted, the ceiling is {}", grant.sa.value(), last.value(), ceiling.value()));
  }
  if (!plan_.esn && last.value() > sequence::kLastWithoutEsn) fail(fmt::format("{} is granted", last.value()));
  sa.ranges[last] = {.first = first, .id = grant.id, .incarnation = incarnation, .epoch = epoch, .at = time_.now()};
  ++figures_.grants;
  if (grant.shared) ++figures_.shared;
}

void Judge::sent(SaId id, SeqNo number, SeqNo ceiling) {
  Outbound& sa = outbound_[id];
  ++figures_.sent;
  if (!sa.sent.emplace(number.value(), time_.now()).second) {
    fail(fmt::format("SA {}: {} is sent twice", id.value(), number.value()));
  }
  if (number > ceiling) fail(fmt::format("SA {}: {} is sent, above the ceiling", id.value(), number.value()));
  if (range_of(sa, number) == nullptr) fail(fmt::format("SA {}: nobody granted {}", id.value(), number.value()));
}

// RFC 4303 section 3.4.3: a receiver refuses what lies behind its window.
void Judge::reaches_peer(SaId id, SeqNo number) {
  Outbound& sa = outbound_[id];
  if (number.value() + plan_.peer_window <= sa.top.value()) {
    if (is_excused(sa, number)) {
      ++figures_.excused;
    } else {
      fail(fmt::format("SA {}: the peer refuses {}, it has seen {}", id.value(), number.value(), sa.top.value()));
    }
  }
  sa.top = std::max(sa.top, number);
}

const Judge::Range* Judge::range_of(const Outbound& sa, SeqNo number) const {
  const auto found = sa.ranges.lower_bound(number);
  return found == sa.ranges.end() || found->second.first > number ? nullptr : &found->second;
}

/// Hand-out is not to blame: the path has turned them round; or its holder was away past the sequencer's deadline;
/// or numbers of a later owner, who begins far ahead, were first.
bool Judge::is_excused(const Outbound& sa, SeqNo number) const {
  const Range* range = range_of(sa, number);
  const Range* top = range_of(sa, sa.top);
  if (range == nullptr || top == nullptr) return false;  // said elsewhere
  if (!plan_.path_within_guard || range->excused || range->epoch < top->epoch) return true;
  const Duration lease = plan_.sequencer.lease_duration;
  return sa.sent.at(number.value()) - range->at >= lease - lease / 20;  // by a clock that is 5 % fast
}

void Judge::sequencer_jumped() {
  for (auto& [id, sa] : outbound_) {
    for (auto& [last, range] : sa.ranges) range.excused = true;
  }
}

void Judge::accepted(SaId id, SeqNo number, bool genuine, const std::string& who) {
  Inbound& sa = inbound_[id];
  ++figures_.accepted;
  const auto [before, fresh] = sa.accepted.emplace(number.value(), who);
  if (!fresh) {
    fail(
        fmt::format("SA {}: {} is accepted by {}, and was by {}", id.value(), number.value(), who, before->second));
  }
  if (!genuine) fail(fmt::format("SA {}: {} is accepted by {} and was forged", id.value(), number.value(), who));
}

bool Judge::was_accepted(SaId id, SeqNo number) const {
  const auto sa = inbound_.find(id);
  return sa != inbound_.end() && sa->second.accepted.contains(number.value());
}

void Judge::receives(SaId id, Epoch epoch, bool open) {
  Inbound& sa = inbound_[id];
  if (epoch < sa.epoch) return;  // a stale owner
  if (!sa.open && open) fail(fmt::format("SA {} was closed, and is opened again", id.value()));
  if (epoch > sa.epoch && sa.epoch != Epoch() && open) ++figures_.handovers;
  if (sa.open && !open) ++figures_.closed;
  sa.epoch = epoch;
  sa.open = open;
}

void Judge::honours(NodeId host, std::uint32_t life, Epoch epoch, const char* what) {
  Epoch& highest = honoured_[{host, life}];
  if (epoch < highest) {
    fail(fmt::format("host {} honours a {} of epoch {} after epoch {}", host.value(), what, epoch.value(),
                     highest.value()));
  }
  highest = std::max(highest, epoch);
}

}  // namespace testudo::sim::protocol
