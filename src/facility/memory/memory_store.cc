// SPDX-License-Identifier: Apache-2.0
#include "facility/memory/memory_store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "facility/memory/memory_facility.h"

namespace testudo::facility {

std::unique_ptr<Facility> MemoryStore::connect(Executor& node_executor, std::string node) {
  return std::make_unique<MemoryFacility>(*this, node_executor, std::move(node));
}

void MemoryStore::set_reachable(const std::string& node, bool now_reachable) {
  if (now_reachable == reachable(node)) return;
  if (now_reachable) {
    cut_off_.erase(node);
  } else {
    cut_off_.insert(node);
  }
  for (MemoryFacility* client : clients_) {
    if (client->node() == node) client->reachability_changed();
  }
}

void MemoryStore::expire_session(const std::string& node) {
  std::vector<SessionId> ended;
  for (const auto& [id, session] : sessions_) {
    if (session.node == node) ended.push_back(id);
  }
  for (const SessionId id : ended) end_session(id);
}

void MemoryStore::compact() {
  compacted_ = revision_;
  history_.clear();
}

MemoryStore::SessionId MemoryStore::grant(const std::string& node, Duration ttl) {
  const SessionId id = next_session_++;
  sessions_[id] = {.node = node, .ttl = ttl};
  arm(id);
  return id;
}

bool MemoryStore::keep_alive(SessionId id) {
  if (!sessions_.contains(id)) return false;
  arm(id);
  return true;
}

void MemoryStore::arm(SessionId id) {
  Session& session = sessions_.at(id);
  if (session.expiry != 0) executor_.cancel(session.expiry);
  session.expiry = executor_.run_after(session.ttl, [this, id, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) end_session(id);
  });
}

void MemoryStore::end_session(SessionId id) {
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return;
  executor_.cancel(session->second.expiry);
  sessions_.erase(session);
  std::vector<std::string> keys;
  for (const auto& [key, owner] : session_of_) {
    if (owner == id) keys.push_back(key);
  }
  for (const std::string& key : keys) erase(key);
}

Result<CasOutcome> MemoryStore::compare_and_set(const CompareAndSet& request, SessionId session) {
  if (request.with_session && !sessions_.contains(session)) return fail("the session is over");
  if (!request.fence_key.empty()) {
    const auto fence = entries_.find(request.fence_key);
    if (fence == entries_.end() || fence->second.created != request.fence_created) return lost_race(request.key);
  }
  const auto present = entries_.find(request.key);
  const bool exists = present != entries_.end();
  if ((exists ? present->second.modified : Revision{}) != request.expected) return lost_race(request.key);

  revision_ = Revision{revision_.value() + 1};
  const Revision created = exists ? present->second.created : revision_;
  const Entry entry{.key = request.key, .value = request.value, .created = created, .modified = revision_};
  entries_[request.key] = entry;
  session_of_.erase(request.key);
  if (request.with_session) session_of_[request.key] = session;
  record({.entry = entry});
  return CasOutcome{.done = true, .revision = revision_, .current = std::nullopt};
}

CasOutcome MemoryStore::remove(const std::string& key, Revision expected) {
  const auto present = entries_.find(key);
  if (present == entries_.end() || present->second.modified != expected) return lost_race(key);
  erase(key);
  return {.done = true, .revision = revision_, .current = std::nullopt};
}

CasOutcome MemoryStore::lost_race(const std::string& key) const {
  const auto present = entries_.find(key);
  CasOutcome outcome;
  if (present != entries_.end()) outcome.current = present->second;
  return outcome;
}

void MemoryStore::erase(const std::string& key) {
  CHECK(entries_.erase(key) == 1);
  session_of_.erase(key);
  revision_ = Revision{revision_.value() + 1};
  record({.entry = {.key = key, .value = {}, .created = {}, .modified = revision_}, .deleted = true});
}

void MemoryStore::record(Event event) {
  history_.push_back(std::move(event));
  for (MemoryFacility* client : clients_) client->store_changed();
}

}  // namespace testudo::facility
