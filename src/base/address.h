// SPDX-License-Identifier: Apache-2.0
// IPv4 and IPv6 addresses, prefixes and UDP/TCP endpoints. Text in and out.
//
//   Result<IpAddress> dvipa = IpAddress::parse("2001:db8::100");
//   IpAddress peer(0xc0000201);                                   // 192.0.2.1
//   if (peer.is_v4()) use(peer.v4());
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/byte_order.h"
#include "base/check.h"
#include "base/result.h"

namespace testudo {

/// One address of either family in 16 bytes: IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that a v4-mapped
/// address must never be taken from an IPv6 packet (wire/ip.h refuses it). Ordered by value: IPv4 among themselves
/// as one expects, IPv6 likewise. The default is "none".
class IpAddress {
 public:
  constexpr IpAddress() = default;
  /// IPv4, host byte order.
  constexpr explicit IpAddress(std::uint32_t v4_host_value) : low_(kMapped | v4_host_value) {}
  /// IPv6, network byte order.
  constexpr explicit IpAddress(std::span<const std::uint8_t, 16> v6)
      : high_(load(v6.data())), low_(load(v6.data() + 8)) {}
  /// What high() and low() say of an address.
  constexpr IpAddress(std::uint64_t high, std::uint64_t low) : high_(high), low_(low) {}
  /// Dotted quad ("192.0.2.1") or RFC 4291 text ("2001:db8::1"), without zone. Fails for a v4-mapped address.
  static Result<IpAddress> parse(std::string_view text);
  /// 4 or 16 bytes, network byte order, as messages between nodes carry them. Fails for any other size and for a
  /// v4-mapped address.
  static Result<IpAddress> from_bytes(std::string_view bytes);

  [[nodiscard]] constexpr bool is_v4() const { return high_ == 0 && low_ >> 32 == kMapped >> 32; }
  [[nodiscard]] constexpr bool is_v6() const { return !is_v4(); }
  /// IPv4 only: host byte order.
  [[nodiscard]] constexpr std::uint32_t v4() const {
    CHECK(is_v4());
    return static_cast<std::uint32_t>(low_);
  }
  /// The two halves of the 16 bytes, host byte order.
  [[nodiscard]] constexpr std::uint64_t high() const { return high_; }
  [[nodiscard]] constexpr std::uint64_t low() const { return low_; }
  /// Network byte order, 16 bytes: for IPv4 the mapped form.
  [[nodiscard]] constexpr std::array<std::uint8_t, 16> bytes() const {
    return std::bit_cast<std::array<std::uint8_t, 16>>(
        std::array{Be<std::uint64_t>(high_), Be<std::uint64_t>(low_)});
  }
  /// 4 or 16 bytes, network byte order: what from_bytes() takes.
  [[nodiscard]] std::string to_bytes() const;

  /// The default, 0.0.0.0 or ::.
  [[nodiscard]] constexpr bool is_unspecified() const { return high_ == 0 && (low_ == 0 || low_ == kMapped); }
  /// 224.0.0.0/4 or ff00::/8.
  [[nodiscard]] constexpr bool is_multicast() const {
    return is_v4() ? (low_ & 0xf0000000) == 0xe0000000 : high_ >> 56 == 0xff;
  }
  /// 32 or 128.
  [[nodiscard]] constexpr std::uint8_t bits() const { return is_v4() ? 32 : 128; }
  /// The address with all but the first `length` bits zero. `length` <= bits().
  [[nodiscard]] constexpr IpAddress masked(unsigned length) const {
    IpAddress out = *this;
    const unsigned kept = is_v4() ? length + 96 : length;
    out.high_ &= mask(kept < 64 ? kept : 64);
    out.low_ &= mask(kept < 64 ? 0 : kept - 64);
    return out;
  }
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpAddress& a) {
    return H::combine(std::move(h), a.high_, a.low_);
  }

 private:
  static constexpr std::uint64_t kMapped = 0xffff'0000'0000;
  static constexpr std::uint64_t mask(unsigned bits) { return bits == 0 ? 0 : ~std::uint64_t{0} << (64 - bits); }
  static constexpr std::uint64_t load(const std::uint8_t* bytes) {
    std::array<std::uint8_t, 8> word{};
    std::copy_n(bytes, word.size(), word.begin());
    return std::bit_cast<Be<std::uint64_t>>(word).host();
  }

  std::uint64_t high_ = 0, low_ = 0;  // host byte order
};
static_assert(sizeof(IpAddress) == 16);

/// An address and a prefix length; bits after the prefix are zero.
struct IpPrefix {
  IpAddress address;
  std::uint8_t length = 0;  // bits, 0–32 or 0–128

  /// "192.0.2.0/24", "2001:db8::/32", or a bare address for a single one. Host bits that are set are an error.
  static Result<IpPrefix> parse(std::string_view text);
  [[nodiscard]] constexpr bool contains(IpAddress a) const {
    return a.is_v4() == address.is_v4() && a.masked(length) == address;
  }
  [[nodiscard]] constexpr IpAddress first() const { return address; }
  /// The highest address in it.
  [[nodiscard]] IpAddress last() const;
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

/// Address and UDP or TCP port.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  /// "192.0.2.1:4500" or "[2001:db8::1]:4500".
  static Result<Endpoint> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Endpoint& e) {
    return H::combine(std::move(h), e.address, e.port);
  }
};

}  // namespace testudo
