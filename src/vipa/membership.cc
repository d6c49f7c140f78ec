// SPDX-License-Identifier: Apache-2.0
#include "vipa/membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>
#include <utility>

namespace testudo::vipa {
namespace {

using facility::CasOutcome;
using facility::CompareAndSet;
using facility::Entry;
using facility::Event;
using facility::Facility;
using facility::Revision;

/// Beyond its session's TTL a crashed predecessor's key may stay this long: the facility takes its time to notice.
constexpr Duration kPredecessorGrace = std::chrono::seconds(2);
constexpr Duration kPredecessorPoll = std::chrono::milliseconds(250);

/// All of `text` as a decimal number of at most `max`.
std::optional<std::uint32_t> number(std::string_view text, std::uint32_t max) {
  std::uint32_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

std::string key_prefix(const std::string& cluster) { return "/testudo/" + cluster + "/"; }

Membership::Membership(Facility& facility, Executor& executor, Options options, MembershipEvents events)
    : facility_(facility),
      executor_(executor),
      options_(std::move(options)),
      events_(std::move(events)),
      prefix_(key_prefix(options_.cluster)),
      self_(options_.self),
      generation_(std::make_shared<std::uint32_t>(0)) {
  self_.id = NodeId();
  self_.incarnation = 0;
  self_.session = 0;
}

Membership::~Membership() = default;

template <typename T>
Facility::Callback<T> Membership::guarded(std::function<void(Result<T>)> then) {
  return [alive = std::weak_ptr(generation_), generation = *generation_, then = std::move(then)](Result<T> result) {
    const auto now = alive.lock();
    if (now && *now == generation) then(std::move(result));
  };
}

void Membership::retry(const std::string& what, const Error& error, void (Membership::*step)()) {
  events_.note(fmt::format("{}: {}; trying again", what, error.message));
  waiting_since_.reset();  // a facility that was away gives the sessions it remembers their whole TTL again
  later(options_.retry, step);
}

void Membership::later(Duration delay, void (Membership::*step)()) {
  executor_.run_after(delay, [this, alive = std::weak_ptr(generation_), generation = *generation_, step] {
    const auto now = alive.lock();
    if (now && *now == generation && !stopped_) (this->*step)();
  });
}

void Membership::give_up(std::string message) {
  stopped_ = true;
  ++*generation_;
  facility_.close_session();
  events_.failed(Error{std::move(message)});
}

void Membership::start() {
  if (!watching_) {
    watching_ = true;
    facility_.watch(key("members/"), [this, alive = std::weak_ptr(generation_)](const Event& event) {
      if (alive.lock()) on_member_event(event);
    });
  }
  open_session();
}

void Membership::leave() {
  stopped_ = true;
  ++*generation_;
  identity_.reset();
  facility_.close_session();
}

void Membership::open_session() {
  const std::uint32_t generation = ++*generation_;
  self_revision_ = Revision();
  facility_.open_session(options_.session_ttl, guarded<void>([this](Result<void> opened) {
                           if (!opened)
                             return retry("opening a session", opened.error(), &Membership::open_session);
                           ++self_.session;
                           self_.incarnation == 0 ? draw_incarnation() : claim_name();
                         }),
                         [this, alive = std::weak_ptr(generation_), generation] {
                           const auto now = alive.lock();
                           if (now && *now == generation && !stopped_) on_session_lost();
                         });
}

void Membership::on_session_lost() {
  ++*generation_;  // answers that are still under way belong to the session that is gone
  const bool was_member = identity_.has_value();
  identity_.reset();
  events_.note("the session with the coupling facility is lost: joining again");
  if (was_member) events_.session_lost();
  open_session();
}

// An answer that got lost may have counted up all the same; then a number is skipped, which harms nobody.
void Membership::draw_incarnation() {
  facility_.list(
      key("incarnation"), guarded<Facility::Listing>([this](Result<Facility::Listing> listing) {
        if (!listing) return retry("reading the incarnation", listing.error(), &Membership::draw_incarnation);
        const auto entry = std::find_if(listing->entries.begin(), listing->entries.end(),
                                        [&](const Entry& e) { return e.key == key("incarnation"); });
        const bool found = entry != listing->entries.end();
        const std::optional<std::uint32_t> last = found ? number(entry->value, kIncarnationMax) : 0;
        if (!last)
          return give_up(fmt::format("{} holds no number: the cluster's record is damaged", key("incarnation")));
        if (*last == kIncarnationMax) {
          return give_up(
              fmt::format("cluster {} has used up its {} starts: give the cluster a new name, and all its peers "
                          "new SAs",
                          options_.cluster, kIncarnationMax));
        }
        advance_incarnation(*last + 1, found ? entry->modified : Revision());
      }));
}

void Membership::advance_incarnation(std::uint32_t incarnation, Revision expected) {
  CompareAndSet request;
  request.key = key("incarnation");
  request.expected = expected;
  request.value = std::to_string(incarnation);
  facility_.compare_and_set(
      std::move(request), guarded<CasOutcome>([this, incarnation](Result<CasOutcome> outcome) {
        if (!outcome) return retry("drawing an incarnation", outcome.error(), &Membership::draw_incarnation);
        if (!outcome->done) return draw_incarnation();
        self_.incarnation = incarnation;
        claim_name();
      }));
}

void Membership::claim_name() {
  self_.id = NodeId();  // others take no notice of a member without an id
  CompareAndSet request;
  request.key = key("members/" + self_.name);
  request.value = self_.to_json();
  request.with_session = true;
  facility_.compare_and_set(std::move(request), guarded<CasOutcome>([this](Result<CasOutcome> outcome) {
                              if (!outcome)
                                return retry("claiming the node's name", outcome.error(), &Membership::claim_name);
                              if (!outcome->done && !outcome->current)
                                return claim_name();  // it vanished at this moment
                              if (!outcome->done) return name_taken(*outcome->current);
                              self_revision_ = outcome->revision;
                              waiting_since_.reset();
                              find_id();
                            }));
}

void Membership::name_taken(const Entry& holder) {
  const Result<MemberRecord> record = MemberRecord::from_json(holder.value);
  if (record && record->incarnation == self_.incarnation && record->session == self_.session) {
    self_revision_ = holder.modified;  // our own claim, whose answer was lost
    return find_id();
  }
  const Time now = executor_.now();
  const std::string where =
      record ? Endpoint{record->xcf_address, record->control_port}.to_string() : "unknown place";
  if (!waiting_since_) {
    waiting_since_ = now;
    events_.note(
        fmt::format("{} is held by a node at {}: waiting up to {:g} s for it to vanish, in case that one has "
                    "crashed",
                    holder.key, where, seconds(options_.session_ttl + kPredecessorGrace)));
  }
  if (now - *waiting_since_ >= options_.session_ttl + kPredecessorGrace) {
    return give_up(
        fmt::format("a node named {} is already running at {}: give this one another name, or stop that one",
                    self_.name, where));
  }
  later(kPredecessorPoll, &Membership::claim_name);
}

void Membership::find_id() {
  facility_.list(key("node-ids/"), guarded<Facility::Listing>([this](Result<Facility::Listing> listing) {
                   if (!listing) return retry("reading node ids", listing.error(), &Membership::find_id);
                   std::set<std::uint32_t> taken;
                   for (const Entry& entry : listing->entries) {
                     const auto id = number(std::string_view(entry.key).substr(key("node-ids/").size()), 0xffff);
                     if (!id) continue;
                     taken.insert(*id);
                     if (entry.value != self_.name) continue;
                     self_.id = NodeId(static_cast<std::uint16_t>(*id));
                     return publish();
                   }
                   std::uint32_t free = 1;
                   while (taken.contains(free)) ++free;
                   if (free > 0xffff) return give_up("all 65535 node ids of the cluster are given to names");
                   take_id(NodeId(static_cast<std::uint16_t>(free)));
                 }));
}

void Membership::take_id(NodeId id) {
  CompareAndSet request;
  request.key = key(fmt::format("node-ids/{}", id.value()));
  request.value = self_.name;
  // Done or taken by somebody else meanwhile: the list tells either way.
  facility_.compare_and_set(std::move(request), guarded<CasOutcome>([this](Result<CasOutcome> outcome) {
                              if (!outcome) return retry("taking a node id", outcome.error(), &Membership::find_id);
                              find_id();
                            }));
}

void Membership::publish() {
  CompareAndSet request;
  request.key = key("members/" + self_.name);
  request.expected = self_revision_;
  request.value = self_.to_json();
  request.with_session = true;
  facility_.compare_and_set(
      std::move(request), guarded<CasOutcome>([this](Result<CasOutcome> outcome) {
        if (!outcome) return retry("publishing the member's record", outcome.error(), &Membership::publish);
        if (!outcome->done && (!outcome->current || outcome->current->value != self_.to_json()))
          return claim_name();
        self_revision_ = outcome->done ? outcome->revision : outcome->current->modified;
        identity_ = Identity{self_.name, self_.id, self_.incarnation, self_.session};
        events_.ready(*identity_);
      }));
}

void Membership::on_member_event(const Event& event) {
  const std::string name = event.entry.key.substr(key("members/").size());
  if (stopped_ || name == self_.name) return;
  if (event.deleted) {
    if (members_.erase(name) > 0) events_.left(name);
    return;
  }
  const Result<MemberRecord> record = MemberRecord::from_json(event.entry.value);
  if (!record || record->name != name) {
    return events_.note(fmt::format("{} cannot be read, the member is ignored: {}", event.entry.key,
                                    record ? "its name is another one" : record.error().message));
  }
  if (record->id == NodeId()) return;
  const auto [at, added] = members_.try_emplace(name, *record);
  if (!added && at->second == *record) return;
  at->second = *record;
  events_.joined(*record);
}

}  // namespace testudo::vipa
