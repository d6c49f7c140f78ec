// SPDX-License-Identifier: Apache-2.0
#include "ike/sa_message.h"

#include <fmt/format.h>

#include <string>

#include "base/secret.h"
#include "ike/filter_message.h"
#include "xcf/address_field.h"

namespace testudo::ike {
namespace {

constexpr std::size_t kTunnelNameMax = 256;         // bytes
constexpr std::uint32_t kReplayWindowMax = 65'536;  // packets
constexpr std::uint32_t kPortMax = 65'535;
constexpr std::uint32_t kSpiMin = 256;  // RFC 4303 section 2.1: 1–255 are reserved

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

ipsec::LifesizeLimits limits_from(const xcf::v1::Limits& m) {
  return {.soft_bytes = m.soft_bytes(),
          .hard_bytes = m.hard_bytes(),
          .soft_packets = m.soft_packets(),
          .hard_packets = m.hard_packets(),
          .soft_seconds = m.soft_seconds(),
          .hard_seconds = m.hard_seconds()};
}

void limits_to(const ipsec::LifesizeLimits& limits, xcf::v1::Limits* m) {
  m->set_soft_bytes(limits.soft_bytes);
  m->set_hard_bytes(limits.hard_bytes);
  m->set_soft_packets(limits.soft_packets);
  m->set_hard_packets(limits.hard_packets);
  m->set_soft_seconds(limits.soft_seconds);
  m->set_hard_seconds(limits.hard_seconds);
}

Result<void> check_ports(const xcf::v1::Sa& m) {
  for (const std::uint32_t port : {m.local_port(), m.remote_port()}) {
    if (port > kPortMax || (m.udp_encapsulation() && port == 0)) {
      return fail(fmt::format("SA {:#x}: UDP port {} is not in 1–65535", m.id(), port));
    }
  }
  return {};
}

Result<void> check_addresses(const xcf::v1::Sa& m) {
  const auto local = xcf::host_address(m.local(), "local");
  const auto remote = xcf::host_address(m.remote(), "remote");
  for (const auto& address : {local, remote}) {
    if (!address) return fail(fmt::format("SA {:#x}: {}", m.id(), address.error().message));
  }
  if (local->is_v4() == remote->is_v4()) return {};
  return fail(fmt::format("SA {:#x}: its addresses {} and {} are of two families", m.id(), local->to_string(),
                          remote->to_string()));
}

Result<void> check_sa(const xcf::v1::Sa& m) {
  if (m.id() == 0) return fail("SA without an id");
  if (m.spi() < kSpiMin)
    return fail(fmt::format("SA {:#x}: SPI {} is reserved; it must be at least 256", m.id(), m.spi()));
  if (auto checked = check_addresses(m); !checked) return checked;
  const std::optional<crypto::Suite> known = crypto::suite_of_number(m.suite());
  if (!known) return fail(fmt::format("SA {:#x}: suite {} is unknown to this version", m.id(), m.suite()));
  const crypto::SuiteSizes& suite = crypto::sizes(*known);
  if (m.key().size() != suite.key) {
    return fail(
        fmt::format("SA {:#x}: key has {} bytes; {} needs {}", m.id(), m.key().size(), suite.name, suite.key));
  }
  if (m.tunnel().empty() || m.tunnel().size() > kTunnelNameMax) {
    return fail(fmt::format("SA {:#x}: tunnel name has {} bytes; 1–{} are allowed", m.id(), m.tunnel().size(),
                            kTunnelNameMax));
  }
  if (m.replay_window() > kReplayWindowMax) {
    return fail(fmt::format("SA {:#x}: replay window {} is above {}", m.id(), m.replay_window(), kReplayWindowMax));
  }
  return check_ports(m);
}

}  // namespace

xcf::v1::Sa sa_to_message(const ipsec::SaParameters& sa) {
  xcf::v1::Sa m;
  m.set_id(sa.id.value());
  m.set_outbound(sa.direction == ipsec::Direction::kOutbound);
  m.set_spi(sa.spi.value());
  m.set_local(sa.local.to_bytes());
  m.set_remote(sa.remote.to_bytes());
  m.set_udp_encapsulation(sa.udp_encapsulation);
  m.set_local_port(sa.local_port);
  m.set_remote_port(sa.remote_port);
  m.set_tunnel(sa.tunnel);
  m.set_reqid(sa.reqid);
  m.set_suite(crypto::suite_number(sa.suite));
  m.set_key(sa.key.bytes().data(), sa.key.size());
  m.set_replay_window(sa.replay_window);
  m.set_esn(sa.esn);
  limits_to(sa.limits, m.mutable_limits());
  return m;
}

Result<ipsec::SaParameters> sa_from_message(const xcf::v1::Sa& m) {
  if (auto checked = check_sa(m); !checked) return tl::unexpected(checked.error());
  return ipsec::SaParameters{
      .id = SaId(m.id()),
      .direction = m.outbound() ? ipsec::Direction::kOutbound : ipsec::Direction::kInbound,
      .spi = Spi(m.spi()),
      .local = xcf::address_of(m.local()),
      .remote = xcf::address_of(m.remote()),
      .udp_encapsulation = m.udp_encapsulation(),
      .local_port = static_cast<std::uint16_t>(m.local_port()),
      .remote_port = static_cast<std::uint16_t>(m.remote_port()),
      .tunnel = m.tunnel(),
      .reqid = m.reqid(),
      .suite = *crypto::suite_of_number(m.suite()),
      .key = Secret(bytes_of(m.key())),
      .replay_window = m.replay_window(),
      .esn = m.esn(),
      .limits = limits_from(m.limits()),
  };
}

Result<void> check_install(const xcf::v1::Install& install) {
  const auto dvipa = xcf::host_address(install.dvipa(), "DVIPA's");
  if (!dvipa) return fail(fmt::format("Install: {}", dvipa.error().message));
  if (install.epoch() == 0) return fail("Install without an epoch");
  for (const xcf::v1::Sa& sa : install.sas()) {
    if (auto checked = check_sa(sa); !checked) return checked;
    if (sa.local() != install.dvipa()) {
      return fail(fmt::format("SA {:#x}: its local address {} is not the DVIPA {} of its Install", sa.id(),
                              xcf::address_of(sa.local()).to_string(), dvipa->to_string()));
    }
  }
  for (const xcf::v1::Filter& filter : install.filters()) {
    if (filter.id() == 0) return fail("filter without an id");
    if (auto checked = filter_from_message(filter); !checked) return tl::unexpected(checked.error());
  }
  return {};
}

void scrub(xcf::v1::Sa& sa) {
  std::string& key = *sa.mutable_key();
  zero({reinterpret_cast<std::uint8_t*>(key.data()), key.size()});
  sa.clear_key();
}

void scrub(xcf::v1::Install& install) {
  for (xcf::v1::Sa& sa : *install.mutable_sas()) scrub(sa);
}

}  // namespace testudo::ike
