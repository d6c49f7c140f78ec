// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/listeners.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "io/descriptor.h"

namespace testudo::io {
namespace {

constexpr const char* kWhat = "cannot list the listening TCP sockets";

Result<void> ask(int fd, std::uint8_t family) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } m{};
  m.header.nlmsg_len = sizeof m;
  m.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  m.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  m.request.sdiag_family = family;
  m.request.sdiag_protocol = IPPROTO_TCP;
  m.request.idiag_states = 1U << TCP_LISTEN;
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

/// The IPv4 address that the socket takes connections for, if any.
std::optional<IpAddress> ipv4_of(const nlmsghdr* h) {
  const auto* m = static_cast<const inet_diag_msg*>(NLMSG_DATA(h));
  const auto* s = m->id.idiag_src;
  if (m->idiag_family == AF_INET) return IpAddress(ntohl(s[0]));
  if (s[0] != 0 || s[1] != 0 || only_ipv6(h)) return std::nullopt;
  const bool wildcard = s[2] == 0 && s[3] == 0;
  const bool mapped = s[2] == htonl(0xffff);  // ::ffff:192.0.2.1
  if (!wildcard && !mapped) return std::nullopt;
  return IpAddress(ntohl(s[3]));
}

/// Reads one answer of a dump into `found`; false: it was the last.
Result<bool> read_part(int fd, unsigned tun, std::vector<std::uint8_t>& buffer, std::set<Listener>& found) {
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
    if (const auto address = ipv4_of(h)) found.insert({*address, ntohs(m->id.idiag_sport)});
  }
  return true;
}

}  // namespace

Result<std::set<Listener>> listening_tcp(const std::string& tun) {
  const Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket.open()) return fail(system_error(kWhat));
  const unsigned tun_index = tun.empty() ? 0 : if_nametoindex(tun.c_str());
  std::set<Listener> found;
  std::vector<std::uint8_t> buffer(32768);  // the kernel fills no more into one answer
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    if (auto asked = ask(socket.get(), family); !asked) return tl::unexpected(asked.error());
    for (bool more = true; more;) {
      auto part = read_part(socket.get(), tun_index, buffer, found);
      if (!part) return tl::unexpected(part.error());
      more = *part;
    }
  }
  return found;
}

}  // namespace testudo::io
