// SPDX-License-Identifier: Apache-2.0
// Addresses in messages: 4 or 16 bytes, or none at all. What comes from outside is checked once, with the field's
// name in the error; after that it is read with address_of().
//
//   if (auto local = xcf::host_address(sa.local(), "local"); !local) return tl::unexpected(local.error());
//   sa.set_local(dvipa.to_bytes());
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace testudo::xcf {

/// "None", which no host has, when the field is empty or malformed.
[[nodiscard]] inline IpAddress address_of(const std::string& field) {
  return IpAddress::from_bytes(field).value_or(IpAddress());
}

/// Fails when the field is empty, malformed, or not the address of one host.
[[nodiscard]] inline Result<IpAddress> host_address(const std::string& field, std::string_view name) {
  if (field.empty()) return fail(fmt::format("{} address is missing", name));
  const auto address = IpAddress::from_bytes(field);
  if (!address) return fail(fmt::format("{} address: {}", name, address.error().message));
  if (address->is_unspecified() || address->is_multicast())
    return fail(fmt::format("{} address {} is not that of one host", name, address->to_string()));
  return *address;
}

}  // namespace testudo::xcf
