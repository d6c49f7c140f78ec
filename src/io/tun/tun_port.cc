// SPDX-License-Identifier: Apache-2.0
#include "io/tun/tun_port.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "io/netlink/interface_sysctls.h"
#include "io/virtio_header.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::io {
namespace {

constexpr std::size_t kPacketMax = 65536;            // bytes, of a super-segment
constexpr std::size_t kArenaSize = 16 * kPacketMax;  // bytes; super-segments that one receive() can take in
constexpr std::size_t kAlignment = 64;               // a cache line

using Header = VirtioHeader;

ifreq request(const std::string& name) {
  ifreq r{};
  std::memcpy(r.ifr_name, name.data(), name.size());
  return r;
}

Result<void> set_up_interface(const TunPort::Options& o) {
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq mtu = request(o.name);
  mtu.ifr_mtu = o.mtu;
  if (ioctl(socket.get(), SIOCSIFMTU, &mtu) != 0) {
    return fail(system_error("cannot set MTU " + std::to_string(o.mtu) + " on " + o.name));
  }
  ifreq flags = request(o.name);
  if (ioctl(socket.get(), SIOCGIFFLAGS, &flags) != 0)
    return fail(system_error("cannot read the flags of " + o.name));
  flags.ifr_flags = static_cast<short>(flags.ifr_flags | IFF_UP);
  if (ioctl(socket.get(), SIOCSIFFLAGS, &flags) != 0) return fail(system_error("cannot bring up " + o.name));
  return {};
}

Result<void> set_offload(int device, const TunPort::Options& o) {
#ifndef TUN_F_USO4  // the headers are older than the kernel may be
  constexpr unsigned TUN_F_USO4 = 0x20, TUN_F_USO6 = 0x40;
#endif
  const unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (o.udp_trains && ioctl(device, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0) return {};
  if (ioctl(device, TUNSETOFFLOAD, tcp) == 0) return {};
  return fail(system_error("TUN device " + o.name + ": cannot switch on segmentation offload"));
}

/// IPv6 that the kernel says to a link's neighbours: of no use behind a TUN device.
bool is_link_talk(const std::uint8_t* packet, std::size_t size) {
  if (packet[0] >> 4 != 6 || size < wire::kIpv6HeaderSize) return false;
  const auto& ip = *reinterpret_cast<const wire::Ipv6Header*>(packet);
  const auto link_local = [](const std::uint8_t* a) { return a[0] == 0xfe && (a[1] & 0xc0) == 0x80; };
  const bool to_link = ip.destination_bytes[0] == 0xff && (ip.destination_bytes[1] & 0x0f) <= 2;  // RFC 4291 2.7
  return to_link || link_local(ip.source_bytes) || link_local(ip.destination_bytes) || ip.source().is_unspecified();
}

/// `header_size`: of the IP and the transport header, bytes.
Header super_segment_header(std::uint8_t type, std::size_t ip_size, std::size_t header_size,
                            std::uint16_t segment_size) {
  Header h;
  h.flags = Header::kNeedsChecksum;
  h.gso_type = type;
  h.header_size = static_cast<std::uint16_t>(header_size);
  h.segment_size = segment_size;
  h.checksum_start = static_cast<std::uint16_t>(ip_size);
  h.checksum_offset = type == Header::kGsoUdp ? 6 : 16;  // bytes into the UDP or TCP header
  return h;
}

/// Nothing for what is neither TCP nor UDP.
std::optional<Header> header_of_super_segment(const wire::Outgoing& packet) {
  const auto ip = wire::parse_ip({packet.body, packet.body_size});
  if (!ip || ip->is_fragment()) return std::nullopt;
  const std::size_t ip_size = ip->header_size();
  if (ip->protocol() == wire::kProtocolUdp) {
    return super_segment_header(Header::kGsoUdp, ip_size, ip_size + wire::kUdpHeaderSize, packet.segment_size);
  }
  const auto tcp = ip->protocol() == wire::kProtocolTcp ? wire::parse_tcp(ip->payload()) : std::nullopt;
  if (!tcp) return std::nullopt;
  const std::uint8_t type = ip->is_v4() ? Header::kGsoTcp4 : Header::kGsoTcp6;
  return super_segment_header(type, ip_size, ip_size + tcp->header_size(), packet.segment_size);
}

iovec piece(const void* data, std::size_t size) { return {const_cast<void*>(data), size}; }

}  // namespace

Result<std::unique_ptr<TunPort>> TunPort::open(const Options& options) {
  if (options.name.empty() || options.name.size() >= IFNAMSIZ) {
    return fail("TUN device name \"" + options.name + "\" must have 1 to 15 characters");
  }
  Descriptor device(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!device.open()) return fail(system_error("cannot open /dev/net/tun; the kernel module tun must be loaded"));
  ifreq r = request(options.name);
  r.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(device.get(), TUNSETIFF, &r) != 0) {
    return fail(system_error("cannot create TUN device " + options.name +
                             "; CAP_NET_ADMIN is needed, and no other program may have it open"));
  }
  if (options.offload) {
    if (auto done = set_offload(device.get(), options); !done) return tl::unexpected(done.error());
  }
  if (auto done = keep_ipv6_quiet(options.name); !done) return tl::unexpected(done.error());
  if (auto done = set_up_interface(options); !done) return tl::unexpected(done.error());
  return std::unique_ptr<TunPort>(new TunPort(std::move(device), options.name, options.offload));
}

