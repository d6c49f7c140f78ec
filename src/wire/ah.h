// SPDX-License-Identifier: Apache-2.0
// The authentication header (RFC 4302 section 2).
//
//   if (const wire::AhHeader* ah = wire::parse_ah(ip->payload())) find(ah->spi(), …, ah->size());
//
// Behind the fixed part lie the ICV (with AES-GMAC its IV before it, RFC 4543 section 4) and, where the header
// would not end at a multiple of 4 bytes in IPv4 or 8 in IPv6, padding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/byte_order.h"
#include "base/strong.h"

namespace testudo::wire {

inline constexpr std::size_t kAhFixedSize = 12;  // bytes: all but ICV and padding

/// As on the wire, without the ICV.
struct AhHeader {
  std::uint8_t next_header = 0;
  std::uint8_t length = 0;  // of the whole header in units of 4 bytes, less two
  Be<std::uint16_t> reserved;
  Be<std::uint32_t> spi_be;
  Be<std::uint32_t> sequence_be;  // the low half, with ESN

  [[nodiscard]] std::size_t size() const { return (std::size_t{length} + 2) * 4; }
  [[nodiscard]] Spi spi() const { return Spi(spi_be.host()); }
  /// The 32 bits that travel; with ESN the receiver infers the rest (ipsec/replay_window.h).
  [[nodiscard]] std::uint32_t sequence_low() const { return sequence_be.host(); }
};
static_assert(sizeof(AhHeader) == kAhFixedSize && alignof(AhHeader) == 1);

/// Null unless the header is whole and the SPI is one that an SA can have (not 0–255, RFC 4302 section 2.4).
[[nodiscard]] inline const AhHeader* parse_ah(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kAhFixedSize) return nullptr;
  const auto* header = reinterpret_cast<const AhHeader*>(bytes.data());
  if (header->size() < kAhFixedSize || header->size() > bytes.size()) return nullptr;
  return header->spi().value() < 256 ? nullptr : header;
}

}  // namespace testudo::wire
