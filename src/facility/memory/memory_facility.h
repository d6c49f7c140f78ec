// SPDX-License-Identifier: Apache-2.0
// One node's client of a MemoryStore; made by MemoryStore::connect(). A request travels on the store's executor, so
// that it arrives even if its sender crashes meanwhile; the answer travels on the node's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "facility/facility.h"
#include "facility/memory/memory_store.h"

namespace testudo::facility {

class MemoryFacility final : public Facility {
 public:
  MemoryFacility(MemoryStore& store, Executor& executor, std::string node);
  ~MemoryFacility() override;

  void open_session(Duration ttl, Callback<void> opened, std::function<void()> lost) override;
  void close_session() override;
  void list(std::string prefix, Callback<Listing> done) override;
  void compare_and_set(CompareAndSet request, Callback<CasOutcome> done) override;
  void remove(std::string key, Revision expected, Callback<CasOutcome> done) override;
  void watch(std::string prefix, std::function<void(const Event&)> on_event) override;
  void on_reachable(std::function<void(bool)> changed) override;

  // Called by the store.
  [[nodiscard]] const std::string& node() const { return node_; }
  void store_changed();
  void reachability_changed();

 private:
  struct Watch {
    std::string prefix;
    std::function<void(const Event&)> on_event;
    std::map<std::string, Revision> known;  // keys that were reported and not deleted, and their `modified`
    bool listed = false;
    Revision seen{};  // everything up to here has been reported
  };

  /// Runs `act` at the store and `done` with its result here; or `done` with an Error after the timeout.
  template <typename T>
  void call(std::function<Result<T>(MemoryStore&)> act, Callback<T> done);
  /// Runs `task` on the node's executor unless this object is gone by then.
  Executor::Timer later(Duration delay, std::function<void()> task);

  void session_granted(MemoryStore::SessionId id, Time sent);
  void keep_alive();
  void renewed(Time sent);
  void forget_session();
  void session_lost();
  void deliver();
  std::vector<Event> news(Watch& watch) const;
  std::vector<Event> relist(Watch& watch) const;

  MemoryStore& store_;
  Executor& executor_;
  std::string node_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();

  MemoryStore::SessionId session_ = 0;  // 0: none
  bool opening_ = false;
  Duration ttl_{};
  std::function<void()> lost_;
  Executor::Timer renewal_ = 0;
  Executor::Timer lapse_ = 0;  // when the session is lost by our own clock

  std::vector<std::unique_ptr<Watch>> watches_;
  std::vector<std::function<void(bool)>> reachable_changed_;
  bool reported_reachable_ = true;
};

}  // namespace testudo::facility
