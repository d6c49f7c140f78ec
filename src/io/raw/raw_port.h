// SPDX-License-Identifier: Apache-2.0
// RawPort: every IPv4 packet for an owned DVIPA that comes in by the network interface and is not UDP 500 or 4500
// (those have UdpPorts), and a way out for whole IPv4 packets.
//
//   auto raw = io::RawPort::open({.device = "eth0"});
//   (*raw)->set_addresses(owned);                    // none until then
//
// Receive: an AF_PACKET tap. It sees packets before nftables does, which drops them for everybody else (fail
// closed). Packets may come unfinished from a peer on the same machine: with checksum_missing the TCP/UDP checksum
// holds only the pseudo header's sum, with segment_size != 0 it is a TCP super-segment.
//
// Send: IP_HDRINCL, routed by the kernel's main table. Packets must be whole: cut, checksums complete, no larger
// than the MTU. The kernel fills in the IP checksum, and the identification if it is 0.
#pragma once

#include <netinet/in.h>
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

  /// The DVIPAs whose packets are taken, at most kAddressesMax. Replaces the former set atomically. Any thread.
  Result<void> set_addresses(std::span<const IpAddress> owned);
  static constexpr std::size_t kAddressesMax = 1024;

  [[nodiscard]] std::size_t receive(std::span<wire::Packet> out) override;
  void send(std::span<const wire::Outgoing> burst) override;
  [[nodiscard]] int descriptor() const override { return tap_.get(); }
  /// Packets that were left: offloaded ones that are not TCP (UDP trains of a sender on the same machine). Any
  /// thread.
  [[nodiscard]] std::uint64_t unusable() const { return unusable_.value(); }

 private:
  RawPort(Descriptor tap, Descriptor out, std::size_t buffers);
  void prepare(std::size_t index, const wire::Outgoing& packet);
  void transmit(std::span<const wire::Outgoing> batch);

  Descriptor tap_;
  Descriptor out_;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::array<std::uint8_t, kEthernetHeaderSize> ethernet_{};  // of all packets: never looked at
  std::vector<VirtioHeader> headers_;
  std::vector<mmsghdr> received_;
  std::vector<iovec> received_pieces_;
  std::vector<mmsghdr> sending_;
  std::vector<iovec> sending_pieces_;
  std::vector<sockaddr_in> destinations_;
  Counter unusable_;
  std::uint32_t train_ = 0;
};

}  // namespace testudo::io
