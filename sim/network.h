// SPDX-License-Identifier: Apache-2.0
// Network: the two segments of a simulated cluster, the one towards clients ("lan") and XCF. Datagrams travel with
// a delay and a jitter, are lost, doubled and overtaken, as the seed draws it. A host that is detached is dead; a
// host that is isolated cannot be reached over XCF.
//
//   network.attach("t1", {.udp = …, .ip = …, .xcf = …});
//   network.set_address(client_address, "client");            // who answers ARP for it
//   network.send_udp("t1", {dvipa, 4500}, {client, 4500}, bytes);
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/rng.h"
#include "sim/transcript.h"
#include "sim/virtual_time.h"

namespace testudo::sim {

using Bytes = std::vector<std::uint8_t>;

/// Of one direction between two hosts.
struct PathQuality {
  Duration delay = 100us;  // one way, at least
  Duration jitter{};       // up to this is added, per packet
  double loss = 0;         // probability, per packet
  double duplication = 0;  // likewise
  double reordering = 0;   // likewise, that a packet takes up to 10 times the jitter. Only without `in_order`
  bool in_order = false;   // nothing but a duplicate is overtaken: a path through one queue
};

class Network {
 public:
  struct Host {
    std::function<void(Endpoint source, Endpoint destination, Bytes payload)> udp;  // lan
    std::function<void(Bytes packet)> ip;                                           // lan, protocol 50 or TCP
    std::function<void(Endpoint source, Endpoint destination, Bytes payload)> xcf;  // UDP on XCF
  };
  struct Options {
    PathQuality to_client;  // from every node
    PathQuality to_dvipa;   // from a client
    PathQuality xcf;
  };

  Network(VirtualTime& time, Transcript& transcript, const Options& options, std::uint64_t seed)
      : time_(time), transcript_(transcript), options_(options), rng_(seed) {}

  void attach(const std::string& name, Host host);
  /// What is under way to it is lost as well.
  void detach(const std::string& name);

  /// The lan: who answers for this address from now on. "": nobody.
  void set_address(IpAddress address, const std::string& name) { lan_[address] = name; }
  [[nodiscard]] const std::string& holder(IpAddress address) { return lan_[address]; }
  void set_xcf_address(IpAddress address, const std::string& name) { xcf_[address] = name; }

  void send_udp(const std::string& from, Endpoint source, Endpoint destination, Bytes payload);
  void send_ip(const std::string& from, Bytes packet);
  void send_xcf(const std::string& from, Endpoint source, Endpoint destination, Bytes payload);

  void isolate(const std::string& name) { isolated_.insert(name); }
  void rejoin(const std::string& name) { isolated_.erase(name); }
  /// No more losses, duplicates and detours: for the end of a run.
  void calm();

  [[nodiscard]] bool chance(double probability);
  [[nodiscard]] Duration up_to(Duration limit);

 private:
  using Deliver = std::function<void(const Host&)>;
  void carry(const std::string& from, const std::string& to, bool xcf, const char* what, const Deliver& deliver);
  void arrive_at(Time when, const std::string& from, const std::string& to, bool xcf, const Deliver& deliver);
  [[nodiscard]] const PathQuality& quality(const std::string& to, bool xcf) const;

  VirtualTime& time_;
  Transcript& transcript_;
  Options options_;
  SeededRng rng_;
  std::map<std::string, std::pair<std::uint64_t, Host>> hosts_;  // with a number for each life
  std::uint64_t lives_ = 0;
  std::map<IpAddress, std::string> lan_, xcf_;
  std::set<std::string> isolated_;
  std::map<std::pair<std::string, std::string>, Time> last_arrival_;  // of paths in order
};

}  // namespace testudo::sim
