// SPDX-License-Identifier: Apache-2.0
// DataPlane: the worker of one node as its control plane sees it. The daemon's runs path::Worker on a thread of its
// own, on the kernel's ports; the simulation's runs it in virtual time, on memory ports.
//
//   plane.start(identity, [this](path::Event event) { … });
//   plane.submit(path::InstallSa{…});
//
// Control thread only.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "io/netlink/host_network.h"
#include "path/messages.h"
#include "path/worker_counters.h"
#include "vipa/membership.h"

namespace testudo::node {

class DataPlane {
 public:
  using OnEvent = std::function<void(path::Event)>;

  DataPlane() = default;
  DataPlane(const DataPlane&) = delete;
  DataPlane& operator=(const DataPlane&) = delete;
  virtual ~DataPlane() = default;

  /// Starts the worker; its events come on the Executor from now on.
  virtual Result<void> start(const vipa::Identity& self, OnEvent on_event) = 0;
  /// Commands reach the worker in order and none is lost: what its queue cannot take yet is kept here.
  virtual void submit(path::Command command) = 0;
  /// Opens and closes the sockets of DVIPAs (UDP 500 and 4500), and tells the raw port which ones are owned.
  virtual Result<void> serve(const std::vector<io::SteeredDvipa>& dvipas) = 0;
  /// Nothing before start(). Its counters may be read at any time.
  [[nodiscard]] virtual const path::WorkerCounters* counters() const = 0;
};

}  // namespace testudo::node
