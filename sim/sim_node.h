// SPDX-License-Identifier: Apache-2.0
// SimNode: one host of a simulated cluster: a real node::Node with its real worker, its kernel and its place on the
// two networks. It can crash at any moment, and start again as a host that remembers nothing.
//
//   SimNode t1(world, config, {.seed = 7});
//   t1.start();  …  t1.crash();  …  t1.start();
#pragma once

#include <memory>
#include <string>

#include "facility/memory/memory_store.h"
#include "node/node.h"
#include "sim/data_plane.h"
#include "sim/ike_daemon.h"
#include "sim/invariants.h"
#include "sim/network.h"
#include "sim/tcp_server.h"
#include "xcf/memory/memory_network.h"

namespace testudo::sim {

class SimNode {
 public:
  struct World {
    VirtualTime& time;
    Transcript& transcript;
    Invariants& invariants;
    Network& network;
    facility::MemoryStore& store;
    xcf::MemoryNetwork& control;
  };
  struct Options {
    std::uint64_t seed = 1;
    Scheduling scheduling;
    const ChildPolicy* ike = nullptr;  // null: no IKE daemon here
  };

  SimNode(World world, node::NodeConfig config, Options options);
  ~SimNode();

  void start();
  /// The host is gone at once: nobody is told, and what its TCP had is lost.
  void crash();
  /// As crash(), by a loss of power: no connection is closed, others find out by its silence.
  void vanish();
  [[nodiscard]] bool running() const { return life_ != nullptr; }
  [[nodiscard]] const std::string& name() const { return config_.name; }
  /// How often it has started.
  [[nodiscard]] std::uint64_t lives() const { return lives_; }

  /// The application, on all addresses.
  void listen(Endpoint at);
  void stop_listening(Endpoint at);

  // While it runs:
  /// Its worker has had a turn since the last call.
  bool take_turned() { return data_plane().take_turned(); }
  [[nodiscard]] const node::Node& node() const;
  [[nodiscard]] TcpServer& server();
  [[nodiscard]] const path::WorkerCounters* counters() const;
  /// Null: it has none.
  [[nodiscard]] SimIkeDaemon* ike();

 private:
  [[nodiscard]] SimDataPlane& data_plane();

  class Host;
  class Log;
  struct Life;

  void attach();
  void cut_off();
  void from_tun(std::span<const std::uint8_t> packet);
  void outbound_installed(ike::SaName name, crypto::Suite suite);

  World world_;
  node::NodeConfig config_;
  Options options_;
  std::set<Endpoint> listeners_;  // of the application, which starts with the host
  std::uint64_t lives_ = 0;
  std::unique_ptr<Life> life_;
  std::unique_ptr<Life> vanished_;  // its end of connections, which nobody closes
};

}  // namespace testudo::sim
