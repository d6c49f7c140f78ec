// SPDX-License-Identifier: Apache-2.0
#include "sim/tcp_server.h"

#include <algorithm>
#include <cstring>

#include "wire/tcp.h"

namespace testudo::sim {
namespace {

constexpr std::uint64_t kSuperSegment = 44 * kSegmentSize;  // bytes handed to the device at once
constexpr std::uint64_t kWindow = 66 * kSegmentSize;        // bytes under way
constexpr std::uint64_t kWindowAfterLoss = 10 * kSegmentSize;
constexpr Duration kTimeout = 50ms;
constexpr Duration kTimeoutMost = 400ms;

}  // namespace

bool TcpServer::receive(std::span<const std::uint8_t> packet) {
  const auto tcp = read_tcp(packet);
  if (!tcp) return false;
  const Key key{tcp->source, tcp->destination};
  const auto found = connections_.find(key);
  if ((tcp->flags & wire::kTcpRst) != 0) {
    if (found != connections_.end()) {
      executor_.cancel(found->second.timer);
      connections_.erase(found);
    }
    return true;
  }
  if ((tcp->flags & wire::kTcpSyn) != 0) {
    if (found != connections_.end()) {
      if (!found->second.established) send(found->second, 0, 0, wire::kTcpSyn);
    } else if (std::ranges::any_of(listeners_, [&](const Endpoint& at) {
                 return at.port == tcp->destination.port && io::listens_on(at, tcp->destination.address);
               })) {
      open(key, *tcp);
    } else {
      reset(*tcp);
    }
    return true;
  }
  if (found == connections_.end()) {
    reset(*tcp);
    return true;
  }
  acknowledged(found->second, *tcp);
  take(found->second, *tcp);
  return true;
}

std::set<io::TcpConnection> TcpServer::connections(std::span<const IpAddress> local) const {
  std::set<io::TcpConnection> open;
  for (const auto& [key, c] : connections_) {
    const bool over = c.closed && c.wanted != 0 && c.acknowledged == c.wanted + 1;  // our FIN too
    if (!over && std::ranges::find(local, c.local.address) != local.end()) open.insert({c.local, c.client});
  }
  return open;
}

void TcpServer::open(const Key& key, const TcpPacket& syn) {
  Connection& c = connections_[key];
  c = {.client = syn.source, .local = syn.destination, .next_in = syn.sequence + 1};
  c.first = syn.sequence * 2654435761U + 1;  // behind our SYN
  c.timeout = kTimeout;
  ++accepted_;
  last_accepted_ = executor_.now();
  send(c, 0, 0, wire::kTcpSyn);
  arm(c);
}

void TcpServer::acknowledged(Connection& c, const TcpPacket& tcp) {
  if ((tcp.flags & wire::kTcpAck) == 0) return;
  c.established = true;
  const auto ahead =
      static_cast<std::int32_t>(tcp.acknowledgement - static_cast<std::uint32_t>(c.first + c.acknowledged));
  if (ahead < 0 || c.acknowledged + static_cast<std::uint64_t>(ahead) > c.wanted + 1) return;
  if (ahead > 0) {
    c.acknowledged += static_cast<std::uint64_t>(ahead);
    c.sent = std::max(c.sent, c.acknowledged);
    c.duplicates = 0;
    c.timeout = kTimeout;
    arm(c);
    return send_answer(c, kWindow);
  }
  if (!tcp.payload.empty() || c.wanted == 0 || c.sent == c.acknowledged || ++c.duplicates != 3) return;
  ++retransmissions_;
  const std::uint64_t size = std::min<std::uint64_t>(kSegmentSize, c.wanted - std::min(c.wanted, c.acknowledged));
  send(c, c.acknowledged, size, size == 0 ? wire::kTcpFin : 0);
}

void TcpServer::take(Connection& c, const TcpPacket& tcp) {
  const bool expected = tcp.sequence == c.next_in;
  if (expected && tcp.payload.size() == sizeof c.wanted && c.wanted == 0) {
    std::memcpy(&c.wanted, tcp.payload.data(), sizeof c.wanted);
    c.next_in += static_cast<std::uint32_t>(tcp.payload.size());
    arm(c);
    return send_answer(c, kWindow);
  }
  if (expected && (tcp.flags & wire::kTcpFin) != 0 && !c.closed) {
    c.closed = true;
    ++c.next_in;
  }
  if (!tcp.payload.empty() || (tcp.flags & wire::kTcpFin) != 0) send(c, c.sent, 0, 0);
}

void TcpServer::send_answer(Connection& c, std::uint64_t window) {
  if (c.wanted == 0) return;
  const std::uint64_t end = std::min(c.wanted, c.acknowledged + window);
  while (c.sent < end) {
    const std::uint64_t size = std::min(kSuperSegment, end - c.sent);
    send(c, c.sent, size, wire::kTcpPsh);
    c.sent += size;
  }
  if (c.sent == c.wanted) {
    send(c, c.sent, 0, wire::kTcpFin);
    ++c.sent;
  }
}

void TcpServer::send(const Connection& c, std::uint64_t offset, std::uint64_t size, std::uint8_t flags) {
  Bytes payload(size);
  for (std::uint64_t i = 0; i < size; ++i) payload[i] = answer_byte(c.client.port, offset + i);
  const bool syn = (flags & wire::kTcpSyn) != 0;
  const TcpPacket tcp{.source = c.local,
                      .destination = c.client,
                      .sequence = static_cast<std::uint32_t>(c.first + offset) - (syn ? 1 : 0),
                      .acknowledgement = c.next_in,
                      .flags = static_cast<std::uint8_t>(flags | wire::kTcpAck),
                      .payload = payload};
  io::MemoryPort::Meta meta;
  if (size > kSegmentSize) meta.segment_size = kSegmentSize;
  meta.checksum_missing = size > 0;
  to_device_(build_tcp(tcp, size > 0 ? Checksum::kLeftToDevice : Checksum::kWhole), meta);
}

void TcpServer::reset(const TcpPacket& tcp) {
  const auto length = static_cast<std::uint32_t>(tcp.payload.size() + ((tcp.flags & wire::kTcpSyn) != 0 ? 1 : 0));
  to_device_(build_tcp({.source = tcp.destination,
                        .destination = tcp.source,
                        .sequence = tcp.acknowledgement,
                        .acknowledgement = tcp.sequence + length,
                        .flags = wire::kTcpRst | wire::kTcpAck}),
             io::MemoryPort::Meta{});
}

void TcpServer::arm(Connection& c) {
  executor_.cancel(c.timer);
  c.timer = 0;
  if (c.established && c.acknowledged == (c.wanted == 0 ? 0 : c.wanted + 1)) return;  // nothing is under way
  c.timer = executor_.run_after(c.timeout, [this, key = Key{c.client, c.local}] { timed_out(key); });
}

void TcpServer::timed_out(const Key& key) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  Connection& c = found->second;
  ++retransmissions_;
  c.timeout = std::min(kTimeoutMost, c.timeout * 2);
  if (!c.established) {
    send(c, 0, 0, wire::kTcpSyn);
  } else {
    c.sent = c.acknowledged;
    c.duplicates = 0;
    send_answer(c, kWindowAfterLoss);
  }
  arm(c);
}

}  // namespace testudo::sim
