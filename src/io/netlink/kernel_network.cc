// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/kernel_network.h"

#include <net/if.h>

#include <algorithm>
#include <array>

#include "io/descriptor.h"
#include "io/netlink/announcement.h"
#include "io/netlink/firewall.h"
#include "io/netlink/inner_mtu.h"
#include "io/netlink/interface_sysctls.h"
#include "io/netlink/route_socket.h"
#include "io/netlink/tcp_sockets.h"
#include "io/socket_address.h"
#include "wire/ipv6.h"

namespace testudo::io {
namespace {

constexpr std::uint32_t kMarkPreference = 5270;
constexpr std::uint32_t kDvipaPreference = 5271;
constexpr std::uint32_t kTable = 5270;
constexpr std::uint32_t kMainTable = 254;
constexpr std::uint32_t kBlackholeMetric = 4278;
constexpr int kAnnouncements = 3;

constexpr std::array kFamilies = {AF_INET, AF_INET6};

RoutingRule mark_rule(int family) {
  return {kMarkPreference, kOwnMark, family == AF_INET ? IpAddress(0) : IpAddress(), kMainTable};
}
RoutingRule dvipa_rule(IpAddress dvipa) { return {kDvipaPreference, 0, dvipa, kTable}; }

bool has_family(const Steering& s, int family) {
  return std::ranges::any_of(s.dvipas, [&](const SteeredDvipa& d) { return family_of(d.address) == family; });
}

bool contains(const Steering& s, IpAddress address) {
  return std::ranges::any_of(s.dvipas, [&](const SteeredDvipa& d) { return d.address == address; });
}

/// Of this run and former ones.
Result<std::vector<IpAddress>> steered(RouteSocket& kernel) {
  const auto rules = kernel.rules(kDvipaPreference, kDvipaPreference);
  if (!rules) return tl::unexpected(rules.error());
  std::vector<IpAddress> found;
  for (const RoutingRule& r : *rules) found.push_back(r.source);
  return found;
}

Result<int> index_of(const std::string& interface, const char* advice) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) return fail("there is no interface " + interface + "; " + advice);
  return static_cast<int>(index);
}

struct Interfaces {
  int tun = 0;
  int network = 0;
  InterfaceMtus mtus;
};

Result<Interfaces> interfaces_of(RouteSocket& kernel, const Steering& wanted) {
  const auto tun = index_of(wanted.tun, "the TUN device must be opened first");
  if (!tun) return tl::unexpected(tun.error());
  const auto network = index_of(wanted.network, "name the network interface as `ip link` lists it");
  if (!network) return tl::unexpected(network.error());
  Interfaces all{.tun = *tun, .network = *network, .mtus = {}};
  const auto read_mtu = [&kernel](const std::string& name, std::uint32_t& mtu) -> Result<void> {
    const auto info = kernel.interface(name);
    if (!info) return tl::unexpected(info.error());
    mtu = info->mtu;
    return {};
  };
  if (auto done = read_mtu(wanted.tun, all.mtus.tun); !done) return tl::unexpected(done.error());
  if (auto done = read_mtu(wanted.network, all.mtus.network); !done) return tl::unexpected(done.error());
  if (wanted.xcf.empty()) return all;
  if (auto done = read_mtu(wanted.xcf, all.mtus.xcf); !done) return tl::unexpected(done.error());
  return all;
}

/// The TUN device takes IPv6, which the host may keep off new interfaces.
Result<void> prepare_ipv6(const Steering& wanted, const Interfaces& interfaces) {
  if (!has_family(wanted, AF_INET6)) return {};
  if (interfaces.mtus.tun < wire::kIpv6MtuMin) {
    return fail("IPv6 DVIPAs need an MTU of at least 1280 on " + wanted.tun + ", which has " +
                std::to_string(interfaces.mtus.tun) + "; set tun-mtu in [interfaces]");
  }
  return allow_ipv6(wanted.tun);
}

Result<void> set_routes(RouteSocket& kernel, int family, const Interfaces& interfaces) {
  if (auto done = kernel.set_blackhole(family, kTable, kBlackholeMetric); !done) return done;
  const InnerSizes sizes = inner_sizes(interfaces.mtus, family == AF_INET);
  const RouteMetrics metrics{.mtu = sizes.mtu, .mss = sizes.mss};
  if (auto done = kernel.set_default_route(family, kTable, interfaces.tun, metrics); !done) return done;
  return kernel.add_rule(mark_rule(family));
}

Result<void> set_routing(RouteSocket& kernel, const Steering& wanted, const Interfaces& interfaces) {
  for (const int family : kFamilies) {
    if (!has_family(wanted, family)) continue;
    if (auto done = set_routes(kernel, family, interfaces); !done) return done;
  }
  for (const SteeredDvipa& d : wanted.dvipas) {
    if (auto done = kernel.add_rule(dvipa_rule(d.address)); !done) return done;
  }
  return {};
}

Result<void> remove_routes(RouteSocket& kernel, int family) {
  if (auto done = kernel.remove_rule(mark_rule(family)); !done) return done;
  return kernel.remove_blackhole(family, kTable, kBlackholeMetric);
}

