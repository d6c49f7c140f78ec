// SPDX-License-Identifier: Apache-2.0
// A fast message as one line of a transcript.
//
//   fast_text(bytes)  →  "grants 100002a: 17 to 44, shared"
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace testudo::sim {

[[nodiscard]] std::string fast_text(std::span<const std::uint8_t> datagram);

}  // namespace testudo::sim
