// SPDX-License-Identifier: Apache-2.0
// Cluster: a whole simulated cluster: an owner, a backup, three targets and a client, with their networks and
// coupling facility, all in one queue of virtual events that a seed determines. After every event the invariants
// are checked on the real state.
//
//   Cluster cluster(seed, options);
//   cluster.start();
//   if (!cluster.run_until([&] { return cluster.ready(); }, 20s)) cluster.fail("no target is ready");
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/client.h"
#include "sim/invariants.h"
#include "sim/network.h"
#include "sim/sim_node.h"
#include "sim/transcript.h"
#include "sim/virtual_time.h"

namespace testudo::sim {

inline constexpr IpAddress kDvipa{0xc0000264};       // 192.0.2.100, protected
inline constexpr IpAddress kPlainDvipa{0xc0000265};  // 192.0.2.101, in the clear
inline constexpr IpAddress kClientAddress{0xc000020a};
inline constexpr std::uint16_t kPort = 80;

class Cluster {
 public:
  struct Options {
    Network::Options network;
    Duration control_jitter = 50us;
    Duration facility_latency = 300us;
    Scheduling scheduling;
    ChildPolicy child;
    Duration skew_guard = 40us;
    std::uint64_t ceiling_step = 1 << 20;
    bool offers = false;
    std::size_t targets = 3;
    std::uint32_t connections = 4096;  // that the owner remembers, closed ones for a minute as well
    node::NodeConfig::Lifesize lifesize{.report_interval = 200ms};
  };

  Cluster(std::uint64_t seed, const Options& options, bool verbose);
  ~Cluster();

  /// Starts all nodes, one after the other within a short time.
  void start();
  /// The owner owns, and every running target is ready for kPort.
  [[nodiscard]] bool ready() const;

  /// Runs events until `condition` holds, at most for `limit`. False: it does not, or an invariant is violated.
  bool run_until(const std::function<bool()>& condition, Duration limit);
  /// False: an invariant is violated.
  bool run_for(Duration duration);
  /// Something that a scenario demands is not so.
  void fail(const std::string& what) { invariants_.violated(what); }
  [[nodiscard]] bool failed() const { return !invariants_.violations().empty(); }

  [[nodiscard]] SimNode& owner() { return *nodes_[0]; }
  [[nodiscard]] SimNode& backup() { return *nodes_[1]; }
  [[nodiscard]] SimNode& target(std::size_t index) { return *nodes_[2 + index]; }
  [[nodiscard]] std::size_t targets() const { return nodes_.size() - 2; }
  [[nodiscard]] std::vector<std::unique_ptr<SimNode>>& nodes() { return nodes_; }
  [[nodiscard]] Client& client() { return *client_; }

  [[nodiscard]] VirtualTime& time() { return time_; }
  [[nodiscard]] Network& network() { return network_; }
  [[nodiscard]] facility::MemoryStore& store() { return store_; }
  [[nodiscard]] xcf::MemoryNetwork& control() { return control_; }
  [[nodiscard]] Transcript& transcript() { return transcript_; }
  [[nodiscard]] const Invariants& invariants() const { return invariants_; }

 private:
  bool step();
  void check();
  void check_lifesize();
  void add_node(const std::string& name, std::uint32_t number, const std::string& definition, bool ike,
                std::uint64_t seed);

  Options options_;
  VirtualTime time_;
  Transcript transcript_;
  VirtualExecutor world_;  // of what belongs to no node
  Invariants invariants_;
  Network network_;
  facility::MemoryStore store_;
  xcf::MemoryNetwork control_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::unique_ptr<Client> client_;
  facility::Revision checked_;
};

}  // namespace testudo::sim
