// SPDX-License-Identifier: Apache-2.0
#include "ike/filter_message.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace testudo::ike {
namespace {

using policy::AddressRange;
using policy::PortRange;

constexpr std::size_t kTunnelNameMax = 256;  // bytes
constexpr std::uint32_t kPortMax = 65'535;

policy::Action action_of(xcf::v1::Filter::Action action) {
  switch (action) {
    case xcf::v1::Filter::PERMIT:
      return policy::Action::kPermit;
    case xcf::v1::Filter::PROTECT:
      return policy::Action::kProtect;
    default:
      return policy::Action::kDeny;
  }
}

xcf::v1::Filter::Action action_of(policy::Action action) {
  switch (action) {
    case policy::Action::kPermit:
      return xcf::v1::Filter::PERMIT;
    case policy::Action::kProtect:
      return xcf::v1::Filter::PROTECT;
    case policy::Action::kDeny:
      break;
  }
  return xcf::v1::Filter::DENY;
}

Result<AddressRange> range_of(const std::string& first, const std::string& last, std::string_view which) {
  const auto from = IpAddress::from_bytes(first);
  if (!from) return fail(fmt::format("{}_first: {}", which, from.error().message));
  const auto to = IpAddress::from_bytes(last);
  if (!to) return fail(fmt::format("{}_last: {}", which, to.error().message));
  if (from->is_v4() != to->is_v4())
    return fail(fmt::format("{}: {} and {} are of different families", which, from->to_string(), to->to_string()));
  if (*from > *to) return fail(fmt::format("{}: {} comes after {}", which, from->to_string(), to->to_string()));
  return AddressRange(*from, *to);
}

Result<PortRange> ports_of(std::uint32_t first, std::uint32_t last, std::string_view which) {
  const bool opaque = first == kPortMax && last == 0;
  if (first > kPortMax || last > kPortMax || (first > last && !opaque))
    return fail(fmt::format("{}_ports: {}–{} is no range within 0–65535", which, first, last));
  return PortRange{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)};
}

/// "": nothing is wrong.
std::string what_is_wrong(const xcf::v1::Filter& m) {
  if (!xcf::v1::Filter::Action_IsValid(m.action())) return "action: unknown";
  const bool protects = m.action() == xcf::v1::Filter::PROTECT;
  if (!protects && !m.tunnel().empty()) return "tunnel: named, but the action is not PROTECT";
  if (m.tunnel().size() > kTunnelNameMax) return fmt::format("tunnel: name of more than {} bytes", kTunnelNameMax);
  if (m.protocol() > 255) return fmt::format("protocol: {} is above 255", m.protocol());
  return "";
}

/// What each field alone does not show.
std::string what_does_not_fit(const policy::Filter& f) {
  if (f.source.first.is_v4() != f.destination.first.is_v4()) return "source and destination: of different families";
  const bool v4 = f.source.first.is_v4();
  if (f.protocol == wire::kProtocolIcmpv6 && v4) return "protocol: ICMPv6 between IPv4 addresses";
  if (f.protocol == wire::kProtocolIcmp && !v4) return "protocol: ICMP for IPv4 between IPv6 addresses";
  const bool icmp = f.protocol == wire::kProtocolIcmp || f.protocol == wire::kProtocolIcmpv6;
  return icmp && !f.destination_ports.is_any() ? "destination_ports: types and codes belong in source_ports" : "";
}

Result<policy::Filter> in_full(const xcf::v1::Filter& m) {
  auto source = range_of(m.source_first(), m.source_last(), "source");
  if (!source) return tl::unexpected(source.error());
  auto destination = range_of(m.destination_first(), m.destination_last(), "destination");
  if (!destination) return tl::unexpected(destination.error());
  auto source_ports = ports_of(m.source_port_first(), m.source_port_last(), "source");
  if (!source_ports) return tl::unexpected(source_ports.error());
  auto destination_ports = ports_of(m.destination_port_first(), m.destination_port_last(), "destination");
  if (!destination_ports) return tl::unexpected(destination_ports.error());
  return policy::Filter{.id = m.id(),
                        .direction = m.outbound() ? policy::Direction::kOutbound : policy::Direction::kInbound,
                        .priority = m.priority(),
                        .action = action_of(m.action()),
                        .log = m.log(),
                        .tunnel = m.tunnel(),
                        .source = *source,
                        .destination = *destination,
                        .protocol = static_cast<std::uint8_t>(m.protocol()),
                        .source_ports = *source_ports,
                        .destination_ports = *destination_ports};
}

