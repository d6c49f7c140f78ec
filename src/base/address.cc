// SPDX-License-Identifier: Apache-2.0
#include "base/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

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

}  // namespace

Result<Ipv4Address> Ipv4Address::parse(std::string_view text) {
  in_addr raw{};
  // inet_pton reads a C string: what follows a zero byte would go unseen.
  const bool one_string = text.find('\0') == std::string_view::npos;
  if (!one_string || inet_pton(AF_INET, std::string(text).c_str(), &raw) != 1) {
    return fail(fmt::format("'{}' is not an IPv4 address (write four numbers, like 192.0.2.1)", text));
  }
  return Ipv4Address(ntohl(raw.s_addr));
}

std::string Ipv4Address::to_string() const {
  return fmt::format("{}.{}.{}.{}", value_ >> 24, (value_ >> 16) & 255, (value_ >> 8) & 255, value_ & 255);
}

Result<Ipv4Prefix> Ipv4Prefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  auto address = Ipv4Address::parse(text.substr(0, slash));
  if (!address) return tl::unexpected(address.error());
  std::uint8_t length = 32;
  if (slash != std::string_view::npos) {
    auto number = parse_number(text.substr(slash + 1), 32, "prefix length");
    if (!number) return tl::unexpected(number.error());
    length = static_cast<std::uint8_t>(*number);
  }
  const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  if ((address->value() & ~mask) != 0) {
    return fail(fmt::format("'{}' has bits set after the prefix; the network is {}/{}", text,
                            Ipv4Address(address->value() & mask).to_string(), length));
  }
  return Ipv4Prefix{*address, length};
}

std::string Ipv4Prefix::to_string() const { return fmt::format("{}/{}", address.to_string(), length); }

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(fmt::format("'{}' has no port (write ADDRESS:PORT)", text));
  auto address = Ipv4Address::parse(text.substr(0, colon));
  if (!address) return tl::unexpected(address.error());
  auto port = parse_number(text.substr(colon + 1), 65535, "port");
  if (!port) return tl::unexpected(port.error());
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

std::string Endpoint::to_string() const { return fmt::format("{}:{}", address.to_string(), port); }

}  // namespace testudo
