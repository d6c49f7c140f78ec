// SPDX-License-Identifier: Apache-2.0
// BridgeProtocol: messages of plugins/charon/bridge.proto to calls of IkeEvents, and back. No socket, no state
// beyond the greeting: bytes in, bytes out. The bytes come from another process and are not trusted to be well
// formed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ike/ike_daemon.h"

namespace testudo::bridge {  // generated from plugins/charon/bridge.proto
class Answer;
class Configuration;
class IkeDatagram;
class ToNode;
}  // namespace testudo::bridge

namespace testudo::ike {

inline constexpr std::size_t kBridgeMessageMax = 128 * 1024;  // bytes
inline constexpr std::size_t kIkePayloadMax = 65'535 - 28;    // bytes of a UDP datagram over IPv4; IPv6 has 20 more

class BridgeProtocol {
 public:
  /// `instance`: of this node's life, never 0; a charon that meets another one gives up the SAs it has.
  BridgeProtocol(IkeEvents& events, std::uint64_t instance) : events_(events), instance_(instance) {}

  /// A new connection: the next message must be a Hello.
  void reset() {
    greeted_ = false;
    children_.clear();
  }
  /// Handles one message of the plugin. Returns the answer to send, empty for none; an error ends the connection.
  /// `message` is zeroed: it may have held keys.
  Result<std::string> handle(std::span<std::uint8_t> message);

  [[nodiscard]] bool greeted() const { return greeted_; }

  static std::string expire(const SaName& name, IpAddress source, Expiry expiry);
  static std::string acquire(const Wanted& wanted);
  static std::string deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload);

 private:
  Result<std::string> greet(const bridge::ToNode& message);
  [[nodiscard]] bridge::Answer answer(const bridge::ToNode& message);
  void send_ike(const bridge::IkeDatagram& message);
  Result<void> configuration(const bridge::Configuration& part);

  IkeEvents& events_;
  const std::uint64_t instance_;
  bool greeted_ = false;
  std::uint32_t charons_ = 0;  // processes that have greeted; the current one's generation is one less
  std::vector<ChildConfiguration> children_;  // of the parts that have come
};

}  // namespace testudo::ike