Result<void> set_sysctls(const Steering& wanted) {
  if (auto done = keep_arp_local(wanted.network); !done) return done;
  if (auto done = loosen_reverse_path_filter(wanted.network); !done) return done;
  return loosen_reverse_path_filter(wanted.tun);
}

Result<void> set_addresses(RouteSocket& kernel, const Steering& wanted, const Interfaces& interfaces) {
  for (const SteeredDvipa& d : wanted.dvipas) {
    if (auto done = kernel.add_address(interfaces.tun, d.address); !done) return tl::unexpected(done.error());
    if (!d.owned) {
      if (auto done = kernel.remove_address(interfaces.network, d.address); !done) return done;
      continue;
    }
    const auto added = kernel.add_address(interfaces.network, d.address, wanted.lease);
    if (!added) return tl::unexpected(added.error());
    for (int i = 0; *added && i < kAnnouncements; ++i) {
      if (auto done = announce_address(wanted.network, d.address); !done) return done;
    }
  }
  return {};
}

Result<void> remove_dvipa(RouteSocket& kernel, IpAddress dvipa, const Interfaces& interfaces) {
  if (auto done = kernel.remove_address(interfaces.tun, dvipa); !done) return done;
  if (auto done = kernel.remove_address(interfaces.network, dvipa); !done) return done;
  return kernel.remove_rule(dvipa_rule(dvipa));
}

}  // namespace

Result<void> KernelNetwork::apply(const Steering& wanted) {
  auto kernel = RouteSocket::open();
  if (!kernel) return tl::unexpected(kernel.error());
  const auto interfaces = interfaces_of(*kernel, wanted);
  if (!interfaces) return tl::unexpected(interfaces.error());
  const auto former = steered(*kernel);
  if (!former) return tl::unexpected(former.error());

  Steering guarded = wanted;  // what goes stays guarded until it is gone
  for (const IpAddress a : *former) {
    if (!contains(wanted, a)) guarded.dvipas.push_back({a, false});
  }
  if (auto done = set_firewall(guarded); !done) return done;
  if (auto done = prepare_ipv6(wanted, *interfaces); !done) return done;
  if (auto done = set_routing(*kernel, wanted, *interfaces); !done) return done;
  if (auto done = set_sysctls(wanted); !done) return done;
  if (auto done = set_addresses(*kernel, wanted, *interfaces); !done) return done;
  if (guarded.dvipas.size() == wanted.dvipas.size()) return {};
  for (std::size_t i = wanted.dvipas.size(); i < guarded.dvipas.size(); ++i) {
    if (auto done = remove_dvipa(*kernel, guarded.dvipas[i].address, *interfaces); !done) return done;
  }
  return set_firewall(wanted);
}

Result<void> KernelNetwork::renew(const Steering& present) {
  auto kernel = RouteSocket::open();
  if (!kernel) return tl::unexpected(kernel.error());
  const auto network = index_of(present.network, "it was there before");
  if (!network) return tl::unexpected(network.error());
  for (const SteeredDvipa& d : present.dvipas) {
    if (!d.owned) continue;
    if (auto done = kernel->renew_address(*network, d.address, present.lease); !done) return done;
  }
  return {};
}

Result<void> KernelNetwork::clear(const Steering& last) {
  auto kernel = RouteSocket::open();
  if (!kernel) return tl::unexpected(kernel.error());
  auto dvipas = steered(*kernel);
  if (!dvipas) return tl::unexpected(dvipas.error());
  for (const SteeredDvipa& d : last.dvipas) dvipas->push_back(d.address);
  std::vector<int> families = {AF_INET};
  if (has_ipv6()) families.push_back(AF_INET6);
  for (const std::string& interface : {last.tun, last.network}) {
    const auto index = static_cast<int>(if_nametoindex(interface.c_str()));
    if (index == 0) continue;  // gone, and its addresses with it
    for (const IpAddress a : *dvipas) {
      if (auto done = kernel->remove_address(index, a); !done) return done;
    }
    if (interface != last.tun) continue;
    for (const int family : families) {
      if (auto done = kernel->remove_default_route(family, kTable, index); !done) return done;
    }
  }
  for (const IpAddress a : *dvipas) {
    if (auto done = kernel->remove_rule(dvipa_rule(a)); !done) return done;
  }
  for (const int family : families) {
    if (auto done = remove_routes(*kernel, family); !done) return done;
  }
  return remove_firewall();
}

Result<void> KernelNetwork::announce(const std::string& network, IpAddress dvipa) {
  return announce_address(network, dvipa);
}

Result<std::set<Listener>> KernelNetwork::listening_ports(const std::string& tun) { return listening_tcp(tun); }

Result<std::set<TcpConnection>> KernelNetwork::connections(const std::string& tun,
                                                           std::span<const IpAddress> dvipas) {
  return connected_tcp(tun, dvipas);
}

Result<InterfaceInfo> KernelNetwork::interface(const std::string& name) {
  auto kernel = RouteSocket::open();
  if (!kernel) return tl::unexpected(kernel.error());
  return kernel->interface(name);
}

}  // namespace testudo::io
