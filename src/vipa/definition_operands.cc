// SPDX-License-Identifier: Apache-2.0
#include "vipa/definition_operands.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>

namespace testudo::vipa::definition {
namespace {

/// Not 0/8, 127/8, multicast and above (RFC 6890); not ::, ::1, multicast. Link-local IPv6 addresses mean nothing
/// without an interface.
bool is_unicast(IpAddress a) {
  if (a.is_v6()) {
    const bool low = a.high() == 0 && a.low() <= 1;
    return !low && !a.is_multicast() && a.high() >> 54 != 0xfe80U >> 6;
  }
  const std::uint32_t top = a.v4() >> 24;
  return top != 0 && top != 127 && top < 224;
}

}  // namespace

std::optional<IpAddress> Operands::address(std::string_view what) { return address(take(), what); }

std::optional<IpAddress> Operands::address(Token token, std::string_view what) {
  const Result<IpAddress> parsed = IpAddress::parse(token.text);
  if (!parsed) {
    error(token.at, fmt::format("{} is not {}: an address such as 192.0.2.100 or 2001:db8::100 is expected",
                                in_quotes(token.text), what));
    return std::nullopt;
  }
  if (!is_unicast(*parsed)) {
    error(token.at,
          fmt::format("{} cannot be {}: it is no address that a single host can have", parsed->to_string(), what));
    return std::nullopt;
  }
  return *parsed;
}

std::optional<std::uint8_t> Operands::mask() {
  if (empty()) {
    missing("the subnet mask is missing: it stands before the address, such as 255.255.255.0");
    return std::nullopt;
  }
  const Token token = take();
  const Result<IpAddress> parsed = IpAddress::parse(token.text);
  const std::uint32_t value = parsed && parsed->is_v4() ? parsed->v4() : 0;
  if (value == 0 || std::countl_one(value) + std::countr_zero(value) != 32) {
    error(token.at, fmt::format("{} is not a subnet mask: one such as 255.255.255.0 stands before the address",
                                in_quotes(token.text)));
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(std::countl_one(value));
}

std::optional<Operands::AddressAndLength> Operands::address_and_length(std::string_view what) {
  const Token whole = take();
  Token token = whole;
  const std::size_t slash = token.text.find('/');
  token.text = token.text.substr(0, slash);
  const std::optional<IpAddress> found = address(token, what);
  if (!found) return std::nullopt;
  AddressAndLength out{*found, std::nullopt, whole.at};
  if (slash == std::string_view::npos) return out;
  const std::string_view digits = whole.text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (code != std::errc() || end != digits.data() + digits.size() || length < 1 || length > found->bits()) {
    error(whole.at, fmt::format("prefix length {} is not one of 1–{}", in_quotes(digits), found->bits()));
    return std::nullopt;
  }
  out.length = static_cast<std::uint8_t>(length);
  return out;
}

std::optional<int> Operands::number(std::string_view what, int min, int max) {
  const Token token = take();
  int value = 0;
  const auto [end, code] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
  if (code == std::errc::invalid_argument || end != token.text.data() + token.text.size()) {
    error(token.at,
          fmt::format("{} {} is not a number: one of {}–{} is expected", what, in_quotes(token.text), min, max));
    return std::nullopt;
  }
  if (code != std::errc() || value < min || value > max) {
    error(token.at, fmt::format("{} {} is outside {}–{}", what, token.text, min, max));
    return std::nullopt;
  }
  return value;
}

bool Subnet::read_mask(Operands& operands) {
  masked_ = !operands.at_prefix();
  if (masked_) length_ = operands.mask();
  return !masked_ || length_.has_value();
}

std::optional<IpPrefix> Subnet::of(Operands& operands, const Operands::AddressAndLength& a) {
  if (masked_ && (a.length || a.address.is_v6())) {
    operands.error(a.at,
                   fmt::format("{}: a mask before the addresses is for IPv4 addresses without a prefix length; "
                               "write no mask, but 192.0.2.100/24 or 2001:db8::100/64",
                               a.address.to_string()));
    return std::nullopt;
  }
  if (a.length) length_ = a.length;
  if (!length_ || *length_ > a.address.bits()) {
    operands.error(a.at, fmt::format("the prefix length is missing: write it behind the address, such as {}/{}",
                                     a.address.to_string(), a.address.is_v4() ? 24 : 64));
    return std::nullopt;
  }
  return subnet_of(a.address, *length_);
}

}  // namespace testudo::vipa::definition
