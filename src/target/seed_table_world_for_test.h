// SPDX-License-Identifier: Apache-2.0
// An owner and a target with real parts, and a peer whose SA can be of any protocol, mode and family: what becomes
// of one packet in the whole cluster. For the seed's table of combinations.
//
//   TableWorld w({.protection = kAh, .mode = Mode::kTunnel, .outer_v6 = true, .inner_v6 = false, …});
//   const Outcome o = w.send(w.plain(wire::kTcpSyn), 1);      // number 1
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "distributor/forwarding.h"
#include "distributor/inbound.h"
#include "ipsec/packet_for_test.h"
#include "ipsec/sa_for_test.h"
#include "target/inbound.h"
#include "wire/gre.h"

namespace testudo::target {

using ipsec::Bytes;
using ipsec::Mode;

enum class Protection : std::uint8_t { kAh, kEsp, kEspNull, kAhEsp, kAhEspNull };

/// The two addresses of this host that the table speaks of, and the peer's.
struct Addresses {
  IpAddress dvipa, other, peer, client;
};
inline Addresses addresses(bool v6) {
  if (!v6) return {IpAddress(0xc0000264), IpAddress(0xc0000201), IpAddress(0xcb007105), IpAddress(0x0a010001)};
  return {*IpAddress::parse("2001:db8::100"), *IpAddress::parse("2001:db8::1"), *IpAddress::parse("2001:db8:5::5"),
          *IpAddress::parse("2001:db8:a::1")};
}

struct TableCase {
  Protection protection = Protection::kEsp;
  Mode mode = Mode::kTunnel;
  bool outer_v6 = false, inner_v6 = false;
  bool outer_dvipa = true, inner_dvipa = true;
  bool udp = false;  // encapsulation (RFC 3948)

  [[nodiscard]] bool encrypted() const {
    return protection == Protection::kEsp || protection == Protection::kAhEsp;
  }
};

/// What the cluster has made of one packet.
struct Outcome {
  distributor::Verdict::Kind owner{};
  std::optional<Drop> dropped;                              // by whichever host
  bool clear = false, filtered = false, untouched = false;  // forwarded: how
  Bytes delivered;                                          // to whichever host's kernel
  bool at_target = false;
};

class TableWorld final : public InboundSink {
 public:
  static constexpr NodeId kOwner{1}, kTarget{2};
  static constexpr Epoch kEpoch{0x1234};

  explicit TableWorld(const TableCase& which)
      : c(which),
        transforms(ipsec::transforms_for_test(rng)),
        distribution(make_distribution(kOwner)),
        target_distribution(make_distribution(kTarget)),
        commits(kTarget, 1, {}),
        owner({.connections = {.capacity = 16}}, {*transforms, sad, drops, distributor::SipKey{1, 2}}),
        target({}, {*transforms, target_sad, commits, target_drops, *this}) {
    owner.set_distribution(&distribution);
    demand("vpn");
    install();
  }

  /// The filters want the packets by this tunnel.
  void demand(const std::string& tunnel) {
    std::vector<policy::Filter> list;
    for (const bool v6 : {false, true}) {
      policy::Filter f;
      f.id = v6 ? 2 : 1;
      f.action = policy::Action::kProtect;
      f.tunnel = tunnel;
      f.source = f.destination = policy::AddressRange::all(addresses(v6).dvipa);
      list.push_back(f);
    }
    filters = policy::FilterTable(list, factory.tunnels());
    filters.set_generation(++generation_);
    owner.set_filters(&filters);
    target.set_tables(&target_distribution, &filters);
  }

  [[nodiscard]] IpAddress outer_destination() const {
    return c.outer_dvipa ? addresses(c.outer_v6).dvipa : addresses(c.outer_v6).other;
  }

