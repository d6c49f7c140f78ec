// SPDX-License-Identifier: Apache-2.0
// SimDataPlane: the real worker of one simulated node, on memory ports and in virtual time. It is turned a little
// after each thing that it must do, as a thread that is woken; now and then it is preempted just before its packets
// reach the network, the moment that costs most.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "io/clock.h"
#include "io/memory/memory_port.h"
#include "node/config.h"
#include "node/data_plane.h"
#include "path/worker.h"
#include "sim/invariants.h"
#include "sim/network.h"

namespace testudo::sim {

/// A host's monotonic clock: no two start at the same time.
class SimClock final : public io::Clock {
 public:
  SimClock(const VirtualTime& time, Duration offset) : time_(time), offset_(offset) {}
  [[nodiscard]] Time now() const override { return time_.now() + offset_; }
  [[nodiscard]] Time virtual_time(Time here) const { return here == Time::max() ? here : here - offset_; }

 private:
  const VirtualTime& time_;
  Duration offset_;
};

struct Scheduling {
  Duration wake_most = 20us;  // from a cause to the turn
  double preemption = 0;      // probability, per turn
  Duration preempted_most{};  // and how long its packets are late then
};

class SimDataPlane final : public node::DataPlane {
 public:
  struct World {
    const node::NodeConfig& config;
    VirtualTime& time;
    Executor& control;
    Rng& rng;
    Network& network;
    Transcript& transcript;
    Invariants& invariants;
    Scheduling scheduling;
    Duration clock_offset;
    std::function<void(std::span<const std::uint8_t>)> to_kernel;  // out of the TUN
  };

  explicit SimDataPlane(World world);

  Result<void> start(const vipa::Identity& self, OnEvent on_event) override;
  void submit(path::Command command) override;
  Result<void> serve(const std::vector<io::SteeredDvipa>& dvipas) override;
  [[nodiscard]] const path::WorkerCounters* counters() const override;
  /// There was a turn since the last call.
  bool take_turned() { return std::exchange(turned_, false); }

  // ---- what arrives ----
  void udp(Endpoint source, Endpoint destination, const Bytes& payload);
  void ip(const Bytes& packet);
  void xcf(Endpoint source, Endpoint destination, const Bytes& payload);
  void from_kernel(const Bytes& packet, const io::MemoryPort::Meta& meta);

 private:
  struct DvipaPorts {
    io::MemoryPort* ike = nullptr;
    io::MemoryPort* nat_t = nullptr;
    bool owned = false;
  };

  void wake();
  void turn_at(Time when);
  void turn();
  void hand_over_commands();
  void take_events();
  void send_all(Duration late);
  void send_udp(io::MemoryPort& port, Duration late);
  void sent_protected(std::span<const std::uint8_t> esp);
  void tell_trains();
  void later(Duration late, std::function<void()> task);
  io::MemoryPort* port(std::unique_ptr<io::PacketPort>& place);

  World world_;
  SimClock clock_;
  VirtualExecutor thread_;
  OnEvent on_event_;
  path::CommandQueue commands_{256};
  path::EventQueue events_{256};
  std::deque<path::Command> backlog_;
  std::unique_ptr<path::Worker> worker_;
  io::MemoryPort* tun_ = nullptr;
  io::MemoryPort* raw_ = nullptr;
  io::MemoryPort* xcf_data_ = nullptr;
  io::MemoryPort* xcf_fast_ = nullptr;
  std::map<IpAddress, DvipaPorts> ports_;
  Executor::Timer timer_ = 0;
  std::optional<Time> next_turn_;
  Time busy_until_{};
  bool turned_ = false;
  std::map<Spi, std::vector<std::uint32_t>> sent_;  // numbers sent in this turn, for the transcript
};

}  // namespace testudo::sim
