// SPDX-License-Identifier: Apache-2.0
#include "wire/ipv4.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "wire/checksum.h"

namespace testudo::wire {

bool Ipv4View::checksum_is_right() const { return testudo::wire::checksum({bytes_, header_size()}) == 0; }

// Views are made where they are returned: a copy of what was written a moment ago makes the CPU wait.

std::optional<Ipv4View> parse_ipv4_prefix(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kIpv4HeaderSize || bytes[0] >> 4 != 4) return std::nullopt;
  const Ipv4View view(bytes.data(), 0);
  if (view.header_size() < kIpv4HeaderSize || view.header_size() > bytes.size()) return std::nullopt;
  if (view.total_size() < view.header_size()) return std::nullopt;
  return Ipv4View(bytes.data(), std::min(view.total_size(), bytes.size()));
}

std::optional<Ipv4View> parse_ipv4(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kIpv4HeaderSize || Ipv4View(bytes.data(), 0).total_size() > bytes.size()) return std::nullopt;
  return parse_ipv4_prefix(bytes);
}

}  // namespace testudo::wire
