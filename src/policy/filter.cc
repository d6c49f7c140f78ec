// SPDX-License-Identifier: Apache-2.0
#include "policy/filter.h"

namespace testudo::policy {

std::optional<Flow> flow_of(const wire::Ipv4View& ip) {
  if (ip.is_fragment()) return std::nullopt;
  Flow flow{.source = ip.source(), .destination = ip.destination(), .protocol = ip.protocol()};
  if (flow.protocol != wire::kProtocolTcp && flow.protocol != wire::kProtocolUdp) return flow;
  const auto ports = ip.payload();  // both begin with source and destination port
  if (ports.size() < 4) return std::nullopt;
  flow.has_ports = true;
  flow.source_port = static_cast<std::uint16_t>(ports[0] << 8 | ports[1]);
  flow.destination_port = static_cast<std::uint16_t>(ports[2] << 8 | ports[3]);
  return flow;
}

}  // namespace testudo::policy
