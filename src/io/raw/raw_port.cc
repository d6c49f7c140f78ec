// SPDX-License-Identifier: Apache-2.0
#include "io/raw/raw_port.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/check.h"
#include "io/raw/tap_filter.h"
#include "io/socket_address.h"
#include "io/virtio_header.h"

namespace testudo::io {
namespace {

constexpr std::size_t kPacketMax = 65536;  // bytes, of a super-segment
constexpr std::uint32_t kHeaders = sizeof(VirtioHeader) + kEthernetHeaderSize;
constexpr std::size_t kSendBatch = 64;  // packets in one sendmmsg()

Result<void> attach(int fd, std::span<const IpAddress> owned) {
  std::vector<sock_filter> code = tap_filter(owned);
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (!set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) {
    return fail(system_error("cannot set the packet filter for " + std::to_string(owned.size()) + " DVIPAs"));
  }
  return {};
}

// Bound last: with protocol 0 the socket gets nothing before its filter is in place.
Result<Descriptor> open_tap(const RawPort::Options& o) {
  const unsigned index = if_nametoindex(o.device.c_str());
  if (index == 0) return fail(system_error("network interface " + o.device + "; name one that `ip link` lists"));
  // SOCK_RAW, because SOCK_DGRAM has no PACKET_VNET_HDR.
  Descriptor tap(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!tap.open()) return fail(system_error("cannot create a packet socket; CAP_NET_RAW is needed"));
  ifreq r{};
  o.device.copy(r.ifr_name, IFNAMSIZ - 1);
  if (ioctl(tap.get(), SIOCGIFHWADDR, &r) != 0 || r.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    return fail("network interface " + o.device + " is no Ethernet interface; DVIPAs need one");
  }
  if (auto done = attach(tap.get(), {}); !done) return tl::unexpected(done.error());
  const int size = static_cast<int>(o.socket_buffer);
  if (!set_option(tap.get(), SOL_SOCKET, SO_RCVBUFFORCE, size)) set_option(tap.get(), SOL_SOCKET, SO_RCVBUF, size);
  if (!set_option(tap.get(), SOL_PACKET, PACKET_VNET_HDR, 1) ||
      !set_option(tap.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)) {
    return fail(system_error("packet socket on " + o.device + ": Linux 4.20 or later is needed"));
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_IP);
  address.sll_ifindex = static_cast<int>(index);
  if (bind(tap.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(system_error("cannot bind a packet socket to " + o.device));
  }
  return tap;
}

Result<Descriptor> open_out(const RawPort::Options& o) {
  Descriptor out(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));  // implies IP_HDRINCL
  if (!out.open()) return fail(system_error("cannot create a raw IPv4 socket; CAP_NET_RAW is needed"));
  const int size = static_cast<int>(o.socket_buffer);
  if (!set_option(out.get(), SOL_SOCKET, SO_SNDBUFFORCE, size)) set_option(out.get(), SOL_SOCKET, SO_SNDBUF, size);
  if (o.mark != 0 && !set_option(out.get(), SOL_SOCKET, SO_MARK, static_cast<int>(o.mark))) {
    return fail(system_error("cannot mark a raw socket's packets; CAP_NET_ADMIN is needed"));
  }
  return out;
}

/// The destination in an IPv4 header that may be spread over head and body.
IpAddress destination_of(const wire::Outgoing& o) {
  std::uint32_t value = 0;
  for (std::size_t i = 16; i < 20; ++i)
    value = value << 8 | (i < o.head_size ? o.head[i] : o.body[i - o.head_size]);
  return IpAddress(value);
}

}  // namespace

Result<std::unique_ptr<RawPort>> RawPort::open(const Options& options) {
  auto tap = open_tap(options);
  if (!tap) return tl::unexpected(tap.error());
  auto out = open_out(options);
  if (!out) return tl::unexpected(out.error());
  return std::unique_ptr<RawPort>(new RawPort(std::move(*tap), std::move(*out), options.receive_buffers));
}

RawPort::RawPort(Descriptor tap, Descriptor out, std::size_t buffers)
    : tap_(std::move(tap)),
      out_(std::move(out)),
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
  return attach(tap_.get(), owned);
}

std::size_t RawPort::receive(std::span<wire::Packet> out) {
  const auto room = static_cast<unsigned>(std::min(out.size(), received_.size()));
  const int got = recvmmsg(tap_.get(), received_.data(), room, MSG_DONTWAIT, nullptr);
  std::size_t n = 0;
  for (int i = 0; i < got; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const VirtioHeader& header = headers_[index];
    const bool tcp = (header.gso_type & ~VirtioHeader::kGsoEcn) == VirtioHeader::kGsoTcp4;
    const bool usable = header.gso_type == VirtioHeader::kGsoNone || tcp;
    if (received_[index].msg_len <= kHeaders) continue;
    counters_.trains_in.add();
    if (!usable) {
      unusable_.add();
      continue;
    }
    if (++train_ == 0) train_ = 1;
    wire::Packet& packet = out[n++] = {};
    packet.data = memory_.get() + index * kPacketMax;
    packet.size = received_[index].msg_len - kHeaders;
    packet.train = train_;
    packet.segment_size = tcp ? header.segment_size : std::uint16_t{0};
    packet.checksum_missing = (header.flags & VirtioHeader::kNeedsChecksum) != 0;
    counters_.bytes_in.add(packet.size);
  }
  counters_.packets_in.add(n);
  return n;
}

void RawPort::send(std::span<const wire::Outgoing> burst) {
  while (!burst.empty()) {
    const std::size_t n = std::min(burst.size(), kSendBatch);
    for (std::size_t i = 0; i < n; ++i) prepare(i, burst[i]);
    transmit(burst.first(n));
    burst = burst.subspan(n);
  }
}

void RawPort::prepare(std::size_t index, const wire::Outgoing& packet) {
  CHECK(packet.segment_size == 0 && packet.size() >= 20);
  iovec* pieces = &sending_pieces_[2 * index];
  pieces[0] = {const_cast<std::uint8_t*>(packet.head.data()), packet.head_size};
  pieces[1] = {const_cast<std::uint8_t*>(packet.body), packet.body_size};
  destinations_[index] = to_socket_address({destination_of(packet), 0});
  msghdr& m = sending_[index].msg_hdr;
  m = {};
  m.msg_name = &destinations_[index];
  m.msg_namelen = sizeof(sockaddr_in);
  m.msg_iov = pieces;
  m.msg_iovlen = 2;
}

void RawPort::transmit(std::span<const wire::Outgoing> batch) {
  std::size_t done = 0;
  while (done < batch.size()) {
    const int n = sendmmsg(out_.get(), &sending_[done], static_cast<unsigned>(batch.size() - done), MSG_DONTWAIT);
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
