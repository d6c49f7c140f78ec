// SPDX-License-Identifier: Apache-2.0
// The client's TCP connections.
#include <algorithm>
#include <utility>

#include "sim/client.h"

namespace testudo::sim {
namespace {

constexpr Duration kJobPoll = 10ms;

}  // namespace

std::size_t Client::start(Job job) {
  jobs_.push_back(std::move(job));
  open(jobs_.size() - 1);
  return jobs_.size() - 1;
}

std::size_t Client::fetch(Endpoint dvipa, std::uint64_t bytes) {
  return start({.dvipa = dvipa, .wanted = bytes, .clear = false, .connection = nullptr});
}

std::size_t Client::fetch_clear(Endpoint dvipa, std::uint64_t bytes) {
  return start({.dvipa = dvipa, .wanted = bytes, .clear = true, .connection = nullptr});
}

void Client::open(std::size_t number) {
  Job& job = jobs_[number];
  const Endpoint self{address_, next_port_++};
  by_port_[self.port] = number;
  ++job.connections;
  job.connection =
      std::make_unique<TcpClient>(executor_, self, job.dvipa, job.wanted,
                                  [this, clear = job.clear](const TcpPacket& tcp) { send(tcp, clear); });
  world_.transcript.tell(name_, "connection {} → {}: {} bytes wanted", self.port, job.dvipa.to_string(),
                         job.wanted);
  job.connection->start();
}

void Client::send(const TcpPacket& tcp, bool clear) {
  TcpPacket numbered = tcp;
  // Packets in the clear are not numbered: nothing says that they may come once only.
  if (!clear) numbered.number = ++packet_number_;
  Bytes packet = build_tcp(numbered);
  if (clear) return world_.network.send_ip(name_, std::move(packet));
  protect(packet);
}

void Client::inner(std::span<const std::uint8_t> packet) {
  const auto tcp = read_tcp(packet);
  if (!tcp) return world_.transcript.line(name_, "no TCP, or a wrong checksum, in a packet");
  const auto job = by_port_.find(tcp->destination.port);
  if (job == by_port_.end()) return;
  TcpClient& connection = *jobs_[job->second].connection;
  if (connection.self().port != tcp->destination.port || connection.dvipa() != tcp->source) return;
  const bool was_complete = connection.complete();
  connection.receive(*tcp);
  if (!was_complete && connection.complete())
    world_.transcript.tell(name_, "connection {} complete", connection.self().port);
}

// An application that tries again when its connection is gone.
void Client::look_after_jobs() {
  for (std::size_t i = 0; i < jobs_.size(); ++i) {
    Job& job = jobs_[i];
    if (job.done) continue;
    if (job.connection->complete()) job.done = true;
    if (!job.connection->failed()) continue;
    failures_.push_back(
        {.when = world_.time.now(), .port = job.connection->self().port, .state = job.connection->state()});
    world_.transcript.tell(name_, "connection {} failed ({})", job.connection->self().port,
                           job.connection->state() == TcpClient::State::kReset     ? "reset"
                           : job.connection->state() == TcpClient::State::kCorrupt ? "corrupt"
                                                                                   : "no answer");
    open(i);
  }
  executor_.run_after(kJobPoll, [this] { look_after_jobs(); });
}

bool Client::all_done() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [](const Job& job) { return job.done; });
}

}  // namespace testudo::sim
