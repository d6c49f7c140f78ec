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

void add_listeners(const nlmsghdr* h, std::set<Listener>& found) {
  const auto* m = static_cast<const inet_diag_msg*>(NLMSG_DATA(h));
  const std::uint16_t port = ntohs(m->id.idiag_sport);
  const IpAddress any_v4(0);
  if (m->idiag_family == AF_INET) {
    found.insert({IpAddress(ntohl(m->id.idiag_src[0])), port});
    return;
  }
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), m->id.idiag_src, bytes.size());
  const IpAddress address(bytes);  // a v4-mapped one is the IPv4 address that the socket takes connections for
  found.insert({address, port});
  if (address.is_v6() && address.is_unspecified() && !only_ipv6(h)) found.insert({any_v4, port});
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
    add_listeners(h, found);
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
