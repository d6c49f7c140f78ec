// SPDX-License-Identifier: Apache-2.0
// BridgeProtocol: messages of plugins/charon/bridge.proto to calls of IkeEvents, and back. No socket, no state
// beyond the greeting: bytes in, bytes out. The bytes come from another process and are not trusted to be well
// formed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "ike/ike_daemon.h"

namespace testudo::ike {

inline constexpr std::size_t kBridgeMessageMax = 128 * 1024;  // bytes
inline constexpr std::size_t kIkePayloadMax = 65'535 - 28;    // bytes of a UDP datagram over IPv4

class BridgeProtocol {
 public:
  explicit BridgeProtocol(IkeEvents& events) : events_(events) {}

  /// Handles one message of the plugin. Returns the answer to send, empty for none; an error ends the connection.
  /// The first message must be a Hello. `message` is zeroed when it held keys.
  Result<std::string> handle(std::span<std::uint8_t> message);

  [[nodiscard]] bool greeted() const { return greeted_; }

  static std::string expire(SaName name, Ipv4Address source, Expiry expiry);
  static std::string acquire(const Wanted& wanted);
  static std::string deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload);

 private:
  IkeEvents& events_;
  bool greeted_ = false;
};

}  // namespace testudo::ike