  /// What the client sends, before IPsec.
  [[nodiscard]] Bytes plain(std::uint8_t tcp_flags, std::uint8_t protocol = wire::kProtocolTcp,
                            std::size_t payload = 40) const {
    const bool tunnel = c.mode == Mode::kTunnel;
    const Addresses inner = addresses(tunnel ? c.inner_v6 : c.outer_v6);
    const IpAddress source = tunnel ? inner.client : inner.peer;
    const IpAddress destination = tunnel ? (c.inner_dvipa ? inner.dvipa : inner.other) : outer_destination();
    Bytes segment = ipsec::tcp_segment(source, destination, payload);
    const bool udp = protocol == wire::kProtocolUdp;
    segment[13] = tcp_flags;
    if (udp) {
      segment[4] = static_cast<std::uint8_t>(segment.size() >> 8);
      segment[5] = static_cast<std::uint8_t>(segment.size());
    }
    const std::size_t checksum_at = udp ? 6 : 16;
    segment[checksum_at] = segment[checksum_at + 1] = 0;
    const auto sum = wire::pseudo_header_sum(source, destination, protocol, segment.size());
    const Be<std::uint16_t> checksum(wire::fold(wire::add(sum, segment)));
    std::memcpy(segment.data() + checksum_at, &checksum, sizeof checksum);
    return ipsec::ip_packet({.source = source, .destination = destination, .protocol = protocol}, segment);
  }

  Bytes protect(const Bytes& packet, std::uint64_t number) {
    return ipsec::protect(*transforms, *peer, packet, SeqNo(number));
  }

  Outcome send(const Bytes& packet, std::uint64_t number) { return arrive(protect(packet, number)); }

  /// A protected packet at the owner, and then wherever it goes.
  Outcome arrive(Bytes bytes) {
    const Bytes before = bytes;
    wire::Packet packet;
    packet.data = bytes.data();
    packet.size = static_cast<std::uint32_t>(bytes.size());
    packet.source = {addresses(c.outer_v6).peer, 4500};
    packet.destination = {outer_destination(), 4500};
    const auto verdict = c.udp ? owner.nat_t({&packet, 1}, now)[0] : owner.raw({&packet, 1}, now)[0];
    Outcome o{.owner = verdict.kind, .dropped = {}, .delivered = {}};
    using Kind = distributor::Verdict::Kind;
    if (verdict.kind == Kind::kDrop) o.dropped = verdict.reason;
    if (verdict.kind == Kind::kLocal) o.delivered.assign(verdict.bytes.begin(), verdict.bytes.end());
    if (verdict.kind == Kind::kForward) forward(verdict.out, before, o);
    return o;
  }

  [[nodiscard]] std::uint64_t aged_at_owner() const { return own->totals().packets.value(); }
  [[nodiscard]] std::uint64_t aged_at_target() const {
    const auto* sa = target_sad.find(own->id());
    return sa == nullptr ? 0 : sa->totals().packets.value();
  }

  // InboundSink
  void deliver(std::span<const wire::Outgoing> packets) override {
    for (const wire::Outgoing& o : packets) delivered_.assign(o.body, o.body + o.body_size);
  }
  void unknown_spi(IpAddress, Spi, IpAddress) override { CHECK(false); }
  void reply(const wire::Packet&) override { CHECK(false); }

  TableCase c;
  SeededRng rng{3};
  std::unique_ptr<ipsec::Transforms> transforms;
  ipsec::SaFactory factory{0xabcdef};
  ipsec::Sad sad, target_sad;
  DropCounters drops, target_drops;
  distributor::Distribution distribution, target_distribution;
  policy::FilterTable filters;
  sequence::ReplayCommits commits;
  distributor::Inbound owner;
  Inbound target;
  std::unique_ptr<ipsec::Sa> peer;
  ipsec::Sa* own = nullptr;  // at the owner
  Time now{1h};

