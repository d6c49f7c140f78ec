// SPDX-License-Identifier: Apache-2.0
// HostNetwork: what the control plane asks of the host's kernel: that packets of DVIPAs are steered to the daemon,
// who listens on which port, and who is connected. KernelNetwork is the real one; the simulation gives a fake.
//
//   io::KernelNetwork host;
//   host.apply({.network = "eth0", .tun = "testudo0", .dvipas = {{dvipa, /*owned=*/true}}});   // at every change
//   …
//   host.clear(steering);                                                                      // orderly stop only
//
// Threads: the control thread.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace testudo::io {

struct SteeredDvipa {
  IpAddress address;
  bool owned = false;  // this host answers neighbours for it (ARP, ND) and receives its packets from the network
  friend auto operator<=>(const SteeredDvipa&, const SteeredDvipa&) = default;
};

/// The whole state that is wanted.
struct Steering {
  std::string network = {};  // interface towards clients
  std::string tun = {};      // exists, made by TunPort
  std::string xcf = {};      // interface by which packets are forwarded; empty: none
  std::vector<SteeredDvipa> dvipas = {};
  /// So long after the last apply() or renew() this host no longer answers neighbours for what it owns: its node
  /// has died, and another host may own it. 0: it goes on.
  std::chrono::seconds lease = {};
};

/// A TCP port on which a socket of this host listens. 0.0.0.0 is the wildcard of IPv4, :: that of IPv6; a
/// dual-stack socket on :: is two listeners.
using Listener = Endpoint;

/// Whether the listener takes connections to a DVIPA (on its port).
[[nodiscard]] inline bool listens_on(const Listener& listener, IpAddress dvipa) {
  return listener.address == dvipa ||
         (listener.address.is_unspecified() && listener.address.is_v4() == dvipa.is_v4());
}

/// A TCP connection of a socket of this host.
struct TcpConnection {
  Endpoint local, remote;
  friend auto operator<=>(const TcpConnection&, const TcpConnection&) = default;
};

struct InterfaceInfo {
  int index = 0;
  std::uint32_t mtu = 0;  // bytes
  bool up = false;
  std::vector<IpPrefix> addresses;  // as assigned: the host's address and the prefix length, host bits kept;
                                    // without IPv6 link-local ones
};

class HostNetwork {
 public:
  HostNetwork() = default;
  HostNetwork(const HostNetwork&) = delete;
  HostNetwork& operator=(const HostNetwork&) = delete;
  virtual ~HostNetwork() = default;

  /// Makes the kernel's state what `wanted` says, whatever it was; the same once more changes nothing. Protection
  /// comes first and goes last, so no step leaves a DVIPA open. A DVIPA that is newly owned is announced.
  virtual Result<void> apply(const Steering& wanted) = 0;
  /// The lease begins anew.
  virtual Result<void> renew(const Steering& present) = 0;
  /// Takes everything away, also what a former run has left. For an orderly stop: after a crash it stays (fail
  /// closed).
  virtual Result<void> clear(const Steering& last) = 0;
  /// Tells all neighbours on the network interface where the DVIPA is now (ARP, or neighbour advertisement).
  virtual Result<void> announce(const std::string& network, IpAddress dvipa) = 0;
  /// Sockets that are bound to an interface other than `tun` are left out: they get nothing of a DVIPA. Cheap
  /// enough to be called every 100 ms.
  virtual Result<std::set<Listener>> listening_ports(const std::string& tun) = 0;
  /// Connections of the DVIPAs here, from their SYN to their last FIN; with the same exception. For takeovers: as
  /// long as the kernel's list of sockets is.
  virtual Result<std::set<TcpConnection>> connections(const std::string& tun,
                                                      std::span<const IpAddress> dvipas) = 0;
  virtual Result<InterfaceInfo> interface(const std::string& name) = 0;
};

}  // namespace testudo::io
