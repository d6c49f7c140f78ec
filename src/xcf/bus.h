// SPDX-License-Identifier: Apache-2.0
// Bus: the XCF control streams of one node, one to every other member. Messages between two nodes arrive whole and
// in order for as long as the link is up; when it breaks, what was under way is lost and both sides start anew with
// up().
//
// grpc/ carries it over mutually authenticated TLS; memory/ serves tests and the simulation.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/address.h"
#include "xcf/messages.pb.h"

namespace testudo::xcf {

inline constexpr std::uint32_t kProtocolVersion = 5;

/// Where a member can be reached; found in the coupling facility.
struct Member {
  std::string name;
  Endpoint control;  // XCF address and TCP port of its control stream
};

/// All run on the node's Executor.
struct BusEvents {
  /// The link to `hello.node()` is up: its certificate, cluster and version have been checked.
  std::function<void(const v1::Hello& hello)> up;
  std::function<void(const std::string& node, const std::string& reason)> down;
  /// Keys in `message` are zeroed when it returns.
  std::function<void(const std::string& node, const v1::Envelope& message)> received;
  /// A peer was turned away: wrong certificate, name, cluster or version. One clear sentence for the log.
  std::function<void(const std::string& who, const std::string& reason)> refused;
};

class Bus {
 public:
  Bus() = default;
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;
  virtual ~Bus() = default;

  /// Starts to accept and to connect. Of two nodes the one with the smaller name connects.
  virtual void start(v1::Hello self, BusEvents events) = 0;
  /// Adds a member, or follows one whose address has changed.
  virtual void add_member(const Member& member) = 0;
  /// Forgets a member; a live link to it is closed.
  virtual void remove_member(const std::string& name) = 0;
  /// Queues the message. False, and nothing queued, when the link is down or its bounded queue is full (the link is
  /// then reset, so that both sides start anew).
  virtual bool send(const std::string& node, const v1::Envelope& message) = 0;
};

}  // namespace testudo::xcf
