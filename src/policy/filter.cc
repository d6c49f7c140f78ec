// SPDX-License-Identifier: Apache-2.0
#include "policy/filter.h"

#include <algorithm>
#include <array>
#include <utility>

namespace testudo::policy {
namespace {

// Headers that begin with source and destination port.
constexpr std::uint8_t kDccp = 33, kSctp = 132, kUdpLite = 136;
constexpr std::array kWithPorts = {wire::kProtocolTcp, wire::kProtocolUdp, kDccp, kSctp, kUdpLite};
constexpr std::array<std::uint8_t, 5> kIcmpErrors = {3, 4, 5, 11, 12};  // RFC 792: those with a packet inside
constexpr std::uint8_t kIcmpv6Informational = 128;  // RFC 4443 section 2.1: from here on no error
constexpr std::size_t kIcmpHeader = 8;              // bytes before the enclosed packet
constexpr std::size_t kTcpHeader = 20;

std::uint16_t number_at(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

bool is_icmp(const wire::IpView& ip) {
  return ip.protocol() == (ip.is_v4() ? wire::kProtocolIcmp : wire::kProtocolIcmpv6);
}

/// False: the packet must have ports, or a type and code, and they are not there.
bool read_ports(const wire::IpView& ip, Flow& flow) {
  const auto payload = ip.payload();
  if (is_icmp(ip)) {
    if (payload.size() < 2) return false;
    flow.has_ports = true;
    flow.source_port = flow.destination_port = number_at(payload, 0);
    return true;
  }
  if (std::ranges::find(kWithPorts, ip.protocol()) == kWithPorts.end()) return true;
  if (payload.size() < 4) return false;
  flow.has_ports = true;
  flow.source_port = number_at(payload, 0);
  flow.destination_port = number_at(payload, 2);
  return true;
}

}  // namespace

std::optional<Flow> flow_of(const wire::IpView& ip) {
  Flow flow{.source = ip.source(), .destination = ip.destination(), .protocol = ip.protocol()};
  if (ip.fragment_offset() == 0) return read_ports(ip, flow) ? std::optional(flow) : std::nullopt;
  // It could write over the flags of a header that has passed.
  if (ip.protocol() == wire::kProtocolTcp && ip.fragment_offset() < kTcpHeader) return std::nullopt;
  return flow;
}

std::optional<Flow> flow_of(const wire::Ipv4View& ip) {
  if (ip.is_fragment()) return std::nullopt;
  const auto view = wire::parse_ip(ip.packet());
  return view ? flow_of(*view) : std::nullopt;
}

bool is_icmp_error(const wire::IpView& ip) {
  if (!is_icmp(ip) || ip.is_fragment() || ip.payload().size() < kIcmpHeader) return false;
  const std::uint8_t type = ip.payload()[0];
  return ip.is_v4() ? std::ranges::find(kIcmpErrors, type) != kIcmpErrors.end() : type < kIcmpv6Informational;
}

std::optional<Flow> answer_to_enclosed(const wire::IpView& icmp_error) {
  if (!is_icmp_error(icmp_error)) return std::nullopt;
  const auto enclosed = wire::parse_ip_prefix(icmp_error.payload().subspan(kIcmpHeader)).view;
  if (!enclosed || enclosed->is_v4() != icmp_error.is_v4()) return std::nullopt;
  auto flow = flow_of(*enclosed);
  if (!flow) return std::nullopt;
  std::swap(flow->source, flow->destination);
  std::swap(flow->source_port, flow->destination_port);
  if (is_icmp(*enclosed)) flow->has_ports = false, flow->source_port = flow->destination_port = 0;
  return flow;
}

}  // namespace testudo::policy
