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

Result<void> set_up(int fd, const UdpPort::Options& o) {
  const std::string who = "UDP socket on " + o.local.to_string();
  set_buffers(fd, o.socket_buffer);
  if (!set_option(fd, IPPROTO_IP, IP_PKTINFO, 1) || !set_option(fd, IPPROTO_IP, IP_RECVTOS, 1)) {
    return fail(system_error(who + ": cannot ask for addresses and traffic class"));
  }
  if (o.free_bind && !set_option(fd, IPPROTO_IP, IP_FREEBIND, 1)) return fail(system_error(who + ": IP_FREEBIND"));
  if (o.mark != 0 && !set_option(fd, SOL_SOCKET, SO_MARK, static_cast<int>(o.mark))) {
    return fail(system_error(who + ": cannot mark its packets; CAP_NET_ADMIN is needed"));
  }
  if (!o.device.empty() &&
      !set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, o.device.c_str(), static_cast<unsigned>(o.device.size()))) {
    return fail(system_error(who + ": cannot bind it to interface " + o.device +
                             "; it must exist, and CAP_NET_RAW is needed"));
  }
  if (o.zero_checksum && !set_option(fd, SOL_SOCKET, SO_NO_CHECK, 1))
    return fail(system_error(who + ": SO_NO_CHECK"));
  if (o.trains && !set_option(fd, IPPROTO_UDP, UDP_GRO, 1)) {
    return fail(system_error(who + ": UDP_GRO; Linux 5.0 or later is needed"));
  }
  return {};
}

Result<Endpoint> bind_to(int fd, const Endpoint& local) {
  sockaddr_in address = to_socket_address(local);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(system_error("cannot bind UDP " + local.to_string() +
                             "; the address must be this host's and the port free"));
  }
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return fail(system_error("UDP " + local.to_string() + ": cannot read the local address"));
  }
  return to_endpoint(address);
}

}  // namespace

Result<std::unique_ptr<UdpPort>> UdpPort::open(const Options& options) {
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.open()) return fail(system_error("cannot create a UDP socket"));
  if (auto done = set_up(socket.get(), options); !done) return tl::unexpected(done.error());
  auto local = bind_to(socket.get(), options.local);
  if (!local) return tl::unexpected(local.error());
  return std::unique_ptr<UdpPort>(new UdpPort(std::move(socket), *local, options));
}

UdpPort::UdpPort(Descriptor socket, Endpoint local, const Options& options)
    : socket_(std::move(socket)),
      local_(local),
      receiver_(options.receive_buffers, local),
      sender_(options.trains && !options.zero_checksum, local.address.is_unspecified()) {}

std::size_t UdpPort::receive(std::span<wire::Packet> out) {
  return receiver_.receive(socket_.get(), out, counters_);
}

void UdpPort::send(std::span<const wire::Outgoing> burst) { sender_.send(socket_.get(), burst, counters_); }

}  // namespace testudo::io
