// SPDX-License-Identifier: Apache-2.0
#include "policy/range.h"

#include <fmt/format.h>

#include <bit>

namespace testudo::policy {

Result<AddressRange> AddressRange::parse(std::string_view text) {
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) {
    const auto prefix = IpPrefix::parse(text);
    if (!prefix) return tl::unexpected(prefix.error());
    return AddressRange(*prefix);
  }
  const auto from = IpAddress::parse(text.substr(0, dash));
  if (!from) return tl::unexpected(from.error());
  const auto to = IpAddress::parse(text.substr(dash + 1));
  if (!to) return tl::unexpected(to.error());
  if (from->is_v4() != to->is_v4()) return fail(fmt::format("'{}' begins and ends in different families", text));
  if (*from > *to) return fail(fmt::format("'{}' has its ends the wrong way round", text));
  return AddressRange(*from, *to);
}

// A prefix's ends are alike in their first bits; after these, the first end has only zeros, the last one only ones.
int AddressRange::prefix_length() const {
  if (first.is_v4() != last.is_v4()) return -1;
  const int high = std::countl_zero(first.high() ^ last.high());
  const int alike = high < 64 ? high : 64 + std::countl_zero(first.low() ^ last.low());
  const int length = first.is_v4() ? alike - 96 : alike;
  const IpPrefix prefix{first, static_cast<std::uint8_t>(length)};
  return first.masked(static_cast<unsigned>(length)) == first && prefix.last() == last ? length : -1;
}

std::string AddressRange::to_string() const {
  const int length = prefix_length();
  if (length < 0) return fmt::format("{}-{}", first.to_string(), last.to_string());
  return IpPrefix{first, static_cast<std::uint8_t>(length)}.to_string();
}

}  // namespace testudo::policy
