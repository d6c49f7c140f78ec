// SPDX-License-Identifier: Apache-2.0
// TcpClient: one connection of a simulated client to a DVIPA: asks for a number of bytes, checks each of them, and
// closes. Lost packets are sent again, as TCP does.
//
//   TcpClient connection(executor, {client, 40001}, {dvipa, 80}, 100'000, [&](const TcpPacket& tcp) { protect(tcp);
//   }); connection.start(); connection.receive(tcp); if (connection.state() == TcpClient::State::kDone) …
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "base/executor.h"
#include "sim/tcp_packet.h"

namespace testudo::sim {

class TcpClient {
 public:
  enum class State : std::uint8_t {
    kIdle,
    kConnecting,  // SYN sent
    kReceiving,   // the request is sent
    kClosing,     // everything has come, and the FIN; ours is not acknowledged yet
    kDone,
    kReset,    // by the other side
    kSilent,   // gave up: no answer
    kCorrupt,  // a byte was wrong
  };
  using Send = std::function<void(const TcpPacket& tcp)>;

  TcpClient(Executor& executor, Endpoint self, Endpoint dvipa, std::uint64_t wanted, Send send)
      : executor_(executor), self_(self), dvipa_(dvipa), wanted_(wanted), send_(std::move(send)) {}
  TcpClient(const TcpClient&) = delete;
  TcpClient& operator=(const TcpClient&) = delete;
  ~TcpClient() { executor_.cancel(timer_), executor_.cancel(acknowledgement_timer_); }

  void start();
  void receive(const TcpPacket& tcp);

  [[nodiscard]] State state() const { return state_; }
  /// Everything that was wanted has come.
  [[nodiscard]] bool complete() const { return state_ == State::kClosing || state_ == State::kDone; }
  [[nodiscard]] bool failed() const { return state_ >= State::kReset; }
  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] std::uint64_t wanted() const { return wanted_; }
  [[nodiscard]] Endpoint self() const { return self_; }
  [[nodiscard]] Endpoint dvipa() const { return dvipa_; }

 private:
  void send(std::uint8_t flags, std::span<const std::uint8_t> payload = {});
  void send_request();
  void send_ack();
  void take(const TcpPacket& tcp);
  void acknowledge_soon();
  void arm();
  void timed_out();

  Executor& executor_;
  Endpoint self_, dvipa_;
  std::uint64_t wanted_;
  Send send_;
  State state_ = State::kIdle;
  std::uint32_t sequence_ = 0;  // of the next byte that we send
  std::uint32_t first_ = 0;     // the server's, of the answer's first byte
  std::uint64_t received_ = 0;  // bytes of the answer in order
  bool fin_received_ = false;
  std::map<std::uint64_t, std::uint64_t> ahead_;  // beyond a gap: offset → end; the FIN is a byte behind the answer
  std::uint32_t unacknowledged_ = 0;              // segments
  std::uint32_t attempts_ = 0;
  Executor::Timer timer_ = 0;
  Executor::Timer acknowledgement_timer_ = 0;
};

}  // namespace testudo::sim
