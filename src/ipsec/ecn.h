// SPDX-License-Identifier: Apache-2.0
// Explicit congestion notification over a tunnel (RFC 6040, normal mode): what the outer header says of congestion
// on the way gets into the inner one.
//
//   outer.traffic_class = inner & 0xfc | encapsulated_ecn(inner);         // section 4.1
//   if (const auto ecn = decapsulated_ecn(inner, outer)) set(*ecn);       // section 4.2; nothing: drop the packet
#pragma once

#include <cstdint>
#include <optional>

namespace testudo::ipsec {

inline constexpr std::uint8_t kEcnMask = 3;
inline constexpr std::uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;

/// Of the outer header. Any traffic class is taken: only its ECN field counts.
[[nodiscard]] constexpr std::uint8_t encapsulated_ecn(std::uint8_t inner) { return inner & kEcnMask; }

/// Of the packet that goes on (figure 4). Nothing: congestion was marked on a packet whose sender does not
/// understand the mark: the drop is the only signal it understands.
[[nodiscard]] constexpr std::optional<std::uint8_t> decapsulated_ecn(std::uint8_t inner, std::uint8_t outer) {
  inner &= kEcnMask;
  outer &= kEcnMask;
  if (inner == kNotEct) return outer == kCe ? std::nullopt : std::optional<std::uint8_t>(kNotEct);
  if (outer == kCe) return kCe;
  if (inner == kEct0 && outer == kEct1) return kEct1;
  return inner;
}

}  // namespace testudo::ipsec
