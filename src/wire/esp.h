// SPDX-License-Identifier: Apache-2.0
// ESP header (RFC 4303 section 2) and what shares UDP port 4500 with it (RFC 3948 section 2).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/byte_order.h"
#include "base/strong.h"

namespace testudo::wire {

struct EspHeader {
  Be<std::uint32_t> spi;
  Be<std::uint32_t> sequence;  // low 32 bits
};
static_assert(sizeof(EspHeader) == 8 && alignof(EspHeader) == 1);

[[nodiscard]] inline const EspHeader* parse_esp(std::span<const std::uint8_t> bytes) {
  return bytes.size() < sizeof(EspHeader) ? nullptr : reinterpret_cast<const EspHeader*>(bytes.data());
}

enum class NatTraversalPayload : std::uint8_t { kEsp, kIke, kKeepalive };

/// What a UDP payload on port 4500 is: four zero bytes are IKE's non-ESP marker, one byte 0xFF a keep-alive.
[[nodiscard]] inline NatTraversalPayload classify_nat_traversal(std::span<const std::uint8_t> payload) {
  if (payload.size() == 1 && payload[0] == 0xff) return NatTraversalPayload::kKeepalive;
  if (payload.size() >= 4 && payload[0] == 0 && payload[1] == 0 && payload[2] == 0 && payload[3] == 0) {
    return NatTraversalPayload::kIke;
  }
  return NatTraversalPayload::kEsp;
}
inline constexpr std::size_t kNonEspMarkerSize = 4;  // bytes

}  // namespace testudo::wire
