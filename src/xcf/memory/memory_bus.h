// SPDX-License-Identifier: Apache-2.0
// One node's end of a MemoryNetwork, and the links between two ends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "xcf/memory/memory_network.h"

namespace testudo::xcf {

class MemoryBus final : public Bus {
 public:
  MemoryBus(MemoryNetwork& network, Executor& executor, MemoryNetwork::Identity identity);
  ~MemoryBus() override;

  void start(v1::Hello self, BusEvents events) override;
  void add_member(const Member& member) override;
  void remove_member(const std::string& name) override;
  bool send(const std::string& node, const v1::Envelope& message) override;

  // For the links.
  [[nodiscard]] const MemoryNetwork::Identity& identity() const { return identity_; }
  [[nodiscard]] const v1::Hello& hello() const { return self_; }
  [[nodiscard]] bool wants(const std::string& peer) const { return started_ && members_.contains(peer); }
  /// Each runs its event on the node's executor.
  void tell_up(const v1::Hello& peer);
  void tell_down(const std::string& peer, const std::string& reason);
  void tell_received(const std::string& peer, const v1::Envelope& message);
  void tell_refused(const std::string& who, const std::string& reason);

 private:
  void later(std::function<void()> task);

  MemoryNetwork& network_;
  Executor& executor_;
  MemoryNetwork::Identity identity_;
  v1::Hello self_;
  BusEvents events_;
  bool started_ = false;
  std::set<std::string> members_;
  std::set<std::string> up_;                     // as told by the events
  std::map<std::string, std::string> refusals_;  // what was said last about whom
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

/// Between two nodes. Down, it tries to connect for as long as both want it; up, it carries messages in order.
class MemoryLink {
 public:
  MemoryLink(MemoryNetwork& network, MemoryNetwork::Pair nodes) : network_(network), nodes_(std::move(nodes)) {}

  void try_soon();
  bool send(const std::string& from, const v1::Envelope& message);
  void cut();
  void heal();
  [[nodiscard]] bool up() const { return up_; }
  /// Both ends that still exist are told.
  void take_down(const std::string& reason);

  Duration delay{-1};  // negative: the network's
  bool cut_by_test = false;

 private:
  struct Direction {
    std::map<std::uint64_t, v1::Envelope> under_way;  // by number
    std::uint64_t next = 1;
    std::size_t bytes = 0;
    Time last_arrival{};
  };

  [[nodiscard]] bool silent() const;
  [[nodiscard]] Direction& towards(const std::string& node) {
    return node == nodes_.first ? to_first_ : to_second_;
  }
  void connect();
  void deliver_next(const std::string& to);
  void schedule_delivery(const std::string& to);
  void after(Duration delay_from_now, std::function<void()> task);

  MemoryNetwork& network_;
  MemoryNetwork::Pair nodes_;
  bool up_ = false;
  bool trying_ = false;
  Duration backoff_{};
  std::uint64_t era_ = 0;   // of the connection; what belongs to an earlier one is lost
  std::uint64_t cuts_ = 0;  // so that a detection belongs to one cut
  Direction to_first_;
  Direction to_second_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace testudo::xcf
