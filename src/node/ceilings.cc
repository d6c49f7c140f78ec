// SPDX-License-Identifier: Apache-2.0
#include "node/ceilings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace testudo::node {
namespace {

constexpr Duration kRetry = 250ms;

SeqNo parse_number(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return SeqNo(value);
}

}  // namespace

Ceilings::Ceilings(facility::Facility& facility, Executor& executor, std::string prefix,
                   std::function<std::string(IpAddress)> owner_key, Reserved reserved,
                   std::function<void(const std::string&)> note)
    : facility_(facility),
      executor_(executor),
      prefix_(std::move(prefix)),
      owner_key_(std::move(owner_key)),
      reserved_(std::move(reserved)),
      note_(std::move(note)) {}

Ceilings::~Ceilings() { *alive_ = false; }

std::string Ceilings::key(SaId sa) const { return fmt::format("{}ceiling/{:016x}", prefix_, sa.value()); }

std::size_t Ceilings::waiting() const {
  return static_cast<std::size_t>(
      std::count_if(ceilings_.begin(), ceilings_.end(), [](const auto& c) { return c.second.under_way; }));
}

void Ceilings::reserve(const Request& request) {
  Ceiling& ceiling = ceilings_[request.sa];
  if (request.last <= ceiling.done) return reserved_(request.sa, ceiling.done);
  ceiling.request = request;
  if (!ceiling.under_way) write(request.sa);
}

void Ceilings::write(SaId sa) {
  const auto found = ceilings_.find(sa);
  if (found == ceilings_.end()) return;
  Ceiling& ceiling = found->second;
  ceiling.under_way = true;
  const SeqNo last = ceiling.request.last;
  facility_.compare_and_set({.key = key(sa),
                             .expected = ceiling.revision,
                             .value = std::to_string(last.value()),
                             .with_session = false,
                             .fence_key = owner_key_(ceiling.request.dvipa),
                             .fence_created = facility::Revision(ceiling.request.epoch.value())},
                            [this, sa, last, alive = alive_](Result<facility::CasOutcome> outcome) {
                              if (*alive) answered(sa, last, outcome);
                            });
}

void Ceilings::answered(SaId sa, SeqNo last, const Result<facility::CasOutcome>& outcome) {
  const auto found = ceilings_.find(sa);
  if (found == ceilings_.end()) {  // deleted meanwhile: so is the key that was just written
    if (outcome && outcome->done) facility_.remove(key(sa), outcome->revision, [](auto) {});
    return;
  }
  Ceiling& ceiling = found->second;
  if (!outcome) {
    if (!ceiling.noted) {
      note_(fmt::format(
          "sequence numbers of SA {:016x} cannot be set aside now ({}): sending goes on within what is set "
          "aside already",
          sa.value(), outcome.error().message));
    }
    ceiling.noted = true;
    return later(sa);
  }
  if (!outcome->done) {
    if (!outcome->current || outcome->current->modified == ceiling.revision) {
      note_(fmt::format("the ownership under which SA {:016x} was sequenced is over: no more numbers", sa.value()));
      ceilings_.erase(found);
      return;
    }
    // An answer to an earlier write was lost: go on from what it left.
    ceiling.revision = outcome->current->modified;
    ceiling.request.last = std::max(ceiling.request.last, parse_number(outcome->current->value));
    return write(sa);
  }
  ceiling.noted = false;
  ceiling.under_way = false;
  ceiling.revision = outcome->revision;
  ceiling.done = last;
  reserved_(sa, last);
  const auto again = ceilings_.find(sa);
  if (again != ceilings_.end() && again->second.request.last > again->second.done) write(sa);
}

void Ceilings::later(SaId sa) {
  executor_.run_after(kRetry, [this, sa, alive = alive_] {
    if (*alive) write(sa);
  });
}

void Ceilings::forget(SaId sa) {
  const auto found = ceilings_.find(sa);
  if (found == ceilings_.end()) return;
  const facility::Revision revision = found->second.revision;
  ceilings_.erase(found);
  if (revision != facility::Revision(0)) facility_.remove(key(sa), revision, [](auto) {});
}

}  // namespace testudo::node
