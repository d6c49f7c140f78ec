// SPDX-License-Identifier: Apache-2.0
// Bus over gRPC with mutual TLS: one bidirectional stream per pair of nodes.
//
//   auto bus = GrpcBus::listen(executor, {.listen = {address, 5271}, .ca_file = "ca.crt",
//                                         .certificate_file = "t1.crt", .key_file = "t1.key"});
//   if (!bus) return tl::unexpected(bus.error());
//   (*bus)->start(hello, events);
//   (*bus)->add_member({.name = "t2", .control = …});
//
// Trust: both sides present a certificate of the cluster's CA. The name in it (a DNS entry of subjectAltName, or
// the common name if there is none) must be Hello.node, and at the dialling side the member dialled. A peer with a
// certificate of another CA fails in the TLS handshake; gRPC tells that to the dialling side alone, so `refused`
// comes up there and not at the listener.
//
// Keys in messages: the serialized form that send() makes is zeroed when gRPC lets go of it, and a received
// Envelope's keys are zeroed after `received` returns. Not reachable from here, and so not zeroed: gRPC's own TLS
// staging and read buffers.
//
// Thread: made, called and destroyed on the executor's thread; events run there and nowhere else. The destructor
// closes every stream and waits for gRPC to let go of it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/executor.h"
#include "base/result.h"
#include "base/time.h"
#include "xcf/bus.h"

namespace testudo::xcf {

struct GrpcOptions {
  Endpoint listen;      // port 0: any; see endpoint()
  std::string ca_file;  // PEM
  std::string certificate_file;
  std::string key_file;
  std::size_t queue_messages = 1024;  // waiting to be sent, per link
  std::size_t queue_bytes = 8 << 20;
  Duration backoff_min = 50ms;
  Duration backoff_max = 2s;
  Duration hello_timeout = 5s;  // from dialling or accepting to the peer's Hello
  Duration keepalive = 1s;      // ping interval; the link is down when one stays unanswered for twice that
};

class GrpcBus final : public Bus {
 public:
  /// Reads the files and binds the port. Streams that come before start() are turned away; their peers try again.
  static Result<std::unique_ptr<GrpcBus>> listen(Executor& executor, GrpcOptions options);
  ~GrpcBus() override;

  void start(v1::Hello self, BusEvents events) override;
  void add_member(const Member& member) override;
  void remove_member(const std::string& name) override;
  bool send(const std::string& node, const v1::Envelope& message) override;

  /// Where it listens, with the port that was chosen.
  [[nodiscard]] Endpoint endpoint() const;

 private:
  struct Core;
  explicit GrpcBus(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace testudo::xcf
