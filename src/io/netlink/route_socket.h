// SPDX-License-Identifier: Apache-2.0
// RouteSocket: rules, routes and addresses of the kernel through libnl-route, of both families. Every operation is
// idempotent: what is there already, or gone already, is no error.
#pragma once

#include <netlink/netlink.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "io/netlink/host_network.h"

namespace testudo::io {

/// One policy routing rule of ours (`ip rule`).
struct RoutingRule {
  std::uint32_t preference = 0;
  std::uint32_t mark = 0;  // 0: any
  IpAddress source;        // 0.0.0.0 or ::, any: its family is the rule's
  std::uint32_t table = 0;
  friend auto operator<=>(const RoutingRule&, const RoutingRule&) = default;
};

/// What applies to the packets of a route; 0: what the device says.
struct RouteMetrics {
  std::uint32_t mtu = 0;  // bytes
  std::uint32_t mss = 0;  // bytes of TCP data that peers are asked to send at once
};

class RouteSocket {
 public:
  static Result<RouteSocket> open();

  /// As a host address. An IPv6 one is used at once, without duplicate address detection (another host has it too),
  /// and is "deprecated": the kernel never chooses it for what does not ask for it. After `life` the kernel removes
  /// it; 0: never. True: it was not there before.
  Result<bool> add_address(int interface, IpAddress address, std::chrono::seconds life = {});
  /// Its life begins anew.
  Result<void> renew_address(int interface, IpAddress address, std::chrono::seconds life);
  Result<void> remove_address(int interface, IpAddress address);

  /// All of `first` ≤ preference ≤ `last`. Of IPv6 none where the kernel has no IPv6.
  Result<std::set<RoutingRule>> rules(std::uint32_t first, std::uint32_t last);
  Result<void> add_rule(const RoutingRule& rule);
  Result<void> remove_rule(const RoutingRule& rule);

  /// The default routes of a table, `family` AF_INET or AF_INET6: by an interface, and one that swallows everything
  /// behind it.
  Result<void> set_default_route(int family, std::uint32_t table, int interface, RouteMetrics metrics);
  Result<void> set_blackhole(int family, std::uint32_t table, std::uint32_t metric);
  Result<void> remove_blackhole(int family, std::uint32_t table, std::uint32_t metric);
  Result<void> remove_default_route(int family, std::uint32_t table, int interface);

  Result<InterfaceInfo> interface(const std::string& name);

 private:
  Result<void> add_rules(int family, std::uint32_t first, std::uint32_t last, std::set<RoutingRule>& found);
  struct Free {
    void operator()(nl_sock* s) const { nl_socket_free(s); }
  };
  explicit RouteSocket(std::unique_ptr<nl_sock, Free> socket) : socket_(std::move(socket)) {}
  std::unique_ptr<nl_sock, Free> socket_;
};

}  // namespace testudo::io
