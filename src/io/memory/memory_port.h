// SPDX-License-Identifier: Apache-2.0
// MemoryPort: a port without a kernel, for tests, the simulation and benchmarks. What is injected is received; what
// is sent is kept until it is taken. Both queues are bounded: what does not fit is lost and counted, as in a
// kernel.
//
//   io::MemoryPort port;
//   port.inject(packet_bytes, {.source = peer, .destination = {dvipa, 4500}});
//   worker.turn(now);
//   for (const io::MemoryPort::Sent& sent : port.take_sent()) …
//
// One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/address.h"
#include "io/port.h"

namespace testudo::io {

class MemoryPort final : public PacketPort {
 public:
  struct Meta {
    Endpoint source = {};
    Endpoint destination = {};
    std::uint8_t traffic_class = 0;
    std::uint16_t segment_size = 0;
    bool checksum_missing = false;
    std::uint32_t train = 0;  // 0: a train of its own
  };
  struct Sent {
    std::vector<std::uint8_t> bytes;  // head and body
    Endpoint source = {};
    Endpoint destination = {};
    std::uint8_t traffic_class = 0;
    std::uint16_t segment_size = 0;
  };

  /// `capacity`: packets in each direction.
  explicit MemoryPort(std::size_t capacity = 4096) : capacity_(capacity) {}

  /// Copies. False: full, the packet is lost.
  bool inject(std::span<const std::uint8_t> bytes, const Meta& meta);
  bool inject(std::span<const std::uint8_t> bytes) { return inject(bytes, Meta{}); }
  /// Everything sent since the last call, in order.
  [[nodiscard]] std::vector<Sent> take_sent();
  /// Not yet received.
  [[nodiscard]] std::size_t waiting() const { return queue_.size(); }

  [[nodiscard]] std::size_t receive(std::span<wire::Packet> out) override;
  void send(std::span<const wire::Outgoing> burst) override;
  [[nodiscard]] int descriptor() const override { return -1; }

 private:
  struct Waiting {
    std::vector<std::uint8_t> bytes;
    Meta meta;
  };

  std::size_t capacity_;
  std::deque<Waiting> queue_;
  std::vector<Waiting> lent_;  // what the last receive() has handed out
  std::vector<Sent> sent_;
  std::uint32_t next_train_ = 1U << 31;  // above what tests number themselves
};

}  // namespace testudo::io
