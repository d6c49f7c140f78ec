// SPDX-License-Identifier: Apache-2.0
// RawPort: every IPv4 and IPv6 packet for an owned DVIPA that comes in by the network interface and is neither UDP
// 500 or 4500 (those have UdpPorts) nor neighbour discovery (the kernel's), and a way out for whole packets.
//
//   auto raw = io::RawPort::open({.device = "eth0"});
//   (*raw)->set_addresses(owned);                    // none until then
//
// Receive: AF_PACKET taps, one for each version, behind one descriptor. They see packets before nftables does,
// which drops them for everybody else (fail closed), and as they came: fragments too, and ICMP errors about what
// was sent from a DVIPA. Packets may come unfinished from a peer on the same machine: with checksum_missing the
// TCP/UDP checksum holds only the pseudo header's sum, with segment_size != 0 it is a super-segment.
//
// Send: IP_HDRINCL, routed by the kernel's main table. Packets must be whole: cut, checksums complete, no larger
// than the MTU. Of IPv4 the kernel fills in the IP checksum, and the identification if it is 0. On a kernel without
// IPv6 sending it fails, and is counted.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "io/descriptor.h"
#include "io/port.h"
#include "io/raw/tap_filter.h"
#include "io/socket_address.h"
#include "io/virtio_header.h"

namespace testudo::io {

class RawPort final : public PacketPort {
 public:
  struct Options {
    std::string device = {};                 // the network interface
    std::uint32_t mark = kOwnMark;           // of sent packets
    std::uint32_t socket_buffer = 8U << 20;  // bytes, each way
    std::uint32_t receive_buffers = 32;      // packets a receive() can take in; 64 KiB each
  };

  static Result<std::unique_ptr<RawPort>> open(const Options& options);

  /// The DVIPAs whose packets are taken, at most kAddressesMax; of IPv6 ones fewer when they lie in more than 180
  /// networks /96. Replaces the former set, for each version atomically. Any thread.
  Result<void> set_addresses(std::span<const IpAddress> owned);
  static constexpr std::size_t kAddressesMax = 1024;

  [[nodiscard]] std::size_t receive(std::span<wire::Packet> out) override;
  void send(std::span<const wire::Outgoing> burst) override;
  [[nodiscard]] int descriptor() const override { return sockets_.ready.get(); }
  /// Packets that were left: super-segments of other protocols than TCP and UDP. Any thread.
  [[nodiscard]] std::uint64_t unusable() const { return unusable_.value(); }

 private:
  /// Index into what there is one of for each version.
  enum Version : std::size_t { kV4, kV6 };
  struct Sockets {
    std::array<Descriptor, 2> taps;
    std::array<Descriptor, 2> out;  // IPv6: closed on a kernel without it
    Descriptor ready;               // an epoll descriptor: readable when one of the taps is
  };
  static Result<Sockets> open_sockets(const Options& options);
  RawPort(Sockets sockets, std::size_t buffers);
  /// Reads into the buffers from `first` on, and puts what is of use into `out`. Returns how many buffers that
  /// took.
  std::size_t read(const Descriptor& tap, std::size_t first, std::span<wire::Packet> out, std::size_t& taken);
  [[nodiscard]] bool usable(std::size_t buffer, std::span<const std::uint8_t> packet);
  void prepare(std::size_t index, const wire::Outgoing& packet);
  void transmit(Version version, std::span<const wire::Outgoing> batch);

  Sockets sockets_;
  std::size_t turn_ = kV4;  // which tap is read first: the other one next time
  std::unique_ptr<std::uint8_t[]> memory_;
  std::array<std::uint8_t, kEthernetHeaderSize> ethernet_{};  // of all packets: never looked at
  std::vector<VirtioHeader> headers_;
  std::vector<mmsghdr> received_;
  std::vector<iovec> received_pieces_;
  std::vector<mmsghdr> sending_;
  std::vector<iovec> sending_pieces_;
  std::vector<SocketAddress> destinations_;
  Counter unusable_;
  std::uint32_t train_ = 0;
};

}  // namespace testudo::io
