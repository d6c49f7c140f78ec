// SPDX-License-Identifier: Apache-2.0
#include "ike/sa_message.h"

#include <fmt/format.h>

#include <optional>
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

template <typename M>  // Sa, UpdateSa
Result<void> check_ports(const M& m) {
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

constexpr bool is_protocol(std::uint32_t number) {
  return number == static_cast<std::uint32_t>(ipsec::Protocol::kEsp) ||
         number == static_cast<std::uint32_t>(ipsec::Protocol::kAh);
}

/// One suite's number and key: of AH, or of ESP.
Result<void> check_suite(std::uint64_t id, std::uint32_t number, const std::string& key, bool ah) {
  const std::optional<crypto::Suite> suite = crypto::suite_of_number(number);
  if (!suite) return fail(fmt::format("SA {:#x}: suite {} is unknown to this version", id, number));
  const crypto::SuiteSizes& known = crypto::sizes(*suite);
  if (is_ah(*suite) != ah)
    return fail(fmt::format("SA {:#x}: {} is no suite of {}", id, known.name, ah ? "AH" : "ESP"));
  if (key.size() == known.key) return {};
  return fail(fmt::format("SA {:#x}: key has {} bytes; {} needs {}", id, key.size(), known.name, known.key));
}

Result<void> check_inner(const xcf::v1::Sa& m, bool ah) {
  if (!m.has_inner_esp()) return {};
  if (!ah) return fail(fmt::format("SA {:#x}: an inner ESP goes with AH only", m.id()));
  if (m.esn()) return fail(fmt::format("SA {:#x}: AH over ESP has no extended sequence numbers", m.id()));
  if (m.inner_esp().spi() < kSpiMin)
    return fail(
        fmt::format("SA {:#x}: inner SPI {} is reserved; it must be at least 256", m.id(), m.inner_esp().spi()));
  return check_suite(m.id(), m.inner_esp().suite(), m.inner_esp().key(), false);
}

Result<void> check_protocol(const xcf::v1::Sa& m) {
  if (!is_protocol(m.protocol()))
    return fail(fmt::format("SA {:#x}: IP protocol {} is neither ESP (50) nor AH (51)", m.id(), m.protocol()));
  if (!xcf::v1::Sa::Mode_IsValid(m.mode())) return fail(fmt::format("SA {:#x}: unknown mode", m.id()));
  if (!xcf::v1::Sa::DontFragment_IsValid(m.dont_fragment()))
    return fail(fmt::format("SA {:#x}: unknown handling of DF", m.id()));
  const bool ah = m.protocol() == static_cast<std::uint32_t>(ipsec::Protocol::kAh);
  if (ah && m.udp_encapsulation()) return fail(fmt::format("SA {:#x}: AH has no UDP encapsulation", m.id()));
  if (auto checked = check_suite(m.id(), m.suite(), m.key(), ah); !checked) return checked;
  return check_inner(m, ah);
}

Result<void> check_sa(const xcf::v1::Sa& m) {
  if (m.id() == 0) return fail("SA without an id");
  if (m.spi() < kSpiMin)
    return fail(fmt::format("SA {:#x}: SPI {} is reserved; it must be at least 256", m.id(), m.spi()));
  if (auto checked = check_addresses(m); !checked) return checked;
  if (auto checked = check_protocol(m); !checked) return checked;
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

void sa_to_message(const ipsec::SaParameters& sa, xcf::v1::Sa& m) {
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
  m.set_protocol(static_cast<std::uint32_t>(sa.protocol));
  m.set_mode(sa.mode == ipsec::Mode::kTransport ? xcf::v1::Sa::TRANSPORT : xcf::v1::Sa::TUNNEL);
  m.set_dont_fragment(static_cast<xcf::v1::Sa::DontFragment>(sa.dont_fragment));
  m.set_copy_dscp(sa.copy_dscp);
  if (sa.inner_esp) {
    m.mutable_inner_esp()->set_spi(sa.inner_esp->spi.value());
    m.mutable_inner_esp()->set_suite(crypto::suite_number(sa.inner_esp->suite));
    m.mutable_inner_esp()->set_key(sa.inner_esp->key.bytes().data(), sa.inner_esp->key.size());
  }
}

xcf::v1::Sa sa_to_message(const ipsec::SaParameters& sa) {
  xcf::v1::Sa m;
  sa_to_message(sa, m);
  return m;
}

xcf::v1::Share share_to_message(const Share& share) {
  xcf::v1::Share m;
  m.set_allowed_bytes(share.allowed.bytes);
  m.set_allowed_packets(share.allowed.packets);
  m.set_report_bytes(share.report.bytes);
  m.set_report_packets(share.report.packets);
  return m;
}

Share share_from_message(const xcf::v1::Share& m) {
  return {.allowed = {.bytes = m.allowed_bytes(), .packets = m.allowed_packets()},
          .report = {.bytes = m.report_bytes(), .packets = m.report_packets()}};
}

void follow(ipsec::SaParameters& sa, const SaMove& move) {
  sa.remote = move.remote.address;
  sa.remote_port = move.remote.port;
  sa.local_port = move.local_port;
  sa.udp_encapsulation = move.udp_encapsulation;
}

xcf::v1::UpdateSa update_to_message(const ipsec::SaParameters& sa) {
  xcf::v1::UpdateSa m;
  m.set_id(sa.id.value());
  m.set_remote(sa.remote.to_bytes());
  m.set_udp_encapsulation(sa.udp_encapsulation);
  m.set_local_port(sa.local_port);
  m.set_remote_port(sa.remote_port);
  return m;
}

Result<SaMove> update_from_message(const xcf::v1::UpdateSa& m) {
  if (m.id() == 0) return fail("UpdateSa without an id");
  const auto remote = xcf::host_address(m.remote(), "remote");
  if (!remote) return fail(fmt::format("SA {:#x}: {}", m.id(), remote.error().message));
  if (auto checked = check_ports(m); !checked) return tl::unexpected(checked.error());
  return SaMove{.id = SaId(m.id()),
                .remote = {*remote, static_cast<std::uint16_t>(m.remote_port())},
                .local_port = static_cast<std::uint16_t>(m.local_port()),
                .udp_encapsulation = m.udp_encapsulation()};
}

namespace {

std::optional<ipsec::InnerEsp> inner_from(const xcf::v1::Sa& m) {
  if (!m.has_inner_esp()) return std::nullopt;
  return ipsec::InnerEsp{.spi = Spi(m.inner_esp().spi()),
                         .suite = *crypto::suite_of_number(m.inner_esp().suite()),
                         .key = Secret(bytes_of(m.inner_esp().key()))};
}

}  // namespace

Result<ipsec::SaParameters> sa_from_message(const xcf::v1::Sa& m) {
  if (auto checked = check_sa(m); !checked) return tl::unexpected(checked.error());
  return ipsec::SaParameters{
      .id = SaId(m.id()),
      .direction = m.outbound() ? ipsec::Direction::kOutbound : ipsec::Direction::kInbound,
      .protocol = static_cast<ipsec::Protocol>(m.protocol()),
      .mode = m.mode() == xcf::v1::Sa::TRANSPORT ? ipsec::Mode::kTransport : ipsec::Mode::kTunnel,
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
      .inner_esp = inner_from(m),
      .dont_fragment = static_cast<ipsec::DontFragment>(m.dont_fragment()),
      .copy_dscp = m.copy_dscp(),
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
  for (const xcf::v1::UpdateSa& update : install.update_sas()) {
    const auto move = update_from_message(update);
    if (!move) return tl::unexpected(move.error());
    if (move->remote.address.is_v4() != dvipa->is_v4())
      return fail(fmt::format("SA {:#x}: its new remote address {} is not of the DVIPA's family", update.id(),
                              move->remote.address.to_string()));
  }
  for (const xcf::v1::Filter& filter : install.filters()) {
    if (filter.id() == 0) return fail("filter without an id");
    if (auto checked = filter_from_message(filter); !checked) return tl::unexpected(checked.error());
  }
  return {};
}

void scrub(xcf::v1::Sa& sa) {
  const auto wipe = [](std::string& key) { zero({reinterpret_cast<std::uint8_t*>(key.data()), key.size()}); };
  wipe(*sa.mutable_key());
  sa.clear_key();
  if (!sa.has_inner_esp()) return;
  wipe(*sa.mutable_inner_esp()->mutable_key());
  sa.mutable_inner_esp()->clear_key();
}

void scrub(xcf::v1::Install& install) {
  for (xcf::v1::Sa& sa : *install.mutable_sas()) scrub(sa);
}

}  // namespace testudo::ike