TunPort::TunPort(Descriptor device, std::string name, bool offload)
    : device_(std::move(device)), name_(std::move(name)), offload_(offload), arena_(kArenaSize) {}

std::size_t TunPort::receive(std::span<wire::Packet> out) {
  std::size_t n = 0;
  std::size_t position = 0;
  while (n < out.size() && position + kPacketMax <= kArenaSize) {
    Header header;
    std::uint8_t* data = arena_.data() + position;
    std::array<iovec, 2> pieces = {piece(&header, sizeof header), piece(data, kPacketMax)};
    const ssize_t got = readv(device_.get(), pieces.data(), static_cast<int>(pieces.size()));
    if (got <= static_cast<ssize_t>(sizeof header)) break;
    const auto size = static_cast<std::uint32_t>(got) - static_cast<std::uint32_t>(sizeof header);
    if (is_link_talk(data, size)) continue;
    if (++train_ == 0) train_ = 1;
    wire::Packet& packet = out[n++] = {};
    packet.data = data;
    packet.size = size;
    packet.train = train_;
    packet.segment_size = header.gso_type == Header::kGsoNone ? std::uint16_t{0} : header.segment_size;
    packet.checksum_missing = (header.flags & Header::kNeedsChecksum) != 0;
    position += (size + kAlignment - 1) / kAlignment * kAlignment;
    counters_.bytes_in.add(size);
  }
  counters_.packets_in.add(n);
  counters_.trains_in.add(n);
  return n;
}

void TunPort::send(std::span<const wire::Outgoing> burst) {
  while (!burst.empty()) {
    const std::size_t n = offload_ ? joinable(burst) : 1;
    if (n > 1) {
      write_joined(burst.first(n));
    } else if (burst.front().segment_size != 0) {
      write_super_segment(burst.front());
    } else {
      write_plain(burst.front());
    }
    burst = burst.subspan(n);
  }
}

void TunPort::write_plain(const wire::Outgoing& packet) {
  const Header header{};
  const std::array<iovec, 3> pieces = {piece(&header, sizeof header), piece(packet.head.data(), packet.head_size),
                                       piece(packet.body, packet.body_size)};
  write(pieces, 1);
}

void TunPort::write_super_segment(const wire::Outgoing& packet) {
  const auto header = header_of_super_segment(packet);
  if (!header) return counters_.send_failed.add();
  const std::array<iovec, 2> pieces = {piece(&*header, sizeof *header), piece(packet.body, packet.body_size)};
  write(pieces, 1);
}

void TunPort::write_joined(std::span<const wire::Outgoing> run) {
  const JoinedHeader joined(run);
  const std::size_t skip = joined.bytes().size();
  const bool v4 = joined.ip_size() == wire::kIpv4HeaderSize;
  const Header header =
      super_segment_header(v4 ? Header::kGsoTcp4 : Header::kGsoTcp6, joined.ip_size(), skip, joined.segment_size());
  std::array<iovec, 2 + kJoinedSegmentsMax> pieces;
  pieces[0] = piece(&header, sizeof header);
  pieces[1] = piece(joined.bytes().data(), skip);
  for (std::size_t i = 0; i < run.size(); ++i) pieces[2 + i] = piece(run[i].body + skip, run[i].body_size - skip);
  write(std::span(pieces).first(2 + run.size()), run.size());
}

void TunPort::write(std::span<const iovec> pieces, std::size_t packets) {
  const ssize_t written = writev(device_.get(), pieces.data(), static_cast<int>(pieces.size()));
  if (written < 0) {
    counters_.send_failed.add(packets);
    return;
  }
  counters_.packets_out.add(packets);
  counters_.bytes_out.add(static_cast<std::uint64_t>(written) - sizeof(Header));
  counters_.trains_out.add();
}

}  // namespace testudo::io
