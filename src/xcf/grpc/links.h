// SPDX-License-Identifier: Apache-2.0
// The links of a GrpcBus: who is dialled and when again, whose Hello is accepted, which of two streams counts.
// Everything runs on the executor's thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/executor.h"
#include "base/rng.h"
#include "xcf/grpc/credentials.h"
#include "xcf/grpc/grpc_bus.h"
#include "xcf/grpc/listener.h"
#include "xcf/grpc/stream.h"

namespace testudo::xcf {

class Links {
 public:
  Links(Executor& executor, GrpcOptions options, Credentials credentials, std::unique_ptr<Listener> listener,
        std::shared_ptr<facility::InFlight> in_flight);
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;
  ~Links();

  void start(v1::Hello self, BusEvents events);
  void add_member(const Member& member);
  void remove_member(const std::string& name);
  bool send(const std::string& node, const v1::Envelope& message);
  [[nodiscard]] Endpoint endpoint() const { return listener_->endpoint(); }

 private:
  using StreamPtr = std::shared_ptr<Stream>;
  struct Peer {
    std::optional<Member> member;  // none: not a member (yet); it may have a parked stream
    StreamPtr stream;
    bool up = false;   // the peer's Hello on `stream` was accepted
    StreamPtr parked;  // of a peer that greeted before it was made a member
    v1::Hello parked_hello;
    Executor::Timer timer = 0;  // next dial, or the end of waiting for the Hello
    Duration backoff{};
  };

  [[nodiscard]] bool dials(const std::string& name) const { return self_.node() < name; }
  Executor::Timer later(Duration delay, std::function<void()> task);
  void set_timer(Peer& peer, Duration delay, std::function<void()> task);
  void tell(std::function<void()> event);

  void dial_soon(const std::string& name);
  void dial_now(const std::string& name);
  void dialled_answered(const std::string& name, const v1::Envelope& message);
  void dialled_ended(const std::string& name, const grpc::Status& status);

  void accept(const StreamPtr& stream);
  void greeted(const StreamPtr& stream, const v1::Envelope& message);
  void park(const StreamPtr& stream, const v1::Hello& hello);
  void welcome(const StreamPtr& stream, const v1::Hello& hello);

  void begin_link(const std::string& name, const StreamPtr& stream, const v1::Hello& hello);
  void end_link(const std::string& name, const std::string& reason);
  void refuse(const std::string& name, const std::string& reason);
  [[nodiscard]] v1::Envelope own_hello() const;

  Executor& executor_;
  GrpcOptions options_;
  Credentials credentials_;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<facility::InFlight> in_flight_;
  KernelRng rng_;  // jitter
  v1::Hello self_;
  BusEvents events_;
  bool started_ = false;
  std::map<std::string, Peer> peers_;
  std::map<std::string, std::string> refusals_;    // what was said last about whom, so that it is said once
  std::map<StreamPtr, Executor::Timer> greeting_;  // accepted, their Hello is awaited
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace testudo::xcf
