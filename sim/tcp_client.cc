// SPDX-License-Identifier: Apache-2.0
#include "sim/tcp_client.h"

#include <algorithm>
#include <cstring>

#include "wire/tcp.h"

namespace testudo::sim {
namespace {

constexpr Duration kTimeout = 60ms;
constexpr Duration kTimeoutMost = 500ms;
constexpr Duration kDelayedAcknowledgement = 2ms;
constexpr std::uint32_t kAttemptsMost = 16;
constexpr std::uint32_t kSilencesMost = 60;  // timeouts in a row while receiving

}  // namespace

void TcpClient::start() {
  state_ = State::kConnecting;
  sequence_ = self_.port * 40503U;
  send(wire::kTcpSyn);
  ++sequence_;
  arm();
}

void TcpClient::send(std::uint8_t flags, std::span<const std::uint8_t> payload) {
  const bool syn = (flags & wire::kTcpSyn) != 0;
  executor_.cancel(acknowledgement_timer_);
  acknowledgement_timer_ = 0;
  unacknowledged_ = 0;
  send_({.source = self_,
         .destination = dvipa_,
         .sequence = sequence_,
         .acknowledgement = syn ? 0 : static_cast<std::uint32_t>(first_ + received_ + (fin_received_ ? 1 : 0)),
         .flags = static_cast<std::uint8_t>(flags | (syn ? 0 : wire::kTcpAck)),
         .payload = payload});
}

void TcpClient::send_request() {
  std::uint8_t request[sizeof wanted_];
  std::memcpy(request, &wanted_, sizeof wanted_);
  send(wire::kTcpPsh, request);
}

void TcpClient::receive(const TcpPacket& tcp) {
  if (state_ == State::kIdle || failed()) return;
  if ((tcp.flags & wire::kTcpRst) != 0) {
    if (!complete()) state_ = State::kReset;
    executor_.cancel(timer_);
    return;
  }
  if ((tcp.flags & wire::kTcpSyn) != 0) {
    if (state_ != State::kConnecting) return send(0);
    first_ = tcp.sequence + 1;
    state_ = State::kReceiving;
    attempts_ = 0;
    send_request();
    return arm();
  }
  if (state_ == State::kConnecting) return;
  if (state_ == State::kClosing && tcp.acknowledgement == sequence_ + 1) {
    state_ = State::kDone;
    executor_.cancel(timer_);
    return;
  }
  if (state_ == State::kReceiving || !tcp.payload.empty() || (tcp.flags & wire::kTcpFin) != 0) take(tcp);
}

// Every byte is compared; what lies beyond a gap is only noted.
void TcpClient::take(const TcpPacket& tcp) {
  const bool fin = (tcp.flags & wire::kTcpFin) != 0;
  const std::uint64_t size = tcp.payload.size() + (fin ? 1 : 0);
  if (size == 0) return;
  if (complete()) return send(wire::kTcpFin);
  const auto distance = static_cast<std::int32_t>(tcp.sequence - static_cast<std::uint32_t>(first_ + received_));
  const std::int64_t offset = static_cast<std::int64_t>(received_) + distance;
  if (offset < 0) return send(0);
  for (std::size_t i = 0; i < tcp.payload.size(); ++i) {
    if (tcp.payload[i] != answer_byte(self_.port, static_cast<std::uint64_t>(offset) + i)) {
      state_ = State::kCorrupt;
      return;
    }
  }
  const bool in_order = distance == 0 && ahead_.empty();
  std::uint64_t& end = ahead_[static_cast<std::uint64_t>(offset)];
  end = std::max(end, static_cast<std::uint64_t>(offset) + size);
  std::uint64_t reached = received_;
  while (!ahead_.empty() && ahead_.begin()->first <= reached) {
    reached = std::max(reached, ahead_.begin()->second);
    ahead_.erase(ahead_.begin());
  }
  attempts_ = 0;
  arm();
  if (reached == wanted_ + 1) {
    received_ = wanted_;
    fin_received_ = true;
    state_ = State::kClosing;
    sequence_ += static_cast<std::uint32_t>(sizeof wanted_);
    return send(wire::kTcpFin);
  }
  received_ = reached;
  if (!in_order || ++unacknowledged_ >= 2) return send_ack();
  acknowledge_soon();
}

void TcpClient::send_ack() {
  sequence_ += static_cast<std::uint32_t>(sizeof wanted_);  // the request is behind us: the server has answered
  send(0);
  sequence_ -= static_cast<std::uint32_t>(sizeof wanted_);
}

void TcpClient::acknowledge_soon() {
  if (acknowledgement_timer_ != 0) return;
  acknowledgement_timer_ = executor_.run_after(kDelayedAcknowledgement, [this] {
    acknowledgement_timer_ = 0;
    send_ack();
  });
}

void TcpClient::arm() {
  executor_.cancel(timer_);
  const Duration timeout = std::min(kTimeoutMost, kTimeout * (1 << std::min(attempts_, 4U)));
  timer_ = executor_.run_after(timeout, [this] { timed_out(); });
}

void TcpClient::timed_out() {
  if (++attempts_ > (state_ == State::kReceiving ? kSilencesMost : kAttemptsMost)) {
    state_ = complete() ? State::kDone : State::kSilent;
    return;
  }
  if (state_ == State::kConnecting) {
    --sequence_;
    send(wire::kTcpSyn);
    ++sequence_;
  } else if (state_ == State::kReceiving) {
    if (received_ == 0) {
      send_request();
    } else {
      send_ack();
    }
  } else if (state_ == State::kClosing) {
    send(wire::kTcpFin);
  }
  arm();
}

}  // namespace testudo::sim
