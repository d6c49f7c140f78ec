// SPDX-License-Identifier: Apache-2.0
// ThreadDataPlane: the daemon's DataPlane. A path::Worker on a thread of its own, on the kernel's ports: TUN, raw,
// XCF and the DVIPAs' UDP sockets.
//
// Threads: everything on the control thread but the loop of the worker itself.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <thread>

#include "base/rng.h"
#include "io/clock.h"
#include "io/loop.h"
#include "io/poller.h"
#include "io/raw/raw_port.h"
#include "node/config.h"
#include "node/data_plane.h"
#include "node/log.h"
#include "path/worker.h"

namespace testudo::node {

class ThreadDataPlane final : public DataPlane {
 public:
  ThreadDataPlane(const NodeConfig& config, io::Loop& loop, io::HostNetwork& host, Rng& rng, Log& log);
  /// Stops the worker and waits for it.
  ~ThreadDataPlane() override;

  Result<void> start(const vipa::Identity& self, OnEvent on_event) override;
  void submit(path::Command command) override;
  Result<void> serve(const std::vector<io::SteeredDvipa>& dvipas) override;
  [[nodiscard]] const path::WorkerCounters* counters() const override {
    return worker_ ? &worker_->counters() : nullptr;
  }

 private:
  static constexpr std::size_t kQueue = 4096;

  Result<path::WorkerPorts> open_ports();
  /// `was_here`: as a shadow's DVIPA or an owned one, it keeps its port 4500.
  Result<path::SetDvipaPorts> open_sockets(const io::SteeredDvipa& dvipa, bool was_here) const;
  void push_waiting();
  void run_worker();
  void watch_descriptors(std::uint64_t& generation, std::vector<int>& watched);
  void tell_control();
  void take_events();

  const NodeConfig& config_;
  io::Loop& loop_;
  io::HostNetwork& host_;
  Rng& rng_;
  Log& log_;
  OnEvent on_event_;
  io::MonotonicClock clock_;
  path::CommandQueue commands_{kQueue};
  path::EventQueue events_{kQueue};
  std::deque<path::Command> waiting_;  // that the queue had no room for
  bool retry_pending_ = false;
  std::map<IpAddress, bool> served_;  // DVIPA → owned
  io::RawPort* raw_ = nullptr;        // the worker's; its address set may be changed by any thread
  std::unique_ptr<path::Worker> worker_;
  std::unique_ptr<io::Poller> poller_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> told_{false};  // control has been told of events that it has not taken yet
  std::thread thread_;
};

}  // namespace testudo::node
