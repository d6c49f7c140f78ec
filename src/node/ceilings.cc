// SPDX-License-Identifier: Apache-2.0
#include "node/ceilings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace testudo::node {
namespace {

constexpr Duration kRetry = 250ms;

/// A key's value: "1048576", of a name "1048576 17.1".
struct Stored {
  SeqNo last;
  std::string holder;
};

std::string value_of(SeqNo last, const std::string& holder) {
  return holder.empty() ? std::to_string(last.value()) : fmt::format("{} {}", last.value(), holder);
}

std::optional<Stored> stored_of(const std::string& text) {
  std::uint64_t value = 0;
  const char* const text_end = text.data() + text.size();
  const auto [end, code] = std::from_chars(text.data(), text_end, value);
  if (code != std::errc() || (end != text_end && *end != ' ')) return std::nullopt;
  return Stored{.last = SeqNo(value), .holder = end == text_end ? "" : std::string(end + 1, text_end)};
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

std::string Ceilings::key(const std::string& name) const {
  return fmt::format("{}manual-ceiling/{}", prefix_, name);
}

std::string Ceilings::keys_beside(const std::string& prefix, SaId sa) {
  return fmt::format("{}ceiling/{:08x}", prefix, sa.value() >> 32);
}

std::optional<std::pair<SaId, Ceilings::Inherited>> Ceilings::read(const facility::Entry& entry) {
  const char* const end = entry.key.data() + entry.key.size();
  std::uint64_t sa = 0;
  const auto parsed = std::from_chars(entry.key.data() + entry.key.rfind('/') + 1, end, sa, 16);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  const auto stored = stored_of(entry.value);
  return std::pair(SaId(sa), Inherited{.last = stored ? stored->last : kUnknown, .revision = entry.modified});
}

void Ceilings::inherit(SaId sa, const Inherited& inherited) {
  Ceiling& ceiling = ceilings_[sa];
  ceiling.done = inherited.last;
  ceiling.revision = inherited.revision;
}

void Ceilings::reserve(const Request& request) {
  Ceiling& ceiling = ceilings_[request.sa];
  if (ceiling.lost) return;
  if (request.last <= ceiling.done) return reserved_(request.sa, ceiling.done);
  ceiling.request = request;
  if (!ceiling.under_way) write(request.sa);
}

void Ceilings::write(SaId sa) {
  const auto found = ceilings_.find(sa);
  if (found == ceilings_.end()) return;
  Ceiling& ceiling = found->second;
  ceiling.under_way = true;
  const bool named = !ceiling.name.empty();
  const Write write{
      .sa = sa, .last = ceiling.request.last, .key = named ? key(ceiling.name) : key(sa), .named = named};
  facility_.compare_and_set({.key = write.key,
                             .expected = ceiling.revision,
                             .value = value_of(write.last, ceiling.holder),
                             .with_session = false,
                             .fence_key = owner_key_(ceiling.request.dvipa),
                             .fence_created = facility::Revision(ceiling.request.epoch.value())},
                            [this, write, alive = alive_](Result<facility::CasOutcome> outcome) {
                              if (*alive) answered(write, outcome);
                            });
}

void Ceilings::answered(const Write& write, const Result<facility::CasOutcome>& outcome) {
  const auto found = ceilings_.find(write.sa);
  if (found == ceilings_.end()) {  // deleted meanwhile: so is the key that was just written
    if (outcome && outcome->done && !write.named) facility_.remove(write.key, outcome->revision, [](auto) {});
    return;
  }
  Ceiling& ceiling = found->second;
  if (!outcome) {
    if (!ceiling.noted) {
      note_(fmt::format(
          "sequence numbers of SA {:016x} cannot be set aside now ({}): sending goes on within what is set "
          "aside already",
          write.sa.value(), outcome.error().message));
    }
    ceiling.noted = true;
    return later(write.sa);
  }
  if (!outcome->done) return refused(write.sa, ceiling, outcome->current);
  ceiling.noted = false;
  ceiling.under_way = false;
  ceiling.revision = outcome->revision;
  ceiling.done = write.last;
  reserved_(write.sa, write.last);
  const auto again = ceilings_.find(write.sa);
  if (again != ceilings_.end() && again->second.request.last > again->second.done) this->write(write.sa);
}

void Ceilings::refused(SaId sa, Ceiling& ceiling, const std::optional<facility::Entry>& current) {
  const bool over = !current || current->modified == ceiling.revision;
  const std::optional<Stored> stored = over ? std::nullopt : stored_of(current->value);
  if (stored && stored->holder == ceiling.holder) {
    // An answer to an earlier write was lost: go on from what it left.
    ceiling.revision = current->modified;
    ceiling.request.last = std::max(ceiling.request.last, stored->last);
    return write(sa);
  }
  note_(
      over
          ? fmt::format("the ownership under which SA {:016x} was sequenced is over: no more numbers", sa.value())
          : fmt::format("the sequence numbers of SA {:016x} are somebody else's now: no more numbers", sa.value()));
  ceiling.lost = true;
  ceiling.under_way = false;
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
  const bool named = !found->second.name.empty();
  ceilings_.erase(found);
  if (revision != facility::Revision(0) && !named) facility_.remove(key(sa), revision, [](auto) {});
}

// ---- names ----

void Ceilings::open(const Name& name, std::function<void(Result<Opened>)> done) {
  facility_.list(key(name.name), [this, name, done = std::move(done), alive = alive_](auto found) {
    if (*alive) take_over(name, found, done);
  });
}

void Ceilings::take_over(const Name& name, const Result<facility::Facility::Listing>& found,
                         const std::function<void(Result<Opened>)>& done) {
  if (!found) return done(tl::unexpected(found.error()));
  Opened opened{.name = name.name, .holder = fmt::format("{:016x}", name.mark), .revision = {}, .done = SeqNo(0)};
  for (const facility::Entry& entry : found->entries) {
    if (entry.key != key(name.name)) continue;
    const auto stored = stored_of(entry.value);
    if (!stored) {
      return done(
          fail(fmt::format("{} in the coupling facility holds no number: without it nobody knows which "
                           "sequence numbers this key has used",
                           entry.key)));
    }
    opened.done = stored->last;
    opened.revision = entry.modified;
  }
  facility_.compare_and_set(
      {.key = key(name.name),
       .expected = opened.revision,
       .value = value_of(opened.done, opened.holder),
       .with_session = false,
       .fence_key = owner_key_(name.dvipa),
       .fence_created = facility::Revision(name.epoch.value())},
      [opened, done, alive = alive_](Result<facility::CasOutcome> outcome) mutable {
        if (!*alive) return;
        if (!outcome) return done(tl::unexpected(outcome.error()));
        if (!outcome->done) return done(fail("another node has just taken the same key, or the DVIPA: try again"));
        opened.revision = outcome->revision;
        done(std::move(opened));
      });
}

void Ceilings::adopt(SaId sa, const Opened& opened) {
  ceilings_[sa] = {.request = {},
                   .revision = opened.revision,
                   .done = opened.done,
                   .name = opened.name,
                   .holder = opened.holder};
}

}  // namespace testudo::node
