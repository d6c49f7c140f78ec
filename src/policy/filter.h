// SPDX-License-Identifier: Apache-2.0
// Filter: one dynamic filter rule (spec B3) as the control plane knows it, and Flow: what a packet shows of itself
// to be matched against it. The fields are those of an IKEv2 traffic selector pair (RFC 7296 section 3.13.1).
//
//   if (auto flow = policy::flow_of(*wire::parse_ipv4(bytes))) use(table.find(policy::Direction::kInbound, *flow));
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "ipsec/sa_parameters.h"
#include "wire/ipv4.h"

namespace testudo::policy {

using ipsec::Direction;

enum class Action : std::uint8_t { kDeny, kPermit, kProtect };

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;  // inclusive

  [[nodiscard]] constexpr bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  [[nodiscard]] constexpr bool is_any() const { return first == 0 && last == 65535; }
  friend constexpr bool operator==(const PortRange&, const PortRange&) = default;
};

struct Filter {
  std::uint64_t id = 0;  // unique per DVIPA
  Direction direction = Direction::kInbound;
  std::uint32_t priority = 0;  // lower is looked at first
  Action action = Action::kDeny;
  std::string tunnel;  // with kProtect
  IpPrefix source, destination;
  std::uint8_t protocol = 0;  // 0: any
  PortRange source_ports, destination_ports;
};

/// The selectors of one packet, of its inner header where there are two.
struct Flow {
  IpAddress source, destination;
  std::uint8_t protocol = 0;
  /// TCP and UDP only. What has no ports matches only rules for any port: nothing says that it is inside a narrower
  /// range (RFC 4301 section 4.4.1.1, OPAQUE).
  bool has_ports = false;
  std::uint16_t source_port = 0, destination_port = 0;
  friend constexpr bool operator==(const Flow&, const Flow&) = default;
};

/// Nothing for a fragment, and for TCP or UDP whose ports are not there.
[[nodiscard]] std::optional<Flow> flow_of(const wire::Ipv4View& ip);

}  // namespace testudo::policy
