// SPDX-License-Identifier: Apache-2.0
// TunPort: applications' packets, through a TUN device with segmentation offload. A read gives up to 64 KiB of one
// TCP connection at once (segment_size, checksum_missing); a write takes a run of segments of one connection,
// joined again.
//
//   auto tun = io::TunPort::open({.name = "testudo0", .mtu = 1400});
//
// Received packets are IPv4 and IPv6 packets; with segment_size != 0 a super-segment to be cut in payloads of that
// size, its checksum not filled in (only the pseudo header's sum is). The kernel's own talk to its neighbours (IPv6
// to or from link-local addresses, of which a TUN device has none) is left unread. Sent packets have complete
// checksums; one with segment_size != 0 is a super-segment whose checksum may be missing. An ICMP error about a
// packet that came from here is heeded by the kernel like any other.
//
// Joining drops the segments' own TCP checksums, so they are verified first: a segment with a wrong one is written
// as it is, and the kernel refuses it. Super-segments of UDP datagrams must be asked for: udp_trains.
//
// The device is not persistent: it goes when the port goes, and with it its addresses and routes (fail closed, see
// netlink/steering.h).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/descriptor.h"
#include "io/port.h"
#include "io/tun/coalescer.h"

namespace testudo::io {

class TunPort final : public PacketPort {
 public:
  struct Options {
    std::string name = "testudo0";  // at most 15 characters
    std::uint16_t mtu = 1400;       // bytes
    bool offload = true;            // checksum and TCP segmentation offload
    bool udp_trains = false;        // UDP segmentation offload, with `offload`; Linux 6.2 or later, else none
  };

  /// Creates the device and sets it up.
  static Result<std::unique_ptr<TunPort>> open(const Options& options);

  [[nodiscard]] std::size_t receive(std::span<wire::Packet> out) override;
  void send(std::span<const wire::Outgoing> burst) override;
  [[nodiscard]] int descriptor() const override { return device_.get(); }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  TunPort(Descriptor device, std::string name, bool offload);
  void write_plain(const wire::Outgoing& packet);
  void write_super_segment(const wire::Outgoing& packet);
  void write_joined(std::span<const wire::Outgoing> run);
  void write(std::span<const iovec> pieces, std::size_t packets);

  Descriptor device_;
  std::string name_;
  bool offload_;
  std::vector<std::uint8_t> arena_;  // what one receive() has read, packet after packet
  std::uint32_t train_ = 0;
};

}  // namespace testudo::io
