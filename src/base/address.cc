// SPDX-License-Identifier: Apache-2.0
#include "base/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>
#include <cstring>

namespace testudo {
namespace {

Result<std::uint32_t> parse_number(std::string_view text, std::uint32_t max, std::string_view what) {
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) {
    return fail(fmt::format("'{}' is not a {} (0–{})", text, what, max));
  }
  return value;
}

/// Host bits that are set would make a prefix mean something else than it shows.
Result<IpPrefix> without_host_bits(std::string_view text, IpAddress address, std::uint8_t length) {
  if (address.masked(length) != address) {
    return fail(fmt::format("'{}' has bits set after the prefix; the network is {}/{}", text,
                            address.masked(length).to_string(), length));
  }
  return IpPrefix{address, length};
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  // inet_pton reads a C string: what follows a zero byte would go unseen.
  if (text.find('\0') == std::string_view::npos) {
    const std::string string(text);
    in_addr v4{};
    if (inet_pton(AF_INET, string.c_str(), &v4) == 1) return IpAddress(ntohl(v4.s_addr));
    in6_addr v6{};
    if (inet_pton(AF_INET6, string.c_str(), &v6) == 1) {
      const IpAddress address(std::span<const std::uint8_t, 16>(v6.s6_addr));
      if (address.is_v4()) return fail(fmt::format("'{}' is a v4-mapped address: write the IPv4 address", text));
      return address;
    }
  }
  return fail(fmt::format("'{}' is not an IP address (write one like 192.0.2.1 or 2001:db8::1)", text));
}

Result<IpAddress> IpAddress::from_bytes(std::string_view bytes) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  if (bytes.size() == 4) {
    return IpAddress(std::uint32_t{data[0]} << 24 | std::uint32_t{data[1]} << 16 | std::uint32_t{data[2]} << 8 |
                     data[3]);
  }
  if (bytes.size() != 16) return fail(fmt::format("an IP address of {} bytes: it has 4 or 16", bytes.size()));
  const IpAddress address(std::span<const std::uint8_t, 16>(data, 16));
  if (address.is_v4()) return fail("an IPv6 address that is v4-mapped");
  return address;
}

std::string IpAddress::to_bytes() const {
  const auto all = bytes();
  const std::size_t from = is_v4() ? 12 : 0;
  return {reinterpret_cast<const char*>(all.data()) + from, all.size() - from};
}

std::string IpAddress::to_string() const {
  if (is_v4()) {
    return fmt::format("{}.{}.{}.{}", v4() >> 24, (v4() >> 16) & 255, (v4() >> 8) & 255, v4() & 255);
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  const auto raw = bytes();
  CHECK(inet_ntop(AF_INET6, raw.data(), text.data(), text.size()) != nullptr);
  return text.data();
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return tl::unexpected(address.error());
  std::uint8_t length = address->bits();
  if (slash != std::string_view::npos) {
    auto number = parse_number(text.substr(slash + 1), address->bits(), "prefix length");
    if (!number) return tl::unexpected(number.error());
    length = static_cast<std::uint8_t>(*number);
  }
  auto prefix = without_host_bits(text, *address, length);
  if (prefix && prefix->last().is_v4() != address->is_v4()) {
    return fail(
        fmt::format("'{}' ends among the IPv4-mapped addresses, which no packet has: choose another prefix", text));
  }
  return prefix;
}

IpAddress IpPrefix::last() const {
  auto raw = address.bytes();
  for (unsigned bit = address.is_v4() ? 96u + length : length; bit < 128; ++bit) {
    raw[bit / 8] |= static_cast<std::uint8_t>(0x80 >> (bit % 8));
  }
  return IpAddress(std::span<const std::uint8_t, 16>(raw));
}

std::string IpPrefix::to_string() const { return fmt::format("{}/{}", address.to_string(), length); }

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(fmt::format("'{}' has no port (write ADDRESS:PORT)", text));
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto address = IpAddress::parse(host);
  if (!address) return tl::unexpected(address.error());
  if (address->is_v6() != bracketed) {
    return fail(fmt::format("'{}': write an IPv6 address with a port as [2001:db8::1]:4500", text));
  }
  auto port = parse_number(text.substr(colon + 1), 65535, "port");
  if (!port) return tl::unexpected(port.error());
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

std::string Endpoint::to_string() const {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                         : fmt::format("[{}]:{}", address.to_string(), port);
}

}  // namespace testudo
