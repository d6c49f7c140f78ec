// SPDX-License-Identifier: Apache-2.0
// An installation and members that apply what it sends, for its tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ike/installation.h"
#include "ike/sa_message.h"

namespace testudo::ike {

inline const IpAddress kDvipa(0xc0000264), kPeer(0xc6336401), kOtherPeer(0xc6336402);
inline constexpr Epoch kEpoch{0x7'0000'0009};

inline ipsec::SaParameters inbound(std::uint32_t spi, IpAddress peer = kPeer,
                                   const std::string& tunnel = "clients{1}") {
  ipsec::SaParameters sa;
  sa.spi = Spi(spi);
  sa.local = kDvipa;
  sa.remote = peer;
  sa.tunnel = tunnel;
  sa.key = Secret(20);
  return sa;
}

inline ipsec::SaParameters outbound(std::uint32_t spi, IpAddress peer = kPeer,
                                    const std::string& tunnel = "clients{1}") {
  ipsec::SaParameters sa = inbound(spi, peer, tunnel);
  sa.direction = ipsec::Direction::kOutbound;
  return sa;
}

inline xcf::v1::Filter filter(const std::string& tunnel, const std::string& peer = kPeer.to_bytes(),
                              bool out = true) {
  xcf::v1::Filter f;
  f.set_outbound(out);
  f.set_priority(100);
  f.set_action(tunnel.empty() ? xcf::v1::Filter::DENY : xcf::v1::Filter::PROTECT);
  f.set_tunnel(tunnel);
  f.set_source_first(kDvipa.to_bytes());
  f.set_source_last(kDvipa.to_bytes());
  f.set_destination_first(peer);
  f.set_destination_last(peer);
  f.set_source_port_last(65535);
  f.set_destination_port_last(65535);
  return f;
}

inline xcf::v1::Ack ack_of(const xcf::v1::Install& install, const std::string& refused = "") {
  xcf::v1::Ack ack;
  ack.set_number(install.number());
  ack.set_dvipa(install.dvipa());
  ack.set_epoch(install.epoch());
  ack.set_refused(refused);
  return ack;
}

/// A member that applies Installs, as every member does: additions, then deletions.
struct Member {
  std::map<std::uint64_t, std::uint32_t> sas;  // id → SPI
  std::map<std::uint64_t, std::string> filters;

  std::optional<std::pair<std::set<std::uint64_t>, std::set<std::uint64_t>>> named;  // while all is being replaced

  void apply(const xcf::v1::Install& install) {
    if (install.replace_begins() || (install.replace_all() && !named)) named.emplace();
    for (const auto& sa : install.sas()) {
      sas[sa.id()] = sa.spi();
      if (named) named->first.insert(sa.id());
    }
    for (const auto& f : install.filters()) {
      filters[f.id()] = f.tunnel();
      if (named) named->second.insert(f.id());
    }
    for (const auto id : install.delete_sas()) sas.erase(id);
    for (const auto id : install.delete_filters()) filters.erase(id);
    if (!install.replace_all()) return;
    std::erase_if(sas, [this](const auto& entry) { return !named->first.contains(entry.first); });
    std::erase_if(filters, [this](const auto& entry) { return !named->second.contains(entry.first); });
    named.reset();
  }
};

struct Outgoing {
  std::string node;
  xcf::v1::Install message;
};

/// All that may leave now.
inline std::vector<Outgoing> take_outgoing(Installation& installation) {
  std::vector<Outgoing> all;
  xcf::v1::Install install;
  while (const std::string* node = installation.next_outgoing(install)) all.push_back({*node, install});
  return all;
}

class InstallationTest : public testing::Test {
 protected:
  void deliver() {
    for (const Outgoing& out : take_outgoing(installation_)) {
      ASSERT_TRUE(check_install(out.message)) << check_install(out.message).error().message;
      members_[out.node].apply(out.message);
      EXPECT_FALSE(installation_.acknowledged(out.node, ack_of(out.message)));
    }
  }

  SeededRng rng_{1};
  Installation installation_{kDvipa, kEpoch, rng_};
  std::map<std::string, Member> members_;
};

}  // namespace testudo::ike