 private:
  static distributor::Distribution make_distribution(NodeId self) {
    std::vector<distributor::Dvipa> dvipas;
    std::vector<IpAddress> local;
    for (const bool v6 : {false, true}) {
      dvipas.push_back({.address = addresses(v6).dvipa,
                        .epoch = kEpoch,
                        .owner = kOwner,
                        .ports = {443},
                        .ready = {{443, {{kTarget}}}}});
      if (self == kOwner) local.push_back(addresses(v6).other);
    }
    const auto member = [](NodeId node) {
      const IpAddress xcf(0x0a4d0000u + node.value());
      return distributor::Member{node, {xcf, 4754}, {xcf, 4755}};
    };
    return {self, {member(kOwner), member(kTarget)}, std::move(dvipas), std::move(local)};
  }

  [[nodiscard]] ipsec::SaParameters parameters(ipsec::Direction direction) const {
    using crypto::Cipher, crypto::Integrity, crypto::Suite;
    const Suite null{Cipher::kNull, Integrity::kHmacSha256}, ah{Cipher::kNone, Integrity::kHmacSha256};
    const bool has_ah = c.protection == Protection::kAh || c.protection == Protection::kAhEsp ||
                        c.protection == Protection::kAhEspNull;
    const Suite esp = c.encrypted() ? Suite::kAesGcm128Icv16 : null;
    auto p = ipsec::parameters_for_test(direction, has_ah ? ah : esp);
    p.protocol = has_ah ? ipsec::Protocol::kAh : ipsec::Protocol::kEsp;
    p.mode = c.mode;
    p.tunnel = "vpn";
    p.udp_encapsulation = c.udp;
    if (has_ah && c.protection != Protection::kAh) {
      Secret key(crypto::sizes(esp).key);
      SeededRng(8).fill(key.mutable_bytes());
      p.inner_esp = ipsec::InnerEsp{.spi = Spi(0xbeef00), .suite = esp, .key = std::move(key)};
    }
    const bool at_peer = direction == ipsec::Direction::kOutbound;
    p.local = at_peer ? addresses(c.outer_v6).peer : outer_destination();
    p.remote = at_peer ? outer_destination() : addresses(c.outer_v6).peer;
    return p;
  }

  std::unique_ptr<ipsec::Sa> make(ipsec::Direction direction) {
    auto sa = factory.create(parameters(direction));
    CHECK(sa.has_value());
    return std::move(*sa);
  }

  void install() {
    peer = make(ipsec::Direction::kOutbound);
    auto sa = make(ipsec::Direction::kInbound);
    own = sa.get();
    owner.sa_installed(*sa);
    CHECK(sad.install(std::move(sa)) == nullptr);
    if (!c.outer_dvipa) return;  // targets have the SAs of DVIPAs
    auto shadow = make(ipsec::Direction::kInbound);
    commits.add_sa(shadow->id(), {.dvipa = shadow->local(), .epoch = kEpoch, .owner = kOwner, .window = 64});
    CHECK(target_sad.install(std::move(shadow)) == nullptr);
  }

  void forward(const wire::Outgoing& out, const Bytes& before, Outcome& o) {
    Bytes bytes(out.head.begin(), out.head.begin() + out.head_size);
    bytes.insert(bytes.end(), out.body, out.body + out.body_size);
    const distributor::ForwardKey key{wire::parse_gre(bytes)->key};
    o.clear = key.clear(), o.filtered = key.filtered(), o.at_target = true;
    o.untouched = std::equal(before.begin(), before.end(), out.body, out.body + out.body_size);
    wire::Packet packet;
    packet.data = bytes.data();
    packet.size = static_cast<std::uint32_t>(bytes.size());
    packet.source = {distribution.member(kOwner)->data.address, 50'000};
    delivered_.clear();
    std::array<std::uint64_t, kDropNames.size()> counted{};
    for (std::size_t i = 0; i < counted.size(); ++i) counted[i] = target_drops.value(static_cast<Drop>(i));
    target.process({&packet, 1}, now);
    o.delivered = delivered_;
    for (std::size_t i = 0; i < counted.size(); ++i) {
      if (target_drops.value(static_cast<Drop>(i)) != counted[i]) o.dropped = static_cast<Drop>(i);
    }
  }

  Bytes delivered_;
  std::uint64_t generation_ = 1;
};

}  // namespace testudo::target
