// SPDX-License-Identifier: Apache-2.0
#include "xcf/grpc/links.h"

#include <grpcpp/create_channel.h>

#include <algorithm>
#include <utility>

#include "xcf/grpc/client_stream.h"
#include "xcf/hello_check.h"

namespace testudo::xcf {
namespace {

constexpr std::size_t kRefusalsRemembered = 1024;

grpc::Status closing(const std::string& reason) { return {grpc::StatusCode::UNAVAILABLE, reason}; }

std::string reason_of(const grpc::Status& status) {
  return status.error_message().empty() ? "the connection was closed" : status.error_message();
}

/// gRPC reports a failed TLS handshake as a server that is unavailable; only the text tells.
bool is_certificate_trouble(const grpc::Status& status) {
  const std::string& text = status.error_message();
  return text.find("handshake") != std::string::npos || text.find("peer certificate") != std::string::npos ||
         text.find("Peer name") != std::string::npos;
}

std::string target_of(const Endpoint& control) {
  return (control.address.is_v4() ? "ipv4:" : "ipv6:") + control.to_string();
}

}  // namespace

Links::Links(Executor& executor, GrpcOptions options, Credentials credentials, std::unique_ptr<Listener> listener,
             std::shared_ptr<facility::InFlight> in_flight)
    : executor_(executor),
      options_(std::move(options)),
      credentials_(std::move(credentials)),
      listener_(std::move(listener)),
      in_flight_(std::move(in_flight)) {}

Links::~Links() {
  alive_.reset();
  const grpc::Status status = closing("the node is stopping");
  for (auto& [name, peer] : peers_) {
    if (peer.timer != 0) executor_.cancel(peer.timer);
    if (peer.stream) peer.stream->close(status);
    if (peer.parked) peer.parked->close(status);
  }
  for (const auto& [stream, timer] : greeting_) {
    executor_.cancel(timer);
    stream->close(status);
  }
  listener_.reset();
  in_flight_->wait();
}

Executor::Timer Links::later(Duration delay, std::function<void()> task) {
  return executor_.run_after(delay, [alive = std::weak_ptr(alive_), task = std::move(task)] {
    if (!alive.expired()) task();
  });
}

void Links::set_timer(Peer& peer, Duration delay, std::function<void()> task) {
  if (peer.timer != 0) executor_.cancel(peer.timer);
  peer.timer = later(delay, std::move(task));
}

// Events are told in a task of their own: never from within a call of the bus's user, and in the order they came
// about.
void Links::tell(std::function<void()> event) {
  executor_.post([alive = std::weak_ptr(alive_), event = std::move(event)] {
    if (!alive.expired()) event();
  });
}

v1::Envelope Links::own_hello() const {
  v1::Envelope envelope;
  *envelope.mutable_hello() = self_;
  return envelope;
}

void Links::start(v1::Hello self, BusEvents events) {
  self_ = std::move(self);
  if (self_.version() == 0) self_.set_version(kProtocolVersion);
  events_ = std::move(events);
  started_ = true;
  listener_->on_accept([this](const StreamPtr& stream) { accept(stream); });
  for (const auto& [name, peer] : peers_) {
    if (peer.member && dials(name)) dial_soon(name);
  }
}

void Links::add_member(const Member& member) {
  if (started_ && member.name == self_.node()) return;
  Peer& peer = peers_[member.name];
  const bool moved = peer.member && peer.member->control != member.control;
  if (peer.member && !moved) return;
  peer.member = member;
  if (!started_) return;
  if (dials(member.name)) {
    if (moved) end_link(member.name, "node " + member.name + " has moved to " + member.control.to_string());
    peer.backoff = {};
    dial_soon(member.name);
  } else if (peer.parked) {
    welcome(std::exchange(peer.parked, nullptr), peer.parked_hello);
  }
}

void Links::remove_member(const std::string& name) {
  const auto found = peers_.find(name);
  if (found == peers_.end()) return;
  end_link(name, "node " + name + " is no longer a member");
  if (found->second.timer != 0) executor_.cancel(found->second.timer);
  if (found->second.parked) found->second.parked->close(closing("no longer a member"));
  peers_.erase(found);
}

bool Links::send(const std::string& node, const v1::Envelope& message) {
  const auto found = peers_.find(node);
  if (found == peers_.end() || !found->second.up) return false;
  if (found->second.stream->send(message)) return true;
  end_link(node, "the queue of messages to node " + node + " is full");
  if (dials(node)) dial_soon(node);
  return false;
}

void Links::dial_soon(const std::string& name) {
  Peer& peer = peers_.at(name);
  const auto span = static_cast<std::uint64_t>(peer.backoff.count() / 2);
  const Duration jitter(span == 0 ? 0 : static_cast<Duration::rep>(rng_.next() % span));
  set_timer(peer, peer.backoff - jitter, [this, name] { dial_now(name); });
  peer.backoff = std::clamp(peer.backoff * 2, options_.backoff_min, options_.backoff_max);
}

void Links::dial_now(const std::string& name) {
  Peer& peer = peers_.at(name);
  if (peer.stream) return;
  const auto channel = grpc::CreateCustomChannel(target_of(peer.member->control), credentials_.client,
                                                 channel_arguments(options_, name));
  peer.stream =
      dial(channel, executor_, in_flight_, {.messages = options_.queue_messages, .bytes = options_.queue_bytes});
  peer.stream->begin({.received = [this, name](const v1::Envelope& m) { dialled_answered(name, m); },
                      .ended = [this, name](const grpc::Status& s) { dialled_ended(name, s); }});
  peer.stream->send(own_hello());
  set_timer(peer, options_.hello_timeout, [this, name] {
    end_link(name, "no Hello");
    dial_soon(name);
  });
}

void Links::dialled_answered(const std::string& name, const v1::Envelope& message) {
  Peer& peer = peers_.at(name);
  if (peer.up) {
    if (events_.received) events_.received(name, message);
    return;
  }
  std::optional<std::string> reason = "node " + name + " does not begin with a Hello";
  if (message.has_hello()) reason = reason_to_refuse(self_, message.hello(), peer.stream->peer_names(), name);
  if (!reason) return begin_link(name, peer.stream, message.hello());
  refuse(name, *reason);
  end_link(name, *reason);
  dial_soon(name);
}

void Links::dialled_ended(const std::string& name, const grpc::Status& status) {
  Peer& peer = peers_.at(name);
  if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION) {
    refuse(name, "node " + name + " refuses this node: " + status.error_message());
    peer.backoff = options_.backoff_max;
  } else if (!peer.up && is_certificate_trouble(status)) {
    refuse(name, "no trusted connection to node " + name +
                     ": both certificates must be of this cluster's CA and carry the node's name (" +
                     status.error_message() + ")");
    peer.backoff = options_.backoff_max;
  }
  end_link(name, reason_of(status));
  dial_soon(name);
}

