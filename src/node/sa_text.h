// SPDX-License-Identifier: Apache-2.0
// An SA in the words of logs and reports.
#pragma once

#include <string>
#include <string_view>

#include "ipsec/sa_parameters.h"

namespace testudo::node {

/// "ESP", "AH", "AH+ESP".
[[nodiscard]] inline std::string_view protocol_name(const ipsec::SaParameters& sa) {
  if (sa.protocol == ipsec::Protocol::kEsp) return "ESP";
  return sa.inner_esp ? "AH+ESP" : "AH";
}

/// "AES-GCM-128", "HMAC-SHA256-128 over AES-CTR-128".
[[nodiscard]] inline std::string suite_name(const ipsec::SaParameters& sa) {
  std::string name(crypto::sizes(sa.suite).name);
  if (sa.inner_esp) name.append(" over ").append(crypto::sizes(sa.inner_esp->suite).name);
  return name;
}

/// "198.51.100.1", with UDP encapsulation "198.51.100.1:4500" or "[2001:db8::1]:4500".
[[nodiscard]] inline std::string peer_of(const ipsec::SaParameters& sa) {
  return sa.udp_encapsulation ? Endpoint{sa.remote, sa.remote_port}.to_string() : sa.remote.to_string();
}

}  // namespace testudo::node
