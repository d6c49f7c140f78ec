// SPDX-License-Identifier: Apache-2.0
// Packets as they pass through the data plane: views of bytes that somebody else owns for as long as one turn of
// the worker loop lasts. A port lends Packets to the stages; the stages hand Outgoing packets to a port. Nothing is
// copied but where a packet must wait.
//
// Trains: a kernel crossing costs ten times a packet's cryptography, so equal packets to one place cross in one
// call. Received trains come as consecutive Packets that share `train`; consecutive Outgoing packets with equal
// endpoints and sizes (the last may be shorter) leave as one train. Stages keep the order, so trains stay whole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"

namespace testudo::wire {

/// The most packets that a stage is handed at once.
inline constexpr std::size_t kBurst = 64;

/// A received packet. `data` may be modified in place by the stage that holds it.
struct Packet {
  std::uint8_t* data = nullptr;    // first byte: of the UDP payload (udp ports), of the IP header (tun, raw)
  std::uint32_t size = 0;          // bytes
  std::uint32_t train = 0;         // equal for packets that came in one kernel crossing; never 0
  Endpoint source;                 // UDP ports only: of the datagram
  Endpoint destination;            // UDP ports only: the address it was sent to, and this port
  std::uint16_t segment_size = 0;  // tun only: not 0, a TCP super-segment to be cut in payloads of this many bytes
  bool checksum_missing = false;   // tun only: the TCP/UDP checksum is only the pseudo header's sum
  std::uint8_t traffic_class = 0;  // UDP ports: DSCP and ECN of the outer header

  [[nodiscard]] std::span<std::uint8_t> bytes() const { return {data, size}; }
};

/// A packet to be sent: `head` bytes, then `body` bytes. Both stay valid until the port's send() has returned.
struct Outgoing {
  /// Room for an encapsulation header before a body that lies elsewhere (GRE and outer IP header, non-ESP marker).
  std::array<std::uint8_t, 64> head{};
  std::uint8_t head_size = 0;
  std::uint8_t traffic_class = 0;  // udp, raw: DSCP and ECN of the outer header
  std::uint16_t segment_size = 0;  // tun only: not 0, the body is a TCP super-segment with payloads of this size
  const std::uint8_t* body = nullptr;
  std::uint32_t body_size = 0;
  Endpoint source;       // udp: the local address and port to send from
  Endpoint destination;  // udp: where to; raw, tun: only in the packet itself

  [[nodiscard]] std::size_t size() const { return head_size + body_size; }
};

}  // namespace testudo::wire
