// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/kernel_network.h"

#include <net/if.h>

#include <algorithm>

#include "io/descriptor.h"
#include "io/netlink/firewall.h"
#include "io/netlink/gratuitous_arp.h"
#include "io/netlink/interface_sysctls.h"
#include "io/netlink/listeners.h"
#include "io/netlink/route_socket.h"

namespace testudo::io {
namespace {

constexpr std::uint32_t kMarkPreference = 5270;
constexpr std::uint32_t kDvipaPreference = 5271;
constexpr std::uint32_t kTable = 5270;
constexpr std::uint32_t kMainTable = 254;
constexpr std::uint32_t kBlackholeMetric = 4278;
constexpr int kAnnouncements = 3;

RoutingRule mark_rule() { return {kMarkPreference, kOwnMark, {}, kMainTable}; }
RoutingRule dvipa_rule(IpAddress dvipa) { return {kDvipaPreference, 0, dvipa, kTable}; }

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

Result<void> set_routing(RouteSocket& kernel, const Steering& wanted, int tun) {
  if (auto done = kernel.set_blackhole(kTable, kBlackholeMetric); !done) return done;
  if (auto done = kernel.set_default_route(kTable, tun); !done) return done;
  if (auto done = kernel.add_rule(mark_rule()); !done) return done;
  for (const SteeredDvipa& d : wanted.dvipas) {
    if (auto done = kernel.add_rule(dvipa_rule(d.address)); !done) return done;
  }
  return {};
}

Result<void> set_sysctls(const Steering& wanted) {
  if (auto done = keep_arp_local(wanted.network); !done) return done;
  if (auto done = loosen_reverse_path_filter(wanted.network); !done) return done;
  return loosen_reverse_path_filter(wanted.tun);
}

}  // namespace

Result<void> KernelNetwork::apply(const Steering& wanted) {
  auto kernel = RouteSocket::open();
  if (!kernel) return tl::unexpected(kernel.error());
  const auto tun = index_of(wanted.tun, "the TUN device must be opened first");
  if (!tun) return tl::unexpected(tun.error());
  const auto network = index_of(wanted.network, "name the network interface as `ip link` lists it");
  if (!network) return tl::unexpected(network.error());
  const auto former = steered(*kernel);
  if (!former) return tl::unexpected(former.error());

  Steering guarded = wanted;  // what goes stays guarded until it is gone
  for (const IpAddress a : *former) {
    if (!contains(wanted, a)) guarded.dvipas.push_back({a, false});
  }
  if (auto done = set_firewall(guarded); !done) return done;
  if (auto done = set_routing(*kernel, wanted, *tun); !done) return done;
  if (auto done = set_sysctls(wanted); !done) return done;
  for (const SteeredDvipa& d : wanted.dvipas) {
    if (auto done = kernel->add_address(*tun, d.address); !done) return tl::unexpected(done.error());
    if (!d.owned) {
      if (auto done = kernel->remove_address(*network, d.address); !done) return done;
      continue;
    }
    const auto added = kernel->add_address(*network, d.address);
    if (!added) return tl::unexpected(added.error());
    for (int i = 0; *added && i < kAnnouncements; ++i) {
      if (auto done = announce_by_arp(wanted.network, d.address); !done) return done;
    }
  }
  if (guarded.dvipas.size() == wanted.dvipas.size()) return {};
  for (std::size_t i = wanted.dvipas.size(); i < guarded.dvipas.size(); ++i) {
    const IpAddress a = guarded.dvipas[i].address;
    if (auto done = kernel->remove_address(*tun, a); !done) return done;
    if (auto done = kernel->remove_address(*network, a); !done) return done;
    if (auto done = kernel->remove_rule(dvipa_rule(a)); !done) return done;
  }
  return set_firewall(wanted);
}

Result<void> KernelNetwork::clear(const Steering& last) {
  auto kernel = RouteSocket::open();
  if (!kernel) return tl::unexpected(kernel.error());
  auto dvipas = steered(*kernel);
  if (!dvipas) return tl::unexpected(dvipas.error());
  for (const SteeredDvipa& d : last.dvipas) dvipas->push_back(d.address);
  for (const std::string& interface : {last.tun, last.network}) {
    const auto index = static_cast<int>(if_nametoindex(interface.c_str()));
    if (index == 0) continue;  // gone, and its addresses with it
    for (const IpAddress a : *dvipas) {
      if (auto done = kernel->remove_address(index, a); !done) return done;
    }
    if (interface != last.tun) continue;
    if (auto done = kernel->remove_default_route(kTable, index); !done) return done;
  }
  for (const IpAddress a : *dvipas) {
    if (auto done = kernel->remove_rule(dvipa_rule(a)); !done) return done;
  }
  if (auto done = kernel->remove_rule(mark_rule()); !done) return done;
  if (auto done = kernel->remove_blackhole(kTable, kBlackholeMetric); !done) return done;
  return remove_firewall();
}

Result<void> KernelNetwork::announce(const std::string& network, IpAddress dvipa) {
  return announce_by_arp(network, dvipa);
}

Result<std::set<Listener>> KernelNetwork::listening_ports(const std::string& tun) { return listening_tcp(tun); }

Result<InterfaceInfo> KernelNetwork::interface(const std::string& name) {
  auto kernel = RouteSocket::open();
  if (!kernel) return tl::unexpected(kernel.error());
  return kernel->interface(name);
}

}  // namespace testudo::io
