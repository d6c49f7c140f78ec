// SPDX-License-Identifier: Apache-2.0
#include "facility/memory/memory_facility.h"

#include <algorithm>
#include <utility>

#include "facility/request_error.h"

namespace testudo::facility {

MemoryFacility::MemoryFacility(MemoryStore& store, Executor& executor, std::string node)
    : store_(store), executor_(executor), node_(std::move(node)) {
  store_.clients_.push_back(this);
}

MemoryFacility::~MemoryFacility() {
  forget_session();
  std::erase(store_.clients_, this);
}

Executor::Timer MemoryFacility::later(Duration delay, std::function<void()> task) {
  return executor_.run_after(delay, [alive = std::weak_ptr(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

template <typename T>
void MemoryFacility::call(std::function<Result<T>(MemoryStore&)> act, Callback<T> done) {
  auto pending = std::make_shared<Callback<T>>(std::move(done));
  const auto finish = [pending](Result<T> result) {
    if (auto callback = std::exchange(*pending, nullptr)) callback(std::move(result));
  };
  const auto timer = later(store_.options_.call_timeout,
                           [finish] { finish(fail("the coupling facility did not answer in time")); });
  if (!store_.reachable(node_)) return;
  store_.executor_.run_after(
      store_.options_.latency, [store = &store_, store_alive = std::weak_ptr(store_.alive_), self = this,
                                node = node_, alive = std::weak_ptr(alive_), act = std::move(act), finish, timer] {
        if (store_alive.expired() || !store->reachable(node)) return;
        Result<T> result = act(*store);
        if (alive.expired()) return;
        self->later(store->options_.latency, [self, finish, timer, result = std::move(result)] {
          if (!self->store_.reachable(self->node_)) return;
          self->executor_.cancel(timer);
          finish(result);
        });
      });
}

void MemoryFacility::open_session(Duration ttl, Callback<void> opened, std::function<void()> lost) {
  if (session_ != 0 || opening_) {
    later({}, [opened] { opened(fail("a session is open already: close_session() first")); });
    return;
  }
  opening_ = true;
  ttl_ = ttl;
  lost_ = std::move(lost);
  const Time sent = executor_.now();
  call<MemoryStore::SessionId>(
      [node = node_, ttl](MemoryStore& store) -> Result<MemoryStore::SessionId> { return store.grant(node, ttl); },
      [this, sent, opened = std::move(opened)](Result<MemoryStore::SessionId> id) {
        opening_ = false;
        if (!id) return opened(tl::unexpected<Error>(id.error()));
        session_granted(*id, sent);
        opened({});
      });
}

void MemoryFacility::session_granted(MemoryStore::SessionId id, Time sent) {
  session_ = id;
  renewed(sent);
  renewal_ = later(ttl_ / 3, [this] { keep_alive(); });
}

void MemoryFacility::renewed(Time sent) {
  if (lapse_ != 0) executor_.cancel(lapse_);
  lapse_ = later(sent + ttl_ - executor_.now(), [this] { session_lost(); });
}

void MemoryFacility::keep_alive() {
  const auto id = session_;
  const Time sent = executor_.now();
  renewal_ = later(ttl_ / 3, [this] { keep_alive(); });
  call<bool>([id](MemoryStore& store) -> Result<bool> { return store.keep_alive(id); },
             [this, id, sent](Result<bool> alive) {
               if (session_ != id || !alive) return;  // not answered: lapse_ decides
               if (*alive) {
                 renewed(sent);
               } else {
                 session_lost();
               }
             });
}

void MemoryFacility::forget_session() {
  for (Executor::Timer* timer : {&renewal_, &lapse_}) {
    if (*timer != 0) executor_.cancel(std::exchange(*timer, 0));
  }
  session_ = 0;
}

void MemoryFacility::session_lost() {
  forget_session();
  if (auto lost = std::exchange(lost_, nullptr)) lost();
}

void MemoryFacility::close_session() {
  const auto id = session_;
  forget_session();
  lost_ = nullptr;
  if (id == 0) return;
  call<bool>(
      [id](MemoryStore& store) -> Result<bool> {
        store.end_session(id);
        return true;
      },
      [](const Result<bool>&) {});
}

void MemoryFacility::list(std::string prefix, Callback<Listing> done) {
  call<Listing>(
      [prefix = std::move(prefix)](MemoryStore& store) -> Result<Listing> {
        Listing listing{.entries = {}, .at = store.revision_};
        for (auto it = store.entries_.lower_bound(prefix); it != store.entries_.end(); ++it) {
          if (!it->first.starts_with(prefix)) break;
          listing.entries.push_back(it->second);
        }
        return listing;
      },
      std::move(done));
}

void MemoryFacility::compare_and_set(CompareAndSet request, Callback<CasOutcome> done) {
  if (const auto error = request_error(request, session_ != 0)) {
    later({}, [error, done = std::move(done)] { done(tl::unexpected<Error>(*error)); });
    return;
  }
  call<CasOutcome>([request = std::move(request),
                    session = session_](MemoryStore& store) { return store.compare_and_set(request, session); },
                   std::move(done));
}

void MemoryFacility::remove(std::string key, Revision expected, Callback<CasOutcome> done) {
  if (const auto error = removal_error(key, expected)) {
    later({}, [error, done = std::move(done)] { done(tl::unexpected<Error>(*error)); });
    return;
  }
  call<CasOutcome>([key = std::move(key),
                    expected](MemoryStore& store) -> Result<CasOutcome> { return store.remove(key, expected); },
                   std::move(done));
}

void MemoryFacility::watch(std::string prefix, std::function<void(const Event&)> on_event) {
  auto watch = std::make_unique<Watch>();
  watch->prefix = std::move(prefix);
  watch->on_event = std::move(on_event);
  watches_.push_back(std::move(watch));
  later(2 * store_.options_.latency, [this] { deliver(); });
}

void MemoryFacility::store_changed() {
  later(store_.options_.latency, [this] { deliver(); });
}

void MemoryFacility::deliver() {
  if (!store_.reachable(node_)) return;
  for (std::size_t i = 0; i < watches_.size(); ++i) {  // a callback may add watches, or end this object
    const Watch* watch = watches_[i].get();
    for (const Event& event : news(*watches_[i])) {
      const std::weak_ptr alive(alive_);
      watch->on_event(event);
      if (alive.expired()) return;
    }
  }
}

std::vector<Event> MemoryFacility::news(Watch& watch) const {
  if (!watch.listed || watch.seen < store_.compacted_) return relist(watch);
  const auto first = std::partition_point(store_.history_.begin(), store_.history_.end(),
                                          [&](const Event& e) { return e.entry.modified <= watch.seen; });
  watch.seen = store_.revision_;
  std::vector<Event> events;
  std::copy_if(first, store_.history_.end(), std::back_inserter(events),
               [&](const Event& e) { return e.entry.key.starts_with(watch.prefix); });
  for (const Event& event : events) {
    if (event.deleted) {
      watch.known.erase(event.entry.key);
    } else {
      watch.known[event.entry.key] = event.entry.modified;
    }
  }
  return events;
}

std::vector<Event> MemoryFacility::relist(Watch& watch) const {
  std::vector<Event> events;
  for (const auto& [key, modified] : watch.known) {
    if (store_.entries_.contains(key)) continue;
    events.push_back(
        {.entry = {.key = key, .value = {}, .created = {}, .modified = store_.revision_}, .deleted = true});
  }
  for (const Event& gone : events) watch.known.erase(gone.entry.key);
  for (auto it = store_.entries_.lower_bound(watch.prefix); it != store_.entries_.end(); ++it) {
    const auto& [key, entry] = *it;
    if (!key.starts_with(watch.prefix)) break;
    if (std::exchange(watch.known[key], entry.modified) != entry.modified) events.push_back({.entry = entry});
  }
  watch.listed = true;
  watch.seen = store_.revision_;
  return events;
}

void MemoryFacility::on_reachable(std::function<void(bool)> changed) {
  reachable_changed_.push_back(std::move(changed));
}

void MemoryFacility::reachability_changed() {
  const bool reachable = store_.reachable(node_);
  later(reachable ? 2 * store_.options_.latency : store_.options_.call_timeout, [this, reachable] {
    if (store_.reachable(node_) != reachable) return;
    const std::weak_ptr alive(alive_);
    if (std::exchange(reported_reachable_, reachable) != reachable) {
      for (const auto& changed : reachable_changed_) changed(reachable);
    }
    if (reachable && !alive.expired()) deliver();  // also after a break too short to be reported
  });
}

}  // namespace testudo::facility
