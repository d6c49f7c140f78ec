// SPDX-License-Identifier: Apache-2.0
// What AH leaves out of its ICV: fields of the headers before it that change on the way (RFC 4302 section 3.3.3.1).
//
//   if (auto drop = ipsec::zero_mutable(head)) return *drop;     // head: from the IP header to AH, exactly
//   … compute the ICV over the packet …, then put back what was there
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/drop.h"

namespace testudo::ipsec {

/// Makes of the headers what the ICV is computed over: mutable fields zero, those that change in a predictable way
/// as the receiver sees them. kMalformed: options that do not fit; kUnsupported: fragment headers, routing headers
/// of unknown types on their way, IPv4 source routes on their way. The headers may be half changed then.
[[nodiscard]] std::optional<Drop> zero_mutable(std::span<std::uint8_t> head);

}  // namespace testudo::ipsec