void Links::accept(const StreamPtr& stream) {
  greeting_[stream] = later(options_.hello_timeout, [this, stream] {
    greeting_.erase(stream);
    stream->close(closing("no Hello came"));
  });
  stream->begin({.received = [this, stream](const v1::Envelope& m) { greeted(stream, m); },
                 .ended =
                     [this, stream](const grpc::Status&) {
                       executor_.cancel(greeting_.at(stream));
                       greeting_.erase(stream);
                     }});
}

void Links::greeted(const StreamPtr& stream, const v1::Envelope& message) {
  executor_.cancel(greeting_.at(stream));
  greeting_.erase(stream);
  const v1::Hello& hello = message.hello();
  std::optional<std::string> reason = reason_to_refuse(self_, hello, stream->peer_names(), "");
  if (!reason && dials(hello.node())) {
    reason = "node " + hello.node() + " must not connect to " + self_.node() +
             ": the one with the smaller name connects";
  }
  if (reason) {
    refuse(hello.node(), *reason);
    return stream->close({grpc::StatusCode::FAILED_PRECONDITION, *reason});
  }
  if (!peers_[hello.node()].member) return park(stream, hello);
  welcome(stream, hello);
}

// The peer has learnt of us before we have learnt of it. It gets our Hello when it becomes a member.
void Links::park(const StreamPtr& stream, const v1::Hello& hello) {
  Peer& peer = peers_[hello.node()];
  if (peer.parked) peer.parked->close(closing("replaced by a newer connection"));
  peer.parked = stream;
  peer.parked_hello = hello;
  stream->on_events(
      {.received = [](const v1::Envelope&) {},
       .ended = [this, name = hello.node()](const grpc::Status&) { peers_.at(name).parked = nullptr; }});
}

// The newest stream counts: an older one is of a process or a connection that its peer has given up.
void Links::welcome(const StreamPtr& stream, const v1::Hello& hello) {
  const std::string name = hello.node();
  end_link(name, "replaced by a newer connection of node " + name);
  peers_.at(name).stream = stream;
  stream->on_events({.received =
                         [this, name](const v1::Envelope& m) {
                           if (events_.received) events_.received(name, m);
                         },
                     .ended = [this, name](const grpc::Status& s) { end_link(name, reason_of(s)); }});
  if (!stream->send(own_hello())) return end_link(name, "it was closed");
  begin_link(name, stream, hello);
}

void Links::begin_link(const std::string& name, const StreamPtr& stream, const v1::Hello& hello) {
  Peer& peer = peers_.at(name);
  if (peer.timer != 0) executor_.cancel(std::exchange(peer.timer, 0));
  peer.stream = stream;
  peer.up = true;
  peer.backoff = {};
  refusals_.erase(name);
  tell([this, hello] {
    if (events_.up) events_.up(hello);
  });
}

void Links::end_link(const std::string& name, const std::string& reason) {
  Peer& peer = peers_.at(name);
  if (peer.timer != 0) executor_.cancel(std::exchange(peer.timer, 0));
  if (peer.stream) std::exchange(peer.stream, nullptr)->close(closing(reason));
  if (!std::exchange(peer.up, false)) return;
  peer.backoff = options_.backoff_min;
  tell([this, name, reason] {
    if (events_.down) events_.down(name, reason);
  });
}

void Links::refuse(const std::string& name, const std::string& reason) {
  if (refusals_.size() >= kRefusalsRemembered) refusals_.clear();  // names here are not yet trusted
  if (std::exchange(refusals_[name], reason) == reason) return;
  tell([this, name, reason] {
    if (events_.refused) events_.refused(name, reason);
  });
}

}  // namespace testudo::xcf
