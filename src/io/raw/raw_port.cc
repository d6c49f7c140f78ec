// SPDX-License-Identifier: Apache-2.0
#include "io/raw/raw_port.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "io/raw/tap_filter.h"
#include "io/virtio_header.h"

namespace testudo::io {
namespace {

constexpr std::size_t kPacketMax = 65536;  // bytes, of a super-segment
constexpr std::uint32_t kHeaders = sizeof(VirtioHeader) + kEthernetHeaderSize;
constexpr std::size_t kSendBatch = 64;  // packets in one sendmmsg()

Result<void> attach(int fd, std::vector<sock_filter> code) {
  if (code.size() > BPF_MAXINSNS) {
    return fail("the owned IPv6 DVIPAs lie in too many networks for one packet filter; take them from fewer /96");
  }
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (!set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) {
    return fail(system_error("cannot set the packet filter for the owned DVIPAs"));
  }
  return {};
}

Result<unsigned> ethernet_index(int fd, const std::string& device) {
  const unsigned index = if_nametoindex(device.c_str());
  if (index == 0) return fail(system_error("network interface " + device + "; name one that `ip link` lists"));
  ifreq r{};
  device.copy(r.ifr_name, IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFHWADDR, &r) != 0 || r.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    return fail("network interface " + device + " is no Ethernet interface; DVIPAs need one");
  }
  return index;
}

// Bound last: with protocol 0 the socket gets nothing before its filter is in place. SOCK_RAW, because SOCK_DGRAM
// has no PACKET_VNET_HDR. One for each protocol and none for all: those would see packets before tc's filters do.
Result<Descriptor> open_tap(const RawPort::Options& o, std::uint16_t protocol, std::vector<sock_filter> filter) {
  Descriptor tap(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!tap.open()) return fail(system_error("cannot create a packet socket; CAP_NET_RAW is needed"));
  const auto index = ethernet_index(tap.get(), o.device);
  if (!index) return tl::unexpected(index.error());
  if (auto done = attach(tap.get(), std::move(filter)); !done) return tl::unexpected(done.error());
  const int size = static_cast<int>(o.socket_buffer);
  if (!set_option(tap.get(), SOL_SOCKET, SO_RCVBUFFORCE, size)) set_option(tap.get(), SOL_SOCKET, SO_RCVBUF, size);
  if (!set_option(tap.get(), SOL_PACKET, PACKET_VNET_HDR, 1) ||
      !set_option(tap.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)) {
    return fail(system_error("packet socket on " + o.device + ": Linux 4.20 or later is needed"));
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = static_cast<int>(*index);
  if (bind(tap.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(system_error("cannot bind a packet socket to " + o.device));
  }
  return tap;
}

// IPPROTO_RAW implies IP_HDRINCL and IPV6_HDRINCL.
Result<Descriptor> open_out(const RawPort::Options& o, int family) {
  Descriptor out(::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
  if (!out.open() && family == AF_INET6 && errno == EAFNOSUPPORT) return out;
  if (!out.open()) return fail(system_error("cannot create a raw IP socket; CAP_NET_RAW is needed"));
  const int size = static_cast<int>(o.socket_buffer);
  if (!set_option(out.get(), SOL_SOCKET, SO_SNDBUFFORCE, size)) set_option(out.get(), SOL_SOCKET, SO_SNDBUF, size);
  if (o.mark != 0 && !set_option(out.get(), SOL_SOCKET, SO_MARK, static_cast<int>(o.mark))) {
    return fail(system_error("cannot mark a raw socket's packets; CAP_NET_ADMIN is needed"));
  }
  return out;
}

Result<Descriptor> watch_both(std::span<const Descriptor> taps) {
  Descriptor both(epoll_create1(EPOLL_CLOEXEC));
  if (!both.open()) return fail(system_error("cannot create an epoll descriptor"));
  for (const Descriptor& tap : taps) {
    epoll_event readable{.events = EPOLLIN, .data = {}};
    if (epoll_ctl(both.get(), EPOLL_CTL_ADD, tap.get(), &readable) != 0) {
      return fail(system_error("cannot watch a packet socket"));
    }
  }
  return both;
}

/// A byte of a packet that may be spread over head and body.
std::uint8_t byte_of(const wire::Outgoing& o, std::size_t at) {
  return at < o.head_size ? o.head[at] : o.body[at - o.head_size];
}

bool is_v4(const wire::Outgoing& o) { return byte_of(o, 0) >> 4 == 4; }

IpAddress destination_of(const wire::Outgoing& o) {
  std::array<std::uint8_t, 16> bytes{};
  if (!is_v4(o)) {
    for (std::size_t i = 0; i < 16; ++i) bytes[i] = byte_of(o, 24 + i);
    return IpAddress(bytes);
  }
  std::uint32_t value = 0;
  for (std::size_t i = 16; i < 20; ++i) value = value << 8 | byte_of(o, i);
  return IpAddress(value);
}

}  // namespace

Result<RawPort::Sockets> RawPort::open_sockets(const Options& options) {
  Sockets s;
  const auto put = [](Descriptor& where, Result<Descriptor> opened) -> Result<void> {
    if (!opened) return tl::unexpected(opened.error());
    where = std::move(*opened);
    return {};
  };
  for (auto done : {put(s.taps[kV4], open_tap(options, ETH_P_IP, tap_filter_v4({}))),
                    put(s.taps[kV6], open_tap(options, ETH_P_IPV6, tap_filter_v6({}))),
                    put(s.out[kV4], open_out(options, AF_INET)), put(s.out[kV6], open_out(options, AF_INET6)),
                    put(s.ready, watch_both(s.taps))}) {
    if (!done) return tl::unexpected(done.error());
  }
  return s;
}

Result<std::unique_ptr<RawPort>> RawPort::open(const Options& options) {
  auto sockets = open_sockets(options);
  if (!sockets) return tl::unexpected(sockets.error());
  return std::unique_ptr<RawPort>(new RawPort(std::move(*sockets), options.receive_buffers));
}

RawPort::RawPort(Sockets sockets, std::size_t buffers)
    : sockets_(std::move(sockets)),
      memory_(new std::uint8_t[buffers * kPacketMax]),
      headers_(buffers),
      received_(buffers),
      received_pieces_(3 * buffers),
      sending_(kSendBatch),
      sending_pieces_(2 * kSendBatch),
      destinations_(kSendBatch) {
  for (std::size_t i = 0; i < buffers; ++i) {
    iovec* pieces = &received_pieces_[3 * i];
    pieces[0] = {&headers_[i], sizeof(VirtioHeader)};
    pieces[1] = {ethernet_.data(), ethernet_.size()};
    pieces[2] = {memory_.get() + i * kPacketMax, kPacketMax};
    received_[i].msg_hdr.msg_iov = pieces;
    received_[i].msg_hdr.msg_iovlen = 3;
  }
}

Result<void> RawPort::set_addresses(std::span<const IpAddress> owned) {
  if (owned.size() > kAddressesMax) {
    return fail(std::to_string(owned.size()) + " owned DVIPAs are more than the " + std::to_string(kAddressesMax) +
                " that one host can own");
  }
  if (auto done = attach(sockets_.taps[kV4].get(), tap_filter_v4(owned)); !done) return done;
  return attach(sockets_.taps[kV6].get(), tap_filter_v6(owned));
}

std::size_t RawPort::receive(std::span<wire::Packet> out) {
  out = out.first(std::min(out.size(), received_.size()));
  std::size_t n = 0;
  const std::size_t used = read(sockets_.taps[turn_], 0, out, n);
  turn_ = 1 - turn_;  // neither version starves the other
  if (used < out.size()) read(sockets_.taps[turn_], used, out, n);
  counters_.packets_in.add(n);
  return n;
}

std::size_t RawPort::read(const Descriptor& tap, std::size_t first, std::span<wire::Packet> out,
                          std::size_t& taken) {
  const auto room = static_cast<unsigned>(out.size() - first);
  const int got = recvmmsg(tap.get(), &received_[first], room, MSG_DONTWAIT, nullptr);
  const std::size_t end = first + static_cast<std::size_t>(std::max(got, 0));
  for (std::size_t i = first; i < end; ++i) {
    if (received_[i].msg_len <= kHeaders) continue;
    const std::span bytes(memory_.get() + i * kPacketMax, received_[i].msg_len - kHeaders);
    if (!usable(i, bytes)) continue;
    if (++train_ == 0) train_ = 1;
    wire::Packet& packet = out[taken++] = {};
    packet.data = bytes.data();
    packet.size = static_cast<std::uint32_t>(bytes.size());
    packet.train = train_;
    packet.segment_size =
        headers_[i].gso_type == VirtioHeader::kGsoNone ? std::uint16_t{0} : headers_[i].segment_size;
    packet.checksum_missing = (headers_[i].flags & VirtioHeader::kNeedsChecksum) != 0;
    counters_.bytes_in.add(packet.size);
  }
  return end - first;
}

bool RawPort::usable(std::size_t buffer, std::span<const std::uint8_t> packet) {
  counters_.trains_in.add();
  if (packet[0] >> 4 == 6 && left_to_the_kernel(packet)) return false;
  switch (headers_[buffer].super_segment()) {
    case VirtioHeader::kGsoNone:
    case VirtioHeader::kGsoTcp4:
    case VirtioHeader::kGsoTcp6:
    case VirtioHeader::kGsoUdp:
      return true;
    default:
      unusable_.add();
      return false;
  }
}

void RawPort::send(std::span<const wire::Outgoing> burst) {
  while (!burst.empty()) {
    const bool v4 = is_v4(burst.front());
    std::size_t n = 0;
    for (; n < std::min(burst.size(), kSendBatch) && is_v4(burst[n]) == v4; ++n) prepare(n, burst[n]);
    transmit(v4 ? kV4 : kV6, burst.first(n));
    burst = burst.subspan(n);
  }
}

void RawPort::prepare(std::size_t index, const wire::Outgoing& packet) {
  CHECK(packet.segment_size == 0 && packet.size() >= (is_v4(packet) ? 20 : 40));
  iovec* pieces = &sending_pieces_[2 * index];
  pieces[0] = {const_cast<std::uint8_t*>(packet.head.data()), packet.head_size};
  pieces[1] = {const_cast<std::uint8_t*>(packet.body), packet.body_size};
  destinations_[index] = SocketAddress({destination_of(packet), 0});
  msghdr& m = sending_[index].msg_hdr;
  m = {};
  m.msg_name = destinations_[index].get();
  m.msg_namelen = destinations_[index].size();
  m.msg_iov = pieces;
  m.msg_iovlen = 2;
}

void RawPort::transmit(Version version, std::span<const wire::Outgoing> batch) {
  const int out = sockets_.out[version].get();
  std::size_t done = 0;
  while (done < batch.size()) {
    const int n = sendmmsg(out, &sending_[done], static_cast<unsigned>(batch.size() - done), MSG_DONTWAIT);
    if (n <= 0) {
      counters_.send_failed.add();
      ++done;
      continue;
    }
    for (int i = 0; i < n; ++i) counters_.bytes_out.add(batch[done++].size());
    counters_.packets_out.add(static_cast<std::uint64_t>(n));
    counters_.trains_out.add(static_cast<std::uint64_t>(n));
  }
}

}  // namespace testudo::io
