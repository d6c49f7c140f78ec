// SPDX-License-Identifier: Apache-2.0
// UdpPort: a UDP socket that moves trains. UDP_GRO on receive, UDP_SEGMENT on send: up to 64 datagrams of equal
// size to one place cross the kernel in one call. Its local address says which family it speaks, and it speaks no
// other: 0.0.0.0 is the wildcard of IPv4, :: that of IPv6.
//
//   auto port = io::UdpPort::open({.local = {dvipa, 4500}, .free_bind = true});
//   if (!port) return tl::unexpected(port.error());
//
// Received packets: `data` is the UDP payload. Sent packets: `source` is the port's own local endpoint (a wildcard
// socket takes the source address from it), consecutive packets with equal destination, traffic class and size (the
// last may be shorter) leave as one train.
//
// UDP checksums. RFC 3948 section 2.1 wants zero checksums on ESP-in-UDP ("SHOULD"), and receivers must not depend
// on it. Linux refuses UDP_SEGMENT on a socket with SO_NO_CHECK (EINVAL), and a checksum costs nothing beside a
// kernel crossing per packet: so trains win, and zero_checksum, which turns them off, is off by default. Received
// zero checksums are taken, over IPv6 too (RFC 6935): what matters is authenticated.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "io/descriptor.h"
#include "io/port.h"
#include "io/udp/receiver.h"
#include "io/udp/sender.h"

namespace testudo::io {

class UdpPort final : public PacketPort {
 public:
  struct Options {
    Endpoint local = {};                     // port 0: the kernel picks one; see local()
    bool free_bind = false;                  // the address need not be the host's (yet)
    std::string device = {};                 // not empty: SO_BINDTODEVICE
    std::uint32_t mark = kOwnMark;           // 0: none
    std::uint32_t socket_buffer = 8U << 20;  // bytes, each way; what the kernel gives is enough
    std::uint32_t receive_buffers = 16;      // kernel crossings a receive() can take in; 64 KiB each
    bool trains = true;                      // UDP_GRO and UDP_SEGMENT
    bool zero_checksum = false;              // on what is sent; then nothing is sent in trains
  };

  static Result<std::unique_ptr<UdpPort>> open(const Options& options);

  [[nodiscard]] std::size_t receive(std::span<wire::Packet> out) override;
  void send(std::span<const wire::Outgoing> burst) override;
  [[nodiscard]] int descriptor() const override { return socket_.get(); }
  [[nodiscard]] Endpoint local() const { return local_; }

 private:
  UdpPort(Descriptor socket, Endpoint local, const Options& options);

  Descriptor socket_;
  Endpoint local_;
  UdpReceiver receiver_;
  UdpSender sender_;
};

}  // namespace testudo::io
