// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/route_socket.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>

#include "io/netlink/interface_sysctls.h"
#include "io/socket_address.h"

namespace testudo::io {
namespace {

template <auto kFree>
struct Call {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using Addr = std::unique_ptr<nl_addr, Call<nl_addr_put>>;
using InterfaceAddr = std::unique_ptr<rtnl_addr, Call<rtnl_addr_put>>;
using Rule = std::unique_ptr<rtnl_rule, Call<rtnl_rule_put>>;
using Route = std::unique_ptr<rtnl_route, Call<rtnl_route_put>>;
using Cache = std::unique_ptr<nl_cache, Call<nl_cache_free>>;
using Link = std::unique_ptr<rtnl_link, Call<rtnl_link_put>>;

constexpr std::uint32_t kForever = 0xffffffff;  // seconds, of an address

Addr host_address(IpAddress a) {
  const std::string bytes = a.to_bytes();
  Addr out(nl_addr_build(family_of(a), bytes.data(), bytes.size()));
  nl_addr_set_prefixlen(out.get(), a.bits());
  return out;
}

/// 0.0.0.0 or :: for none.
IpAddress address_from(nl_addr* a, int family) {
  if (a != nullptr && nl_addr_get_len(a) != 0) {
    const auto* bytes = static_cast<const char*>(nl_addr_get_binary_addr(a));
    if (const auto address = IpAddress::from_bytes({bytes, nl_addr_get_len(a)})) return *address;
  }
  return family == AF_INET ? IpAddress(0) : IpAddress();
}

std::string host_prefix(IpAddress a) { return IpPrefix{a, a.bits()}.to_string(); }

/// Zero, or an error that means "already so", is success.
Result<void> check(int status, int fine, const std::string& what) {
  if (status >= 0 || status == -fine) return {};
  return fail(what + ": " + nl_geterror(status));
}

std::string interface_name(int index) {
  char name[IF_NAMESIZE] = {};
  return if_indextoname(static_cast<unsigned>(index), name) != nullptr ? name
                                                                       : "interface " + std::to_string(index);
}

InterfaceAddr interface_address(int interface, IpAddress address, std::chrono::seconds life = {}) {
  InterfaceAddr a(rtnl_addr_alloc());
  rtnl_addr_set_ifindex(a.get(), interface);
  rtnl_addr_set_local(a.get(), host_address(address).get());
  const std::uint32_t seconds = life.count() == 0 ? kForever : static_cast<std::uint32_t>(life.count());
  if (address.is_v6()) rtnl_addr_set_flags(a.get(), IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
  rtnl_addr_set_valid_lifetime(a.get(), seconds);
  rtnl_addr_set_preferred_lifetime(a.get(), address.is_v6() ? 0 : seconds);
  return a;
}

Rule make_rule(const RoutingRule& r) {
  Rule rule(rtnl_rule_alloc());
  rtnl_rule_set_family(rule.get(), family_of(r.source));
  rtnl_rule_set_prio(rule.get(), r.preference);
  rtnl_rule_set_action(rule.get(), FR_ACT_TO_TBL);
  rtnl_rule_set_table(rule.get(), r.table);
  if (r.mark != 0) {
    rtnl_rule_set_mark(rule.get(), r.mark);
    rtnl_rule_set_mask(rule.get(), 0xffffffff);
  }
  if (!r.source.is_unspecified()) rtnl_rule_set_src(rule.get(), host_address(r.source).get());
  return rule;
}

Route make_default_route(int family, std::uint32_t table, std::uint8_t type, std::uint8_t scope) {
  Route route(rtnl_route_alloc());
  nl_addr* any = nullptr;
  nl_addr_parse("default", family, &any);
  const Addr destination(any);
  rtnl_route_set_family(route.get(), static_cast<std::uint8_t>(family));
  rtnl_route_set_dst(route.get(), destination.get());
  rtnl_route_set_table(route.get(), table);
  rtnl_route_set_type(route.get(), type);
  rtnl_route_set_scope(route.get(), scope);
  rtnl_route_set_protocol(route.get(), RTPROT_STATIC);
  return route;
}

Route interface_route(int family, std::uint32_t table, int interface, RouteMetrics metrics = {}) {
  Route route = make_default_route(family, table, RTN_UNICAST, RT_SCOPE_LINK);
  if (metrics.mtu != 0) rtnl_route_set_metric(route.get(), RTAX_MTU, metrics.mtu);
  if (metrics.mss != 0) rtnl_route_set_metric(route.get(), RTAX_ADVMSS, metrics.mss);
  rtnl_nexthop* hop = rtnl_route_nh_alloc();  // the route owns it from here on
  rtnl_route_nh_set_ifindex(hop, interface);
  rtnl_route_add_nexthop(route.get(), hop);
  return route;
}

Route blackhole_route(int family, std::uint32_t table, std::uint32_t metric) {
  Route route = make_default_route(family, table, RTN_BLACKHOLE, RT_SCOPE_UNIVERSE);
  rtnl_route_set_priority(route.get(), metric);
  return route;
}

std::string in_table(std::uint32_t table) { return " in routing table " + std::to_string(table); }

}  // namespace

Result<RouteSocket> RouteSocket::open() {
  std::unique_ptr<nl_sock, Free> socket(nl_socket_alloc());
  if (socket == nullptr) return fail("no memory for a netlink socket");
  if (const int status = nl_connect(socket.get(), NETLINK_ROUTE); status < 0) {
    return fail(std::string("cannot open a netlink socket: ") + nl_geterror(status));
  }
  return RouteSocket(std::move(socket));
}

Result<bool> RouteSocket::add_address(int interface, IpAddress address, std::chrono::seconds life) {
  const int status =
      rtnl_addr_add(socket_.get(), interface_address(interface, address, life).get(), NLM_F_CREATE | NLM_F_EXCL);
  if (status == -NLE_EXIST) return false;
  if (status < 0) {
    return fail("cannot add " + host_prefix(address) + " to " + interface_name(interface) + ": " +
                nl_geterror(status) + "; CAP_NET_ADMIN is needed");
  }
  return true;
}

Result<void> RouteSocket::renew_address(int interface, IpAddress address, std::chrono::seconds life) {
  return check(
      rtnl_addr_add(socket_.get(), interface_address(interface, address, life).get(), NLM_F_CREATE | NLM_F_REPLACE),
      0, "cannot renew " + host_prefix(address) + " on " + interface_name(interface));
}

Result<void> RouteSocket::remove_address(int interface, IpAddress address) {
  return check(rtnl_addr_delete(socket_.get(), interface_address(interface, address).get(), 0), NLE_NOADDR,
               "cannot remove " + host_prefix(address) + " from " + interface_name(interface));
}

Result<std::set<RoutingRule>> RouteSocket::rules(std::uint32_t first, std::uint32_t last) {
  std::set<RoutingRule> found;
  if (auto done = add_rules(AF_INET, first, last, found); !done) return tl::unexpected(done.error());
  if (!has_ipv6()) return found;
  if (auto done = add_rules(AF_INET6, first, last, found); !done) return tl::unexpected(done.error());
  return found;
}

Result<void> RouteSocket::add_rules(int family, std::uint32_t first, std::uint32_t last,
                                    std::set<RoutingRule>& found) {
  nl_cache* raw = nullptr;
  if (const int status = rtnl_rule_alloc_cache(socket_.get(), family, &raw); status < 0) {
    return fail(std::string("cannot list the routing rules: ") + nl_geterror(status));
  }
  const Cache cache(raw);
  for (nl_object* o = nl_cache_get_first(cache.get()); o != nullptr; o = nl_cache_get_next(o)) {
    auto* rule = reinterpret_cast<rtnl_rule*>(o);
    const std::uint32_t preference = rtnl_rule_get_prio(rule);
    if (preference < first || preference > last) continue;
    found.insert({preference, rtnl_rule_get_mark(rule), address_from(rtnl_rule_get_src(rule), family),
                  rtnl_rule_get_table(rule)});
  }
  return {};
}

Result<void> RouteSocket::add_rule(const RoutingRule& rule) {
  return check(rtnl_rule_add(socket_.get(), make_rule(rule).get(), NLM_F_CREATE | NLM_F_EXCL), NLE_EXIST,
               "cannot add routing rule " + std::to_string(rule.preference) + "; CAP_NET_ADMIN is needed");
}

Result<void> RouteSocket::remove_rule(const RoutingRule& rule) {
  return check(rtnl_rule_delete(socket_.get(), make_rule(rule).get(), 0), NLE_OBJ_NOTFOUND,
               "cannot remove routing rule " + std::to_string(rule.preference));
}

Result<void> RouteSocket::set_default_route(int family, std::uint32_t table, int interface, RouteMetrics metrics) {
  const Route route = interface_route(family, table, interface, metrics);
  return check(rtnl_route_add(socket_.get(), route.get(), NLM_F_CREATE | NLM_F_REPLACE), NLE_EXIST,
               "cannot set the default route by " + interface_name(interface) + in_table(table));
}

Result<void> RouteSocket::set_blackhole(int family, std::uint32_t table, std::uint32_t metric) {
  const Route route = blackhole_route(family, table, metric);
  return check(rtnl_route_add(socket_.get(), route.get(), NLM_F_CREATE | NLM_F_REPLACE), NLE_EXIST,
               "cannot set the blackhole route" + in_table(table));
}

Result<void> RouteSocket::remove_blackhole(int family, std::uint32_t table, std::uint32_t metric) {
  return check(rtnl_route_delete(socket_.get(), blackhole_route(family, table, metric).get(), 0), NLE_OBJ_NOTFOUND,
               "cannot remove the blackhole route" + in_table(table));
}

Result<void> RouteSocket::remove_default_route(int family, std::uint32_t table, int interface) {
  return check(rtnl_route_delete(socket_.get(), interface_route(family, table, interface).get(), 0),
               NLE_OBJ_NOTFOUND,
               "cannot remove the default route by " + interface_name(interface) + in_table(table));
}

Result<InterfaceInfo> RouteSocket::interface(const std::string& name) {
  rtnl_link* raw_link = nullptr;
  if (const int status = rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &raw_link); status < 0) {
    return fail("network interface " + name + ": " + nl_geterror(status) + "; name one that `ip link` lists");
  }
  const Link link(raw_link);
  InterfaceInfo info{.index = rtnl_link_get_ifindex(link.get()),
                     .mtu = rtnl_link_get_mtu(link.get()),
                     .up = (rtnl_link_get_flags(link.get()) & IFF_UP) != 0,
                     .addresses = {}};
  nl_cache* raw = nullptr;
  if (const int status = rtnl_addr_alloc_cache(socket_.get(), &raw); status < 0) {
    return fail("cannot list the addresses of " + name + ": " + nl_geterror(status));
  }
  const Cache cache(raw);
  for (nl_object* o = nl_cache_get_first(cache.get()); o != nullptr; o = nl_cache_get_next(o)) {
    auto* a = reinterpret_cast<rtnl_addr*>(o);
    const int family = rtnl_addr_get_family(a);
    if (rtnl_addr_get_ifindex(a) != info.index || (family != AF_INET && family != AF_INET6)) continue;
    if (family == AF_INET6 && rtnl_addr_get_scope(a) == RT_SCOPE_LINK) continue;
    info.addresses.push_back(
        {address_from(rtnl_addr_get_local(a), family), static_cast<std::uint8_t>(rtnl_addr_get_prefixlen(a))});
  }
  return info;
}

}  // namespace testudo::io