std::string side_text(const AddressRange& addresses, const PortRange& ports, std::uint8_t protocol) {
  const std::string text = ports_text(ports, protocol);
  return text == "any" ? addresses.to_string() : fmt::format("{}:{}", addresses.to_string(), text);
}

}  // namespace

xcf::v1::Filter filter_to_message(const policy::Filter& f) {
  xcf::v1::Filter m;
  m.set_id(f.id);
  m.set_outbound(f.direction == policy::Direction::kOutbound);
  m.set_priority(f.priority);
  m.set_action(action_of(f.action));
  m.set_tunnel(f.tunnel);
  m.set_source_first(f.source.first.to_bytes());
  m.set_source_last(f.source.last.to_bytes());
  m.set_destination_first(f.destination.first.to_bytes());
  m.set_destination_last(f.destination.last.to_bytes());
  m.set_protocol(f.protocol);
  m.set_source_port_first(f.source_ports.first);
  m.set_source_port_last(f.source_ports.last);
  m.set_destination_port_first(f.destination_ports.first);
  m.set_destination_port_last(f.destination_ports.last);
  m.set_log(f.log);
  return m;
}

Result<policy::Filter> filter_from_message(const xcf::v1::Filter& m) {
  const auto refused = [&](std::string_view why) {
    return fail(m.id() == 0 ? fmt::format("filter: {}", why) : fmt::format("filter {}: {}", m.id(), why));
  };
  if (const std::string wrong = what_is_wrong(m); !wrong.empty()) return refused(wrong);
  auto filter = in_full(m);
  if (!filter) return refused(filter.error().message);
  if (const std::string wrong = what_does_not_fit(*filter); !wrong.empty()) return refused(wrong);
  return filter;
}

std::string protocol_name(std::uint8_t protocol) {
  static constexpr std::pair<std::uint8_t, std::string_view> kNames[] = {
      {0, "any"},  {1, "icmp"},    {4, "ipip"},  {6, "tcp"},    {17, "udp"},   {33, "dccp"},    {41, "ipv6"},
      {47, "gre"}, {58, "icmpv6"}, {89, "ospf"}, {112, "vrrp"}, {132, "sctp"}, {136, "udplite"}};
  for (const auto& [number, name] : kNames) {
    if (number == protocol) return std::string(name);
  }
  return std::to_string(protocol);
}

std::string ports_text(const PortRange& ports, std::uint8_t protocol) {
  if (ports.is_any()) return "any";
  if (ports.is_opaque()) return "opaque";
  if (protocol != wire::kProtocolIcmp && protocol != wire::kProtocolIcmpv6)
    return ports.first == ports.last ? std::to_string(ports.first) : fmt::format("{}-{}", ports.first, ports.last);
  const unsigned type = ports.first >> 8, last_type = ports.last >> 8;
  const unsigned code = ports.first & 255, last_code = ports.last & 255;
  if (code == 0 && last_code == 255)
    return type == last_type ? std::to_string(type) : fmt::format("{}-{}", type, last_type);
  if (ports.first == ports.last) return fmt::format("{}/{}", type, code);
  return fmt::format("{}/{}-{}/{}", type, code, last_type, last_code);
}

std::string selectors_text(const policy::Filter& f) {
  return fmt::format("{} {} {} > {}", f.direction == policy::Direction::kOutbound ? "out" : "in",
                     protocol_name(f.protocol), side_text(f.source, f.source_ports, f.protocol),
                     side_text(f.destination, f.destination_ports, f.protocol));
}

}  // namespace testudo::ike
