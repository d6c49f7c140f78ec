// SPDX-License-Identifier: Apache-2.0
// The classic BPF program that decides which packets the raw port's tap takes.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"

namespace testudo::io {

inline constexpr std::uint32_t kEthernetHeaderSize = 14;  // bytes

/// Takes IPv4 packets that were sent to this host (not to others, not by it) for one of `owned`, but not UDP to
/// port 500 or 4500, nor later fragments of UDP: those are the kernel's to put together for the UDP ports. At most
/// 1024 addresses. For a socket that sees packets from the IP header on (SOCK_DGRAM).
[[nodiscard]] std::vector<sock_filter> tap_filter(std::span<const IpAddress> owned);

}  // namespace testudo::io
