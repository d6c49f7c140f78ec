// SPDX-License-Identifier: Apache-2.0
#include "policy/rule.h"

namespace testudo::policy {
namespace {

struct Ports {
  std::uint32_t first, last;
};

Ports ports_of(const PortRange& range) {
  if (range.is_any()) return {0, kNoPort};
  if (range.is_opaque()) return {kNoPort, kNoPort};
  return {range.first, range.last};
}

}  // namespace

Point::Point(Direction direction, const Flow& flow) : protocol(flow.protocol) {
  const bool in = direction == Direction::kInbound;
  remote = in ? flow.source : flow.destination;
  local = in ? flow.destination : flow.source;
  if (!flow.has_ports) return;
  remote_port = in ? flow.source_port : flow.destination_port;
  local_port = in ? flow.destination_port : flow.source_port;
}

void Box::include(const Box& other) {
  remote_first = std::min(remote_first, other.remote_first);
  remote_last = std::max(remote_last, other.remote_last);
  local_first = std::min(local_first, other.local_first);
  local_last = std::max(local_last, other.local_last);
  remote_port_first = std::min(remote_port_first, other.remote_port_first);
  remote_port_last = std::max(remote_port_last, other.remote_port_last);
  local_port_first = std::min(local_port_first, other.local_port_first);
  local_port_last = std::max(local_port_last, other.local_port_last);
  protocol_first = std::min(protocol_first, other.protocol_first);
  protocol_last = std::max(protocol_last, other.protocol_last);
}

Rule Rule::of(const Filter& f, IpAddress dvipa, ipsec::TunnelNames& tunnels) {
  const bool in = f.direction == Direction::kInbound;
  const AddressRange& remote = in ? f.source : f.destination;
  const AddressRange& local = in ? f.destination : f.source;
  const Ports remote_ports = ports_of(in ? f.source_ports : f.destination_ports);
  const Ports local_ports = ports_of(in ? f.destination_ports : f.source_ports);
  return {.rank = {.priority = f.priority, .id = f.id, .dvipa = dvipa},
          .box = {.remote_first = remote.first,
                  .remote_last = remote.last,
                  .local_first = local.first,
                  .local_last = local.last,
                  .remote_port_first = remote_ports.first,
                  .remote_port_last = remote_ports.last,
                  .local_port_first = local_ports.first,
                  .local_port_last = local_ports.last,
                  .protocol_first = f.protocol,
                  .protocol_last = f.protocol == 0 ? std::uint8_t{255} : f.protocol},
          .tunnel = f.action == Action::kProtect ? tunnels.intern(f.tunnel) : ipsec::TunnelId(),
          .direction = f.direction,
          .action = f.action,
          .log = f.log};
}

}  // namespace testudo::policy
