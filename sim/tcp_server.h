// SPDX-License-Identifier: Apache-2.0
// TcpServer: the kernel and the application of one simulated target, behind the TUN. It answers a connection's
// request, eight bytes that say how many bytes are wanted, with so many bytes and its FIN; it retransmits what is
// lost, and hands its answer to the device in super-segments of up to 44 segments, as a kernel with TSO does.
//
//   TcpServer server(executor, [&](Bytes packet, const io::MemoryPort::Meta& meta) { … });
//   server.listen({dvipa, 80});
//   server.receive(packet);                     // what came out of the TUN
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "base/executor.h"
#include "io/memory/memory_port.h"
#include "io/netlink/host_network.h"
#include "sim/tcp_packet.h"

namespace testudo::sim {

class TcpServer {
 public:
  using ToDevice = std::function<void(Bytes packet, const io::MemoryPort::Meta& meta)>;

  TcpServer(Executor& executor, ToDevice to_device) : executor_(executor), to_device_(std::move(to_device)) {}

  void listen(Endpoint at) { listeners_.insert(at); }
  void stop_listening(Endpoint at) { listeners_.erase(at); }
  [[nodiscard]] const std::set<Endpoint>& listeners() const { return listeners_; }

  /// That are not closed on both sides.
  [[nodiscard]] std::set<io::TcpConnection> connections(std::span<const IpAddress> local) const;

  /// False: no packet of TCP with right checksums.
  bool receive(std::span<const std::uint8_t> packet);

  [[nodiscard]] std::uint64_t accepted() const { return accepted_; }
  [[nodiscard]] Time last_accepted() const { return last_accepted_; }
  [[nodiscard]] std::uint64_t retransmissions() const { return retransmissions_; }

 private:
  struct Connection {
    Endpoint client, local;
    std::uint32_t next_in = 0;       // the client's sequence number expected next
    std::uint32_t first = 0;         // our sequence number of the answer's first byte
    std::uint64_t wanted = 0;        // bytes of the answer; 0: not asked yet
    std::uint64_t sent = 0;          // offset of the next byte (behind the answer: the FIN) to be sent
    std::uint64_t acknowledged = 0;  // offset
    std::uint32_t duplicates = 0;    // acknowledgements that said nothing new
    bool established = false;
    bool closed = false;  // the client's FIN is in
    Duration timeout{};
    Executor::Timer timer = 0;
  };
  using Key = std::pair<Endpoint, Endpoint>;

  void open(const Key& key, const TcpPacket& syn);
  void acknowledged(Connection& c, const TcpPacket& tcp);
  void take(Connection& c, const TcpPacket& tcp);
  void send_answer(Connection& c, std::uint64_t window);
  void send(const Connection& c, std::uint64_t offset, std::uint64_t size, std::uint8_t flags);
  void reset(const TcpPacket& tcp);
  void arm(Connection& c);
  void timed_out(const Key& key);

  Executor& executor_;
  ToDevice to_device_;
  std::set<Endpoint> listeners_;
  std::map<Key, Connection> connections_;
  std::uint64_t accepted_ = 0;
  std::uint64_t retransmissions_ = 0;
  Time last_accepted_{};
};

}  // namespace testudo::sim
