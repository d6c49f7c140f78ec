// SPDX-License-Identifier: Apache-2.0
// GRE (RFC 2784, key and sequence fields RFC 2890) as XCF data uses it (spec C6): always with both fields, always
// carrying IPv4. The key has the low 24 bits of the DVIPA's ownership epoch and eight flags; the sequence field has
// the high half of the ESP sequence number.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "base/byte_order.h"
#include "base/strong.h"

namespace testudo::wire {

struct GreHeader {
  Be<std::uint16_t> flags_version{0x3000};  // K and S set, version 0
  Be<std::uint16_t> protocol{0x0800};
  Be<std::uint32_t> key;
  Be<std::uint32_t> sequence;
};
static_assert(sizeof(GreHeader) == 12 && alignof(GreHeader) == 1);

struct XcfGre {
  static constexpr std::uint8_t kFiltered = 1;  // the owner has applied the inbound filters; the target need not
  static constexpr std::uint8_t kClear = 2;     // the packet came without IPsec

  std::uint32_t epoch24 = 0;  // low 24 bits of the epoch
  std::uint8_t flags = 0;
  std::uint32_t sequence_high = 0;
};

[[nodiscard]] constexpr std::uint32_t epoch24(Epoch epoch) {
  return static_cast<std::uint32_t>(epoch.value() & 0xffffff);
}

[[nodiscard]] inline GreHeader build_gre(const XcfGre& of) {
  GreHeader header;
  header.key = Be<std::uint32_t>(of.epoch24 << 8 | of.flags);
  header.sequence = Be<std::uint32_t>(of.sequence_high);
  return header;
}

/// Nothing for what is not exactly that: another version, other flags, another protocol, too short.
[[nodiscard]] inline std::optional<XcfGre> parse_gre(std::span<const std::uint8_t> bytes) {
  GreHeader header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
  if (header.flags_version.host() != 0x3000 || header.protocol.host() != 0x0800) return std::nullopt;
  const std::uint32_t key = header.key.host();
  return XcfGre{
      .epoch24 = key >> 8, .flags = static_cast<std::uint8_t>(key), .sequence_high = header.sequence.host()};
}

}  // namespace testudo::wire
