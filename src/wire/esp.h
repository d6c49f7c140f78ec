// SPDX-License-Identifier: Apache-2.0
// The ESP header (RFC 4303 section 2) and what else arrives on UDP port 4500 (RFC 3948 section 2).
//
//   switch (wire::classify_udp_4500(datagram)) {
//     case wire::Udp4500::kEsp: …  wire::parse_esp(datagram)->spi()
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/byte_order.h"
#include "base/strong.h"

namespace testudo::wire {

inline constexpr std::size_t kEspHeaderSize = 8;   // bytes: SPI, sequence number
inline constexpr std::size_t kEspTrailerSize = 2;  // bytes: pad length, next header
inline constexpr std::size_t kNonEspMarkerSize = 4;

/// As on the wire.
struct EspHeader {
  Be<std::uint32_t> spi_be;
  Be<std::uint32_t> sequence_be;  // the low half, with ESN

  [[nodiscard]] Spi spi() const { return Spi(spi_be.host()); }
  /// The 32 bits that travel; with ESN the receiver infers the rest (ipsec/replay_window.h).
  [[nodiscard]] std::uint32_t sequence_low() const { return sequence_be.host(); }
};
static_assert(sizeof(EspHeader) == kEspHeaderSize && alignof(EspHeader) == 1);

/// Null unless the header is whole and the SPI is one that an SA can have (not 0–255, RFC 4303 section 2.1).
[[nodiscard]] inline const EspHeader* parse_esp(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kEspHeaderSize) return nullptr;
  const auto* header = reinterpret_cast<const EspHeader*>(bytes.data());
  return header->spi().value() < 256 ? nullptr : header;
}

enum class Udp4500 : std::uint8_t {
  kIke,  // after the four zero bytes of the non-ESP marker
  kEsp,
  kKeepalive,  // one byte 0xff: only for the NAT on the way
  kMalformed,  // too short to be any of them
};

[[nodiscard]] constexpr Udp4500 classify_udp_4500(std::span<const std::uint8_t> payload) {
  if (payload.size() == 1 && payload[0] == 0xff) return Udp4500::kKeepalive;
  if (payload.size() < kEspHeaderSize) return Udp4500::kMalformed;
  return (payload[0] | payload[1] | payload[2] | payload[3]) == 0 ? Udp4500::kIke : Udp4500::kEsp;
}

}  // namespace testudo::wire
