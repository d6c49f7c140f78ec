// SPDX-License-Identifier: Apache-2.0
// IPv4 addresses, prefixes and UDP/TCP endpoints, in host byte order. Text in and out.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace testudo {

class Ipv4Address {
 public:
  constexpr Ipv4Address() = default;
  constexpr explicit Ipv4Address(std::uint32_t host_value) : value_(host_value) {}
  /// Dotted quad only ("192.0.2.1").
  static Result<Ipv4Address> parse(std::string_view text);
  [[nodiscard]] constexpr std::uint32_t value() const { return value_; }
  [[nodiscard]] constexpr bool is_unspecified() const { return value_ == 0; }
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const Ipv4Address&, const Ipv4Address&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Ipv4Address& a) {
    return H::combine(std::move(h), a.value_);
  }

 private:
  std::uint32_t value_ = 0;
};

/// An address and a prefix length; bits after the prefix are zero.
struct Ipv4Prefix {
  Ipv4Address address;
  std::uint8_t length = 0;  // bits, 0–32

  /// "192.0.2.0/24", or a bare address for a /32. Host bits that are set are an error.
  static Result<Ipv4Prefix> parse(std::string_view text);
  [[nodiscard]] constexpr bool contains(Ipv4Address a) const {
    return length == 0 || ((a.value() ^ address.value()) >> (32 - length)) == 0;
  }
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const Ipv4Prefix&, const Ipv4Prefix&) = default;
};

/// Address and UDP or TCP port.
struct Endpoint {
  Ipv4Address address;
  std::uint16_t port = 0;

  /// "192.0.2.1:4500".
  static Result<Endpoint> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Endpoint& e) {
    return H::combine(std::move(h), e.address, e.port);
  }
};

}  // namespace testudo
