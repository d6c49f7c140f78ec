// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/tcp_sockets.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "io/descriptor.h"

namespace testudo::io {
namespace {

constexpr const char* kWhat = "cannot list the TCP sockets";

/// In these a segment of the peer's finds a socket that waits for it. (TIME_WAIT has nothing left to say.)
constexpr std::uint32_t kConnected = 1U << TCP_ESTABLISHED | 1U << TCP_SYN_SENT | 1U << TCP_SYN_RECV |
                                     1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 | 1U << TCP_CLOSE_WAIT |
                                     1U << TCP_LAST_ACK | 1U << TCP_CLOSING;

Result<void> ask(int fd, std::uint8_t family, std::uint32_t states) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } m{};
  m.header.nlmsg_len = sizeof m;
  m.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  m.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  m.request.sdiag_family = family;
  m.request.sdiag_protocol = IPPROTO_TCP;
  m.request.idiag_states = states;
  if (::send(fd, &m, sizeof m, 0) < 0) return fail(system_error(kWhat));
  return {};
}

bool only_ipv6(const nlmsghdr* h) {
  const auto* m = static_cast<const inet_diag_msg*>(NLMSG_DATA(h));
  int left = static_cast<int>(h->nlmsg_len - NLMSG_LENGTH(sizeof *m));
  for (auto* a = reinterpret_cast<const rtattr*>(m + 1); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == INET_DIAG_SKV6ONLY) return *static_cast<const std::uint8_t*>(RTA_DATA(a)) != 0;
  }
  return false;
}

/// A v4-mapped address is the IPv4 address that the socket's packets have.
Endpoint endpoint_of(std::uint8_t family, const __be32 (&address)[4], __be16 port) {
  if (family == AF_INET) return {IpAddress(ntohl(address[0])), ntohs(port)};
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), address, bytes.size());
  return {IpAddress(bytes), ntohs(port)};
}

void add_listeners(const nlmsghdr* h, std::set<Listener>& found) {
  const auto* m = static_cast<const inet_diag_msg*>(NLMSG_DATA(h));
  const Endpoint at = endpoint_of(m->idiag_family, m->id.idiag_src, m->id.idiag_sport);
  found.insert(at);
  const bool any = at.address.is_v6() && at.address.is_unspecified();
  if (any && !only_ipv6(h)) found.insert({IpAddress(0), at.port});
}

/// Reads one answer of a dump, socket by socket; false: it was the last.
template <typename F>
Result<bool> read_part(int fd, unsigned tun, std::vector<std::uint8_t>& buffer, const F& each) {
  ssize_t left = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (left < 0) return fail(system_error(kWhat));
  for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
    if (h->nlmsg_type == NLMSG_DONE) return false;
    if (h->nlmsg_type == NLMSG_ERROR) {
      errno = -static_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
      return fail(system_error(kWhat));
    }
    const auto* m = static_cast<const inet_diag_msg*>(NLMSG_DATA(h));
    if (m->id.idiag_if != 0 && m->id.idiag_if != tun) continue;
    each(h);
  }
  return true;
}

template <typename F>
Result<void> dump(const std::string& tun, std::uint32_t states, const F& each) {
  const Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket.open()) return fail(system_error(kWhat));
  const unsigned tun_index = tun.empty() ? 0 : if_nametoindex(tun.c_str());
  std::vector<std::uint8_t> buffer(32768);  // the kernel fills no more into one answer
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    if (auto asked = ask(socket.get(), family, states); !asked) return asked;
    for (bool more = true; more;) {
      auto part = read_part(socket.get(), tun_index, buffer, each);
      if (!part) return tl::unexpected(part.error());
      more = *part;
    }
  }
  return {};
}

}  // namespace

Result<std::set<Listener>> listening_tcp(const std::string& tun) {
  std::set<Listener> found;
  const auto done = dump(tun, 1U << TCP_LISTEN, [&found](const nlmsghdr* h) { add_listeners(h, found); });
  if (!done) return tl::unexpected(done.error());
  return found;
}

Result<std::set<TcpConnection>> connected_tcp(const std::string& tun, std::span<const IpAddress> local) {
  std::set<TcpConnection> found;
  const auto add = [&](const nlmsghdr* h) {
    const auto* m = static_cast<const inet_diag_msg*>(NLMSG_DATA(h));
    const Endpoint here = endpoint_of(m->idiag_family, m->id.idiag_src, m->id.idiag_sport);
    if (std::ranges::find(local, here.address) == local.end()) return;
    found.insert({here, endpoint_of(m->idiag_family, m->id.idiag_dst, m->id.idiag_dport)});
  };
  const auto done = dump(tun, kConnected, add);
  if (!done) return tl::unexpected(done.error());
  return found;
}

}  // namespace testudo::io
