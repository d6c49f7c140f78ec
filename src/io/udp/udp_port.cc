// SPDX-License-Identifier: Apache-2.0
#include "io/udp/udp_port.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/socket_address.h"

namespace testudo::io {
namespace {

// The FORCE variants pass net.core.[rw]mem_max and need CAP_NET_ADMIN; without it the largest allowed is taken.
void set_buffers(int fd, std::uint32_t bytes) {
  const int size = static_cast<int>(bytes);
  if (!set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, size)) set_option(fd, SOL_SOCKET, SO_RCVBUF, size);
  if (!set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, size)) set_option(fd, SOL_SOCKET, SO_SNDBUF, size);
}

bool set_v4(int fd, const UdpPort::Options& o) {
  return set_option(fd, IPPROTO_IP, IP_PKTINFO, 1) && set_option(fd, IPPROTO_IP, IP_RECVTOS, 1) &&
         (!o.free_bind || set_option(fd, IPPROTO_IP, IP_FREEBIND, 1)) &&
         (!o.zero_checksum || set_option(fd, SOL_SOCKET, SO_NO_CHECK, 1));
}

bool set_v6(int fd, const UdpPort::Options& o) {
  return set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) && set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
         set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) && set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1) &&
         (!o.free_bind || set_option(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)) &&
         (!o.zero_checksum || set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, 1));
}

Result<void> set_up(int fd, const UdpPort::Options& o) {
  const std::string who = "UDP socket on " + o.local.to_string();
  set_buffers(fd, o.socket_buffer);
  if (!(o.local.address.is_v4() ? set_v4(fd, o) : set_v6(fd, o))) {
    return fail(
        system_error(who + ": the kernel refuses an option (addresses, traffic class, free bind, checksum)"));
  }
  if (o.mark != 0 && !set_option(fd, SOL_SOCKET, SO_MARK, static_cast<int>(o.mark))) {
    return fail(system_error(who + ": cannot mark its packets; CAP_NET_ADMIN is needed"));
  }
  if (!o.device.empty() &&
      !set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, o.device.c_str(), static_cast<unsigned>(o.device.size()))) {
    return fail(system_error(who + ": cannot bind it to interface " + o.device +
                             "; it must exist, and CAP_NET_RAW is needed"));
  }
  if (o.trains && !set_option(fd, IPPROTO_UDP, UDP_GRO, 1)) {
    return fail(system_error(who + ": UDP_GRO; Linux 5.0 or later is needed"));
  }
  return {};
}

Result<Endpoint> bind_to(int fd, const Endpoint& local) {
  SocketAddress address(local);
  if (bind(fd, address.get(), address.size()) != 0) {
    return fail(system_error("cannot bind UDP " + local.to_string() +
                             "; the address must be this host's and the port free"));
  }
  socklen_t size = SocketAddress::kRoom;
  if (getsockname(fd, address.get(), &size) != 0) {
    return fail(system_error("UDP " + local.to_string() + ": cannot read the local address"));
  }
  return address.endpoint();
}

}  // namespace

Result<std::unique_ptr<UdpPort>> UdpPort::open(const Options& options) {
  const int family = family_of(options.local.address);
  Descriptor socket(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.open()) return fail(system_error("cannot create a UDP socket for " + options.local.to_string()));
  if (auto done = set_up(socket.get(), options); !done) return tl::unexpected(done.error());
  auto local = bind_to(socket.get(), options.local);
  if (!local) return tl::unexpected(local.error());
  return std::unique_ptr<UdpPort>(new UdpPort(std::move(socket), *local, options));
}

UdpPort::UdpPort(Descriptor socket, Endpoint local, const Options& options)
    : socket_(std::move(socket)),
      local_(local),
      receiver_(options.receive_buffers, local),
      sender_(family_of(local.address), options.trains && !options.zero_checksum, local.address.is_unspecified()) {}

std::size_t UdpPort::receive(std::span<wire::Packet> out) {
  return receiver_.receive(socket_.get(), out, counters_);
}

void UdpPort::send(std::span<const wire::Outgoing> burst) { sender_.send(socket_.get(), burst, counters_); }

}  // namespace testudo::io
