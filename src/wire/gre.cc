// SPDX-License-Identifier: Apache-2.0
#include "wire/gre.h"

#include <cstring>

#include "base/byte_order.h"

namespace testudo::wire {
namespace {

// RFC 2890 section 2: C, K and S bits, reserved bits, version.
constexpr std::uint16_t kKeyPresent = 0x2000;
constexpr std::uint16_t kSequencePresent = 0x1000;

struct GreHeader {
  Be<std::uint16_t> flags_version{kKeyPresent | kSequencePresent};
  Be<std::uint16_t> protocol;
  Be<std::uint32_t> key, sequence;
};
static_assert(sizeof(GreHeader) == kGreSize && alignof(GreHeader) == 1);

}  // namespace

void build_gre(std::span<std::uint8_t, kGreSize> out, const GreFields& fields) {
  GreHeader header;
  header.protocol = Be<std::uint16_t>(fields.protocol);
  header.key = Be<std::uint32_t>(fields.key);
  header.sequence = Be<std::uint32_t>(fields.sequence);
  std::memcpy(out.data(), &header, sizeof header);
}

std::optional<GreView> parse_gre(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kGreSize) return std::nullopt;
  GreHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.flags_version.host() != (kKeyPresent | kSequencePresent)) return std::nullopt;
  GreView view;
  view.key = header.key.host();
  view.sequence = header.sequence.host();
  view.protocol = header.protocol.host();
  view.payload = bytes.subspan(kGreSize);
  return view;
}

}  // namespace testudo::wire
