// SPDX-License-Identifier: Apache-2.0
// The XCF control network in one process, for unit tests and the simulation: a Bus per node over links whose delay
// and faults the test sets. Time comes from the executors and chance from the seed, so that a run is repeated
// exactly.
//
//   MemoryNetwork network(executor, /*seed=*/1);
//   auto bus = network.join(node_executor, {.node = "t1"});
//   network.set_delay("t1", "owner", 2ms);
//   network.cut("t1", "owner");          // silence; both sides see `down` after detection time
//   network.heal("t1", "owner");
//   network.break_link("t1", "owner");   // `down` at once, then a new connection
//
// Thread: the network and all its buses live on one thread; a bus may outlive neither the network nor its executor.
// A bus that is destroyed is a process that ended: its peers see `down`. A host that vanished is a cut.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/executor.h"
#include "base/rng.h"
#include "xcf/bus.h"

namespace testudo::xcf {

class MemoryBus;
class MemoryLink;

class MemoryNetwork {
 public:
  struct Options {
    Duration delay = 100us;             // one way, of links without one of their own
    Duration jitter{};                  // up to this is added per message; order is kept
    Duration detection = 3s;            // silence until a cut link counts as down (keepalive)
    std::size_t queue_messages = 1024;  // sent and not yet delivered, per direction
    std::size_t queue_bytes = 8 << 20;
  };
  struct Identity {
    std::string node;              // name in the certificate
    std::string authority = "ca";  // who signed it; nodes of different authorities refuse each other
  };

  MemoryNetwork(Executor& executor, std::uint64_t seed) : MemoryNetwork(executor, seed, Options()) {}
  MemoryNetwork(Executor& executor, std::uint64_t seed, Options options);
  MemoryNetwork(const MemoryNetwork&) = delete;
  MemoryNetwork& operator=(const MemoryNetwork&) = delete;
  ~MemoryNetwork();

  std::unique_ptr<Bus> join(Executor& node_executor, Identity identity);

  void set_delay(const std::string& a, const std::string& b, Duration one_way);
  void cut(const std::string& a, const std::string& b);
  void heal(const std::string& a, const std::string& b);
  void break_link(const std::string& a, const std::string& b);
  /// Cuts or heals every link of a node, also with nodes that join later.
  void isolate(const std::string& node);
  void rejoin(const std::string& node);

 private:
  friend class MemoryBus;
  friend class MemoryLink;
  using Pair = std::pair<std::string, std::string>;  // the smaller name first

  static Pair pair(const std::string& a, const std::string& b) { return a < b ? Pair{a, b} : Pair{b, a}; }
  MemoryLink& link(const std::string& a, const std::string& b);
  MemoryBus* bus(const std::string& node) const;
  [[nodiscard]] Duration delay_now(const Pair& nodes);
  [[nodiscard]] Duration up_to(Duration limit);
  void leave(MemoryBus& bus);

  Executor& executor_;
  SeededRng rng_;
  Options options_;
  std::map<std::string, MemoryBus*> buses_;
  std::map<Pair, std::unique_ptr<MemoryLink>> links_;
  std::set<std::string> isolated_;
};

}  // namespace testudo::xcf
