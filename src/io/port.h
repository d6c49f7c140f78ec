// SPDX-License-Identifier: Apache-2.0
// PacketPort: one place where packets enter and leave a worker. The worker takes bursts from every port, runs them
// through its stages and hands bursts back; it never blocks in a port. Real ports are in udp/, tun/, raw/; memory/
// serves tests, the simulation and benchmarks.
//
//   std::array<wire::Packet, wire::kBurst> burst;
//   const std::size_t n = port.receive(burst);          // 0: nothing there
//   stage.process(std::span(burst).first(n), out);
//   port.send(out);
//
// Threads: receive() and send() on the port's worker only; counters() anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/drop.h"
#include "wire/packet.h"

namespace testudo::io {

struct PortCounters {
  Counter packets_in, bytes_in, trains_in;  // trains: kernel crossings
  Counter packets_out, bytes_out, trains_out;
  Counter send_failed;  // packets that the kernel did not take
};

class PacketPort {
 public:
  PacketPort() = default;
  PacketPort(const PacketPort&) = delete;
  PacketPort& operator=(const PacketPort&) = delete;
  virtual ~PacketPort() = default;

  /// Fills the front of `out` and returns how many. What the packets point to stays valid until the next receive()
  /// on this port. A train may be split over several calls; its packets then keep their train number.
  [[nodiscard]] virtual std::size_t receive(std::span<wire::Packet> out) = 0;

  /// Sends all, in order, in as few kernel crossings as it can. What the kernel refuses is lost and counted; a port
  /// does not wait and does not retry.
  virtual void send(std::span<const wire::Outgoing> burst) = 0;

  /// Readable when receive() may have something; -1 for a port without a descriptor. receive() may also hold
  /// packets that it has already read: a worker waits on this only after receive() has returned 0.
  [[nodiscard]] virtual int descriptor() const = 0;

  [[nodiscard]] const PortCounters& counters() const { return counters_; }

 protected:
  PortCounters counters_;
};

}  // namespace testudo::io
