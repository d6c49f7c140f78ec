// SPDX-License-Identifier: Apache-2.0
// Filter: one dynamic filter rule (spec B3) as the control plane knows it, and Flow: what a packet shows of itself
// to be matched against it. The fields are those of an IKEv2 traffic selector pair (RFC 7296 section 3.13.1).
//
//   if (auto ip = wire::parse_ip(bytes)) {
//     if (auto flow = policy::flow_of(*ip)) use(table.find(policy::Direction::kInbound, *flow));
//   }
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "ipsec/sa_parameters.h"
#include "policy/range.h"
#include "wire/ip.h"

namespace testudo::policy {

using ipsec::Direction;

enum class Action : std::uint8_t { kDeny, kPermit, kProtect };

struct Filter {
  std::uint64_t id = 0;  // unique per DVIPA
  Direction direction = Direction::kInbound;
  std::uint32_t priority = 0;  // lower is looked at first
  Action action = Action::kDeny;
  bool log = false;                  // connections that it decides are written to the log (spec D3)
  std::string tunnel;                // with kProtect
  AddressRange source, destination;  // both of one family
  std::uint8_t protocol = 0;         // 0: any
  /// Of ICMP and ICMPv6, source_ports are the types and codes, and destination_ports any: a traffic selector gives
  /// those of the messages that its own side sends (RFC 4301 section 4.4.1.3).
  PortRange source_ports, destination_ports;
};

/// The selectors of one packet, of its inner header where there are two.
struct Flow {
  IpAddress source, destination;
  std::uint8_t protocol = 0;
  /// The packet shows ports, or a type and code. What does not (RFC 4301 section 4.4.1.1, OPAQUE) matches only
  /// rules for any port and for opaque ones: nothing says that it is inside a narrower range.
  bool has_ports = false;
  /// Of ICMP and ICMPv6 both are type · 256 + code.
  std::uint16_t source_port = 0, destination_port = 0;
  friend constexpr bool operator==(const Flow&, const Flow&) = default;
};

/// Ports: of TCP, UDP, UDP-Lite, DCCP and SCTP; type and code of ICMP over IPv4 and ICMPv6 over IPv6. A fragment
/// that is not the first one shows none (RFC 4301 section 7.1). Nothing for a packet that must have them and is too
/// short, first fragment or whole, and for a fragment of TCP that begins inside the header (RFC 3128).
[[nodiscard]] std::optional<Flow> flow_of(const wire::IpView& ip);
/// The same for what is no fragment; nothing for a fragment.
[[nodiscard]] std::optional<Flow> flow_of(const wire::Ipv4View& ip);

/// An ICMP or ICMPv6 message that encloses a packet (RFC 792, RFC 4443). Never true of a fragment.
[[nodiscard]] bool is_icmp_error(const wire::IpView& ip);
/// Of an ICMP or ICMPv6 error message: the packet that it complains of, the other way round, as if it had been
/// answered (RFC 4301 section 6.2). Nothing for any other packet, and when too little of the packet is there. Of an
/// enclosed ICMP message type and code are left out: the answer to it would have others.
[[nodiscard]] std::optional<Flow> answer_to_enclosed(const wire::IpView& icmp_error);

}  // namespace testudo::policy
