// SPDX-License-Identifier: Apache-2.0
#include "ike/translation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

#include "base/secret.h"
#include "bridge.pb.h"
#include "ike/filter_message.h"
#include "ike/sa_message.h"
#include "ike/transforms.h"
#include "xcf/address_field.h"

namespace testudo::ike {
namespace {

constexpr std::uint32_t kModeTransport = 1, kModeTunnel = 2;
constexpr std::uint32_t kProtocolEsp = 50, kProtocolAh = 51;

/// The part of a pair of limits that is there. rekey > life comes of an underflow in charon: no soft limit.
void set_limits(const bridge::Lifetime& from, std::uint64_t& soft, std::uint64_t& hard) {
  hard = from.life();
  soft = hard != 0 && from.rekey() > hard ? 0 : from.rekey();
}

ipsec::LifesizeLimits limits_of(const bridge::AddSa& m) {
  ipsec::LifesizeLimits limits;
  set_limits(m.seconds(), limits.soft_seconds, limits.hard_seconds);
  set_limits(m.bytes(), limits.soft_bytes, limits.hard_bytes);
  set_limits(m.packets(), limits.soft_packets, limits.hard_packets);
  return limits;
}

Secret key_of(const bridge::AddSa& m) {
  Secret key(m.encryption_key().size() + m.integrity_key().size());
  const auto rest = std::ranges::copy(m.encryption_key(), key.mutable_bytes().begin()).out;
  std::ranges::copy(m.integrity_key(), rest);
  return key;
}

/// Of charon's other modes, BEET (3) makes SAs.
Result<void> check_mode(std::uint32_t mode) {
  if (mode == kModeTransport || mode == kModeTunnel) return {};
  return fail(fmt::format("mode {} is not supported: set mode = tunnel or transport",
                          mode == 3 ? "beet" : std::to_string(mode)));
}

Result<void> check(const bridge::AddSa& m) {
  if (m.id().protocol() != kProtocolEsp && m.id().protocol() != kProtocolAh)
    return fail(fmt::format("SA of IP protocol {}: only ESP (50) and AH (51) are supported", m.id().protocol()));
  if (auto checked = check_mode(m.mode()); !checked) return checked;
  if (m.id().protocol() == kProtocolAh && m.encapsulation())
    return fail("AH with UDP encapsulation: AH does not pass a NAT; use esp_proposals, or set encap = no");
  if (m.ipcomp() != 0) return fail("IPComp is not supported: set ipcomp = no");
  if (m.dscp_in()) return fail("DSCP is not copied inwards (RFC 4301 section 5.1.2): set copy_dscp = out or no");
  if (m.no_ecn()) return fail("ECN is always carried along (RFC 6040): set copy_ecn = yes");
  if (m.reqid() == 0) return fail("SA without a reqid");
  for (const auto& [host, name] : {std::pair{&m.id().source(), "source"}, {&m.id().destination(), "destination"}}) {
    if (auto address = xcf::host_address(host->address(), name); !address) return tl::unexpected(address.error());
    if (host->port() > 65'535) return fail(fmt::format("UDP port {} is above 65535", host->port()));
    if (m.encapsulation() && host->port() == 0) return fail("SA with UDP encapsulation, but without ports");
  }
  return {};
}

policy::AddressRange addresses_of(const bridge::Selector& m) {
  return {xcf::address_of(m.first()), xcf::address_of(m.last())};
}

policy::PortRange ports_of(const bridge::Selector& m) {
  return {static_cast<std::uint16_t>(m.first_port()), static_cast<std::uint16_t>(m.last_port())};
}

/// How many first bits of an address the range sets, roughly: of a prefix, its length.
std::uint32_t specific_bits(const policy::AddressRange& range) {
  const std::uint64_t borrow = range.last.low() < range.first.low() ? 1 : 0;
  const std::uint64_t high = range.last.high() - range.first.high() - borrow;
  const std::uint64_t low = range.last.low() - range.first.low();
  const int width = high != 0 ? 64 + static_cast<int>(std::bit_width(high)) : static_cast<int>(std::bit_width(low));
  return static_cast<std::uint32_t>(range.first.bits() - width);
}

/// More specific selectors come first within a class, classes 100,000 apart; all below 1,000,000. Half a class each
/// for priorities that swanctl.conf gives (priority = 1 … 49,999) and for the others.
std::uint32_t priority_of(const bridge::Policy& m, const policy::Filter& filter) {
  const std::uint32_t base = 100'000 * (1 + std::min(m.class_(), 7U));
  if (m.manual_priority() != 0) return base + std::min(m.manual_priority(), 49'999U);
  std::uint32_t value =
      base + 99'000 - 128 * (specific_bits(filter.source) + specific_bits(filter.destination));  // up to 32,768
  if (filter.protocol != 0) value -= 64;
  if (!filter.source_ports.is_any()) value -= 16;
  if (!filter.destination_ports.is_any()) value -= 16;
  return value;
}

/// A selector names the types of the ICMP messages that its own side sends (RFC 4301 section 4.4.1.3); charon also
/// takes them from the other one.
void set_ports(const bridge::Policy& m, policy::Filter& filter) {
  filter.source_ports = ports_of(m.source());
  filter.destination_ports = ports_of(m.destination());
  if (filter.protocol != wire::kProtocolIcmp && filter.protocol != wire::kProtocolIcmpv6) return;
  if (filter.source_ports.is_any()) filter.source_ports = filter.destination_ports;
  filter.destination_ports = {};
}

policy::Filter filter_of(const bridge::Policy& m, std::uint32_t generation) {
  policy::Filter filter;
  const bool outbound = m.direction() == bridge::Policy::OUT;
  filter.direction = outbound ? policy::Direction::kOutbound : policy::Direction::kInbound;
  filter.source = addresses_of(m.source());
  filter.destination = addresses_of(m.destination());
  filter.protocol =
      static_cast<std::uint8_t>(m.source().protocol() != 0 ? m.source().protocol() : m.destination().protocol());
  set_ports(m, filter);
  filter.priority = priority_of(m, filter);
  if (m.kind() == bridge::Policy::IPSEC) {
    filter.action = policy::Action::kProtect;
    filter.tunnel = tunnel_name(m.connection(), m.reqid(), generation);
  }
  if (m.kind() == bridge::Policy::PASS) filter.action = policy::Action::kPermit;
  return filter;
}

Result<void> check(const bridge::Policy& m) {
  if (m.kind() != bridge::Policy::IPSEC && m.kind() != bridge::Policy::PASS && m.kind() != bridge::Policy::DROP) {
    return fail(fmt::format("policy of unknown kind {}", static_cast<int>(m.kind())));
  }
  if (m.kind() == bridge::Policy::IPSEC) {
    if (auto checked = check_mode(m.mode()); !checked) return checked;
  }
  for (const bridge::Selector* selector : {&m.source(), &m.destination()}) {
    const auto first = IpAddress::from_bytes(selector->first()), last = IpAddress::from_bytes(selector->last());
    for (const auto& address : {first, last}) {
      if (!address) return fail(fmt::format("traffic selector: {}", address.error().message));
    }
    if (first->is_v4() != last->is_v4()) return fail("traffic selector with its ends in two families");
    if (*first > *last) return fail("traffic selector with its addresses the wrong way round");
    if (selector->protocol() > 255) return fail("traffic selector with an IP protocol above 255");
    if (selector->first_port() > 65'535 || selector->last_port() > 65'535)
      return fail("traffic selector with a port above 65535");
  }
  return {};
}

}  // namespace

SaName name_of(const ipsec::SaParameters& sa) {
  return {sa.spi, sa.direction == ipsec::Direction::kInbound ? sa.local : sa.remote, sa.protocol};
}

std::string tunnel_name(const std::string& connection, std::uint32_t reqid, std::uint32_t generation) {
  const std::string plain = fmt::format("{}{{{}}}", connection, reqid);
  return generation == 0 ? plain : fmt::format("{}@{}", plain, generation);
}

std::string connection_of(const std::string& tunnel) { return tunnel.substr(0, tunnel.rfind('{')); }

Result<ipsec::SaParameters> translate(const bridge::AddSa& m, std::uint32_t generation) {
  if (auto checked = check(m); !checked) return tl::unexpected(checked.error());
  const auto protocol = static_cast<ipsec::Protocol>(m.id().protocol());
  const auto suite = suite_of({.protocol = protocol,
                               .encryption = m.encryption(),
                               .encryption_key = m.encryption_key().size(),
                               .integrity = m.integrity(),
                               .integrity_key = m.integrity_key().size()});
  if (!suite) return tl::unexpected(suite.error());
  const bridge::Host& local = m.inbound() ? m.id().destination() : m.id().source();
  const bridge::Host& remote = m.inbound() ? m.id().source() : m.id().destination();
  ipsec::SaParameters sa{
      .id = {},
      .direction = m.inbound() ? ipsec::Direction::kInbound : ipsec::Direction::kOutbound,
      .protocol = protocol,
      .mode = m.mode() == kModeTransport ? ipsec::Mode::kTransport : ipsec::Mode::kTunnel,
      .spi = Spi(m.id().spi()),
      .local = xcf::address_of(local.address()),
      .remote = xcf::address_of(remote.address()),
      .udp_encapsulation = m.encapsulation(),  // a port of 4500 alone says nothing
      .local_port = static_cast<std::uint16_t>(m.encapsulation() ? local.port() : 4500),
      .remote_port = static_cast<std::uint16_t>(m.encapsulation() ? remote.port() : 4500),
      .tunnel = tunnel_name(m.connection(), m.reqid(), generation),
      .reqid = m.reqid(),
      .suite = *suite,
      .key = key_of(m),
      .replay_window = m.replay_window(),
      .esn = m.esn(),
      .inner_esp = std::nullopt,  // IKEv2 negotiates no AH over ESP
      .dont_fragment = m.clear_df() ? ipsec::DontFragment::kClear : ipsec::DontFragment::kCopy,
      .copy_dscp = !m.zero_dscp(),
      .limits = limits_of(m),
  };
  // The same rules as for an SA that comes over XCF; the id, which is not known yet, aside.
  xcf::v1::Sa message = sa_to_message(sa);
  message.set_id(1);
  const auto valid = sa_from_message(message);
  scrub(message);
  if (!valid) return tl::unexpected(valid.error());
  return sa;
}

Result<Policy> translate(const bridge::Policy& m, std::uint32_t generation) {
  constexpr std::uint32_t kTrap = 2;
  Policy policy;
  if (m.direction() == bridge::Policy::IN) policy.dvipa = xcf::address_of(m.sa_destination().address());
  if (m.direction() == bridge::Policy::OUT) policy.dvipa = xcf::address_of(m.sa_source().address());
  const bool ours = m.direction() == bridge::Policy::IN || m.direction() == bridge::Policy::OUT;
  if (!ours || m.class_() == kTrap) return policy;
  if (auto checked = check(m); !checked) return tl::unexpected(checked.error());
  policy.filters.push_back(filter_to_message(filter_of(m, generation)));
  if (auto checked = filter_from_message(policy.filters.back()); !checked) return tl::unexpected(checked.error());
  return policy;
}

}  // namespace testudo::ike
