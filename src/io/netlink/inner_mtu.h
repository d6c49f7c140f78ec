// SPDX-License-Identifier: Apache-2.0
// How large an application's packets may be, so that what becomes of them still fits: protected with ESP on the
// network, and, on its way in, wrapped once more for XCF (GRE in UDP).
//
//   const auto sizes = io::inner_sizes({.tun = 1400, .network = 1500, .xcf = 9000}, /*v4=*/true);
//   // the route into the TUN: mtu sizes.mtu, advmss sizes.mss
#pragma once

#include <cstdint>

namespace testudo::io {

/// MTUs of the interfaces, bytes.
struct InterfaceMtus {
  std::uint32_t tun = 0;
  std::uint32_t network = 0;
  std::uint32_t xcf = 0;  // 0: there is none
};

struct InnerSizes {
  std::uint32_t mtu = 0;  // bytes: of what the application's kernel sends. Of IPv6 at least 1280, as it must be
  std::uint32_t mss = 0;  // bytes of TCP data: of what its peers are asked to send
  friend bool operator==(const InnerSizes&, const InnerSizes&) = default;
};

/// For a DVIPA of one version, with the largest overhead that a suite has: AES-CBC with HMAC-SHA2-512 in UDP,
/// tunnel mode between addresses of that version. AH over ESP is larger still; path MTU discovery tells its
/// connections.
[[nodiscard]] InnerSizes inner_sizes(const InterfaceMtus& mtus, bool v4);

}  // namespace testudo::io
