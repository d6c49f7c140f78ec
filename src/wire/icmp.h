// SPDX-License-Identifier: Apache-2.0
// ICMP (RFC 792) and ICMPv6 (RFC 4443) error messages: what they complain of, and "too big" for path MTU discovery
// (RFC 1191, RFC 8201).
//
//   if (auto error = wire::parse_icmp_error(*ip)) {
//     if (error->too_big) learn(error->enclosed.destination(), error->mtu);
//   }
//   const std::size_t size = wire::build_too_big(room, packet, 1400);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "wire/ip.h"

namespace testudo::wire {

inline constexpr std::size_t kIcmpHeaderSize = 8;  // bytes: of error messages
inline constexpr std::uint8_t kIcmpUnreachable = 3, kIcmpTimeExceeded = 11, kIcmpParameterProblem = 12;
inline constexpr std::uint8_t kIcmpFragmentationNeeded = 4;  // code of kIcmpUnreachable
inline constexpr std::uint8_t kIcmpv6TooBig = 2;
inline constexpr std::uint8_t kIcmpv6ErrorMax = 127;  // higher types are no errors

/// RFC 791: every host takes 576 bytes, every link 68. Nobody's path is that narrow: lower values are taken for
/// 576.
inline constexpr std::uint32_t kIpv4MtuMin = 576;

struct IcmpError {
  bool too_big = false;
  std::uint32_t mtu = 0;  // too_big only; 0: the router does not say
  IpView enclosed;        // the packet that it complains of: its headers are whole, its payload is cut short
};

/// Nothing for what is no ICMP error message, and when the enclosed packet's headers are not whole or not of the
/// same IP version. The checksum is not looked at. `ip` is no fragment.
[[nodiscard]] std::optional<IcmpError> parse_icmp_error(const IpView& ip);

/// Room for any message that build_too_big() writes.
using IcmpRoom = std::array<std::uint8_t, kIpv6MtuMin>;

/// "Fragmentation needed" or "packet too big" about the packet, which must be whole and of the version of its
/// addresses; as if its destination had sent it to its source. Returns the size.
std::size_t build_too_big(IcmpRoom& out, const IpView& about, std::uint32_t mtu);

}  // namespace testudo::wire
