// SPDX-License-Identifier: Apache-2.0
// A coupling facility in one process, for unit tests and the simulation: one MemoryStore, a client for each node.
// Time comes from the executors alone, so that a run is repeated exactly. Faults are calls:
//
//   MemoryStore store(executor);
//   auto facility = store.connect(node_executor, "t1");
//   store.set_reachable("t1", false);   // t1's calls time out; its session ends after its TTL
//   store.expire_session("t1");         // the facility ends it now
//
// Thread: the store and all its clients live on one thread; a node's executor may be stopped (a crash): its
// keepalives then cease and its session ends after its TTL. Clients may outlive neither the store nor their
// executor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "facility/facility.h"

namespace testudo::facility {

class MemoryFacility;

class MemoryStore {
 public:
  struct Options {
    Duration latency{};  // one way, between a node and the store
    Duration call_timeout = 2s;
  };

  explicit MemoryStore(Executor& executor) : MemoryStore(executor, Options()) {}
  MemoryStore(Executor& executor, Options options) : executor_(executor), options_(options) {}
  MemoryStore(const MemoryStore&) = delete;
  MemoryStore& operator=(const MemoryStore&) = delete;

  /// The facility as node `node` sees it. A restarted node connects anew under the same name.
  std::unique_ptr<Facility> connect(Executor& node_executor, std::string node);

  /// Faults. Requests and answers that are under way when a node is cut off are lost as well.
  void set_reachable(const std::string& node, bool reachable);
  void expire_session(const std::string& node);
  void set_latency(Duration one_way) { options_.latency = one_way; }
  /// Forgets the history of changes: a watch that is behind must list again.
  void compact();

  /// What is stored now; for assertions.
  [[nodiscard]] const std::map<std::string, Entry>& entries() const { return entries_; }
  [[nodiscard]] Revision revision() const { return revision_; }

 private:
  friend class MemoryFacility;
  using SessionId = std::uint64_t;
  struct Session {
    std::string node;
    Duration ttl;
    Executor::Timer expiry = 0;
  };

  SessionId grant(const std::string& node, Duration ttl);
  bool keep_alive(SessionId id);  // false: it is over
  void end_session(SessionId id);
  void arm(SessionId id);
  Result<CasOutcome> compare_and_set(const CompareAndSet& request, SessionId session);
  CasOutcome remove(const std::string& key, Revision expected);
  [[nodiscard]] CasOutcome lost_race(const std::string& key) const;
  void erase(const std::string& key);
  void record(Event event);
  [[nodiscard]] bool reachable(const std::string& node) const { return !cut_off_.contains(node); }

  Executor& executor_;
  Options options_;
  Revision revision_{1};  // etcd too begins at 1
  Revision compacted_{};  // history_ holds everything after this
  std::map<std::string, Entry> entries_;
  std::map<std::string, SessionId> session_of_;  // by key
  std::vector<Event> history_;
  std::map<SessionId, Session> sessions_;
  SessionId next_session_ = 1;
  std::set<std::string> cut_off_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // watched by tasks that may run after the store's end
  std::vector<MemoryFacility*> clients_;                  // in order of connect()
};

}  // namespace testudo::facility
