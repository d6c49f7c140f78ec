// SPDX-License-Identifier: Apache-2.0
// The classic BPF programs that decide which packets the raw port's taps take. For sockets that see packets from
// the Ethernet header on.
//
// They take packets that were sent to this host (not to others, not by it) for one of the owned addresses, but
// leave to the kernel what is the kernel's: UDP to port 500 or 4500 and later fragments of UDP, which it puts
// together for the UDP ports, and IPv6 neighbour discovery (RFC 4861).
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"

namespace testudo::io {

inline constexpr std::uint32_t kEthernetHeaderSize = 14;  // bytes

/// IPv4 packets to those of `owned` that are IPv4 addresses.
[[nodiscard]] std::vector<sock_filter> tap_filter_v4(std::span<const IpAddress> owned);

/// IPv6 packets to those of `owned` that are IPv6 addresses. Extension headers are not looked behind: what has some
/// is taken, see left_to_the_kernel(). The kernel takes programs of up to 4096 instructions: two for each address
/// and eleven for each /96 network that they lie in.
[[nodiscard]] std::vector<sock_filter> tap_filter_v6(std::span<const IpAddress> owned);

/// Whether an IPv6 packet that tap_filter_v6() has taken is the kernel's all the same, behind its extension
/// headers.
[[nodiscard]] bool left_to_the_kernel(std::span<const std::uint8_t> packet);

}  // namespace testudo::io
