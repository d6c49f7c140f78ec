// SPDX-License-Identifier: Apache-2.0
// Ranges of addresses and of ports: what the traffic selectors of IKEv2 are made of (RFC 7296 section 3.13.1).
//
//   Result<AddressRange> peer = AddressRange::parse("198.51.100.0/24");   // or "…0-…99", or one address
//   if (peer->contains(flow.source)) …
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace testudo::policy {

/// Both ends are in it, and of one family. The default is no range: it contains what no packet has.
struct AddressRange {
  IpAddress first, last;

  constexpr AddressRange() = default;
  constexpr AddressRange(IpAddress from, IpAddress to) : first(from), last(to) {}
  explicit AddressRange(IpAddress one) : first(one), last(one) {}
  AddressRange(const IpPrefix& prefix) : first(prefix.first()), last(prefix.last()) {}
  /// Every address of the family of `like`.
  [[nodiscard]] static AddressRange all(IpAddress like) { return AddressRange(IpPrefix{like.masked(0), 0}); }
  /// "192.0.2.1", "192.0.2.0/24", "192.0.2.1-192.0.2.9"; IPv6 alike.
  static Result<AddressRange> parse(std::string_view text);

  /// IPv4's place among the IPv6 addresses (base/address.h) does not put it into a range of IPv6.
  [[nodiscard]] constexpr bool contains(IpAddress a) const {
    return first <= a && a <= last && a.is_v4() == first.is_v4();
  }
  [[nodiscard]] bool is_all() const { return *this == all(first); }
  /// Bits of the prefix that this is; -1: it is none.
  [[nodiscard]] int prefix_length() const;
  /// "192.0.2.0/24" or, when it is no prefix, "192.0.2.1-192.0.2.9".
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const AddressRange&, const AddressRange&) = default;
};

/// Port numbers; of ICMP and ICMPv6 the values type · 256 + code (RFC 4301 section 4.4.1.1).
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;  // inclusive

  /// ANY, RFC 4301: also for packets that show no port.
  [[nodiscard]] constexpr bool is_any() const { return first == 0 && last == 65535; }
  /// OPAQUE, RFC 4301: only for packets that show no port. On the wire it is the range 65535–0 (RFC 7296).
  [[nodiscard]] constexpr bool is_opaque() const { return first > last; }
  [[nodiscard]] static constexpr PortRange opaque() { return {65535, 0}; }
  [[nodiscard]] constexpr bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  friend constexpr bool operator==(const PortRange&, const PortRange&) = default;
};

}  // namespace testudo::policy
