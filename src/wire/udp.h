// SPDX-License-Identifier: Apache-2.0
// UDP headers (RFC 768).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/byte_order.h"

namespace testudo::wire {

inline constexpr std::size_t kUdpHeaderSize = 8;  // bytes
/// IKE, and IKE and ESP behind a NAT (RFC 7296 section 2, RFC 3948).
inline constexpr std::uint16_t kIkePort = 500, kNatTraversalPort = 4500;

/// As on the wire.
struct UdpHeader {
  Be<std::uint16_t> source_port, destination_port;
  Be<std::uint16_t> length;    // bytes, header included
  Be<std::uint16_t> checksum;  // 0: none
};
static_assert(sizeof(UdpHeader) == kUdpHeaderSize && alignof(UdpHeader) == 1);

/// A header whose length has been checked. A view: valid as long as the bytes are.
class UdpView {
 public:
  [[nodiscard]] const UdpHeader& header() const { return *reinterpret_cast<const UdpHeader*>(bytes_.data()); }
  [[nodiscard]] std::span<const std::uint8_t> payload() const { return bytes_.subspan(kUdpHeaderSize); }

 private:
  friend std::optional<UdpView> parse_udp(std::span<const std::uint8_t> bytes);
  explicit UdpView(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::span<const std::uint8_t> bytes_;
};

/// `bytes`: the payload of an IP packet. Nothing unless header and payload are there; what follows is ignored.
[[nodiscard]] std::optional<UdpView> parse_udp(std::span<const std::uint8_t> bytes);

}  // namespace testudo::wire
