// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/inner_mtu.h"

#include <algorithm>

#include "wire/gre.h"
#include "wire/ip.h"
#include "wire/udp.h"

namespace testudo::io {
namespace {

constexpr std::uint32_t kEspHeader = 8;     // SPI and sequence number
constexpr std::uint32_t kEspTrailer = 2;    // pad length and next header
constexpr std::uint32_t kCipherBlock = 16;  // AES-CBC: also its IV
constexpr std::uint32_t kIcvMost = 32;      // HMAC-SHA2-512-256
constexpr std::uint32_t kTcpHeader = 20;

/// The largest packet of which the protected form is no larger than `outer` bytes.
std::uint32_t protected_within(std::uint32_t outer, std::uint32_t ip_header) {
  const std::uint32_t around = ip_header + wire::kUdpHeaderSize + kEspHeader + kCipherBlock + kIcvMost;
  if (outer < around + kCipherBlock) return 0;
  return (outer - around) / kCipherBlock * kCipherBlock - kEspTrailer;
}

}  // namespace

InnerSizes inner_sizes(const InterfaceMtus& mtus, bool v4) {
  const std::uint32_t ip_header = v4 ? wire::kIpv4HeaderSize : wire::kIpv6HeaderSize;
  // XCF may be of either version, whatever the DVIPA is.
  constexpr std::uint32_t kXcf = wire::kIpv6HeaderSize + wire::kUdpHeaderSize + wire::kGreSize;
  const std::uint32_t sent = std::min(mtus.tun, protected_within(mtus.network, ip_header));
  std::uint32_t received = sent;
  if (mtus.xcf != 0) {
    const std::uint32_t forwarded = mtus.xcf < kXcf ? 0 : mtus.xcf - kXcf;
    received = std::min(received, protected_within(forwarded, ip_header));
  }
  const std::uint32_t least = v4 ? 68 : std::uint32_t{wire::kIpv6MtuMin};  // RFC 791; RFC 8200 section 5
  const std::uint32_t headers = ip_header + kTcpHeader;
  return {.mtu = std::max(sent, least), .mss = std::max(received, least) - headers};
}

}  // namespace testudo::io
