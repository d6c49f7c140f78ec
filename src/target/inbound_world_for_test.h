// SPDX-License-Identifier: Apache-2.0
// A target's inbound path with real parts around it, and the packets that an owner forwards to it. Shared by tests
// and the fuzz target.
//
//   InboundWorld world;
//   world.install();
//   world.process(world.forwarded(1));        // ESP packet number 1, as the owner forwards it
//   world.delivered.at(0); world.reports();
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "distributor/forwarding.h"
#include "ipsec/sa_for_test.h"
#include "target/inbound.h"
#include "wire/fast.h"
#include "wire/gre.h"
#include "wire/ipv4.h"

namespace testudo::target {

using distributor::ForwardKey;
using ipsec::Bytes;

inline constexpr Endpoint kOwnerData{IpAddress(0x0a4d0001), 50'001};  // XCF, any source port
inline constexpr Endpoint kOtherData{IpAddress(0x0a4d0002), 50'001};  // a member, not the owner
inline constexpr IpAddress kInboundDvipa(0xc0000264);
inline constexpr IpAddress kInboundPeer(0xc0000201);
inline constexpr IpAddress kInboundDvipa6(0x2001'0db8'0000'0000, 0x100), kInboundPeer6(0x2001'0db8'0005'0000, 5),
    kInboundClient6(0x2001'0db8'000a'0000, 1);
inline constexpr Epoch kInboundEpoch(0x5'00000a'1b);  // more than the 24 bits that travel
inline constexpr NodeId kOwnerNode(1), kOtherNode(2), kTargetNode(3);

/// Everything that can be wrong with a forwarded packet.
struct Forwarding {
  std::uint8_t flags = 0;
  Epoch epoch = kInboundEpoch;
  std::uint32_t sequence_high = 0;
  IpAddress source = kInboundPeer;
  IpAddress destination = kInboundDvipa;
  std::uint8_t protocol = wire::kProtocolEsp;
  std::uint16_t gre_protocol = wire::kGreProtocolIpv4;
};

inline Bytes forward(const Bytes& payload, const Forwarding& how) {
  Bytes packet(wire::kGreSize + wire::kIpv4HeaderSize);
  wire::build_gre(std::span(packet).first<wire::kGreSize>(), {.key = ForwardKey::of(how.epoch, how.flags).field,
                                                              .sequence = how.sequence_high,
                                                              .protocol = how.gre_protocol});
  wire::build_ipv4(std::span(packet).subspan<wire::kGreSize, wire::kIpv4HeaderSize>(),
                   {.source = how.source, .destination = how.destination, .protocol = how.protocol},
                   payload.size());
  packet.insert(packet.end(), payload.begin(), payload.end());
  return packet;
}

/// A clear packet behind GRE: it has its own IP header.
inline Bytes forward_clear(const Bytes& ip, std::uint8_t flags) {
  Bytes packet(wire::kGreSize);
  wire::build_gre(
      std::span(packet).first<wire::kGreSize>(),
      {.key = ForwardKey::of(kInboundEpoch, static_cast<std::uint8_t>(flags | ForwardKey::kClear)).field});
  packet.insert(packet.end(), ip.begin(), ip.end());
  return packet;
}

class InboundWorld final : public InboundSink {
 public:
  struct Asked {
    IpAddress dvipa;
    Spi spi;
    IpAddress remote;
    friend bool operator==(const Asked&, const Asked&) = default;
  };
  /// What became of sequence numbers, as the owner is told.
  struct Report {
    std::uint64_t number;
    bool accepted;
    friend bool operator==(const Report&, const Report&) = default;
  };

  explicit InboundWorld(const InboundConfig& config = {}, bool with_esn = false)
      : esn(with_esn),
        transforms(ipsec::transforms_for_test(rng)),
        commits(kTargetNode, 1, {}),
        distribution(kTargetNode,
                     {{.node = kOwnerNode, .data = {kOwnerData.address, 4754}, .fast = {kOwnerData.address, 4755}},
                      {.node = kOtherNode, .data = {kOtherData.address, 4754}, .fast = {kOtherData.address, 4755}}},
                     {{.address = kInboundDvipa,
                       .epoch = kInboundEpoch,
                       .owner = kOwnerNode,
                       .all_ports = false,
                       .ports = {443},
                       .ready = {}},
                      {.address = kInboundDvipa6,
                       .epoch = kInboundEpoch,
                       .owner = kOwnerNode,
                       .all_ports = false,
                       .ports = {443},
                       .ready = {}}}),
        inbound(config, {*transforms, sad, commits, drops, *this}) {
    using policy::Action;
    const std::array filters = {filter6("vpn"), filter(1, Action::kProtect, IpAddress(0x0a000000), "vpn"),
                                filter(2, Action::kPermit, IpAddress(0x0a000100)),
                                filter(3, Action::kDeny, IpAddress(0x0a000200)),
                                filter(4, Action::kProtect, IpAddress(0x0a000300), "other")};
    table = policy::FilterTable(filters, factory.tunnels());
    inbound.set_tables(&distribution, &table);
    peer = make(ipsec::Direction::kOutbound, 1);
  }

  std::unique_ptr<ipsec::Sa> make(ipsec::Direction direction, std::uint64_t id) {
    auto p = ipsec::parameters_for_test(direction, crypto::Suite::kAesGcm128Icv16, id);
    p.spi = Spi(0x1000 + static_cast<std::uint32_t>(id));
    p.tunnel = "vpn";
    p.esn = esn;
    if (adjust) adjust(p);
    auto sa = factory.create(std::move(p));
    CHECK(sa.has_value());
    return std::move(*sa);
  }

  void install() {
    auto sa = make(ipsec::Direction::kInbound, 1);
    ipsec::Sa& installed = *sa;
    commits.add_sa(SaId(1), {.dvipa = kInboundDvipa, .epoch = kInboundEpoch, .owner = kOwnerNode, .window = 64});
    CHECK(sad.install(std::move(sa)) == nullptr);
    inbound.sa_installed(installed, now);
  }

  /// The SA goes, and whatever is known of its numbers: the next install() brings a new one.
  void uninstall() {
    const auto sa = sad.remove(SaId(1));
    if (sa == nullptr) return;
    commits.remove_sa(SaId(1));
    transforms->forget(*sa);
  }

  /// An inner TCP packet to port 443 of the DVIPA.
  static Bytes inner(std::uint32_t number, IpAddress from = IpAddress(0x0a000001), IpAddress to = kInboundDvipa) {
    Bytes bytes = ipsec::inner_packet(200);
    wire::build_ipv4(std::span(bytes).first<20>(), {.source = from, .destination = to, .protocol = 6}, 180);
    bytes[199] = static_cast<std::uint8_t>(number);
    return bytes;
  }

  /// What the peer sends.
  Bytes esp(std::uint64_t number, const Bytes& packet) {
    return ipsec::protect_bare(*transforms, *peer, packet, SeqNo(number));
  }
  Bytes forwarded(std::uint32_t number) { return forward(esp(number, inner(number)), {}); }

  void process(std::vector<Bytes> packets, Endpoint from = kOwnerData) {
    std::vector<wire::Packet> burst;
    for (Bytes& bytes : packets) {
      wire::Packet packet;
      packet.data = bytes.data();
      packet.size = static_cast<std::uint32_t>(bytes.size());
      packet.source = from;
      burst.push_back(packet);
    }
    inbound.process(burst, now);
    for (Bytes& bytes : packets) std::ranges::fill(bytes, 0xee);  // the port takes its buffers back
  }
  void process(Bytes packet, Endpoint from = kOwnerData) { process(std::vector<Bytes>{std::move(packet)}, from); }

  /// All that the owner has not been told yet, by number.
  std::vector<Report> reports() {
    wire::FastOutbox outbox;
    commits.poll(now + 1s, outbox);
    std::vector<Report> all;
    for (std::size_t i = 0; i < outbox.size(); ++i) {
      const auto datagram = outbox.datagram(i);
      const auto message = wire::FastMessage::parse(datagram.bytes);
      CHECK(message && datagram.to == kOwnerNode && message->header().epoch == kInboundEpoch);
      for (std::size_t n = 0; n < message->count(); ++n) {
        const auto commit = message->entry<wire::ReplayCommit>(n);
        for (std::uint64_t bit = 0; bit < 64; ++bit) {
          if ((commit.accepted >> bit & 1) != 0) all.push_back({commit.base.value() + bit, true});
          if ((commit.rejected >> bit & 1) != 0) all.push_back({commit.base.value() + bit, false});
        }
      }
    }
    return all;
  }

  [[nodiscard]] std::uint64_t dropped() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kDropNames.size(); ++i) sum += drops.value(static_cast<Drop>(i));
    return sum;
  }

  // InboundSink
  void deliver(std::span<const wire::Outgoing> packets) override {
    if (on_deliver) on_deliver(packets);
    if (!record) return;
    for (const wire::Outgoing& o : packets) {
      CHECK(o.head_size == 0);
      delivered.emplace_back(o.body, o.body + o.body_size);
    }
  }
  void reply(const wire::Packet& packet) override { replies.emplace_back(packet.data, packet.data + packet.size); }
  void unknown_spi(IpAddress dvipa, Spi spi, IpAddress remote) override {
    if (record) asked.push_back({dvipa, spi, remote});
  }

  bool esn;
  SeededRng rng{11};
  std::unique_ptr<ipsec::Transforms> transforms;
  ipsec::SaFactory factory{0xabcdef};
  ipsec::Sad sad;
  sequence::ReplayCommits commits;
  DropCounters drops;
  distributor::Distribution distribution;
  policy::FilterTable table;
  std::unique_ptr<ipsec::Sa> peer;  // the other end
  Time now{1s};
  std::function<void(ipsec::SaParameters&)> adjust;  // SAs to be made
  bool record = true;                                // false: nothing is kept (and nothing allocated)
  std::function<void(std::span<const wire::Outgoing>)> on_deliver;
  std::vector<Bytes> delivered;
  std::vector<Asked> asked;
  std::vector<Bytes> replies;
  Inbound inbound;

 private:
  /// From kInboundClient6.
  static policy::Filter filter6(std::string tunnel) {
    policy::Filter f = filter(9, policy::Action::kProtect, IpAddress(0x0a000000), std::move(tunnel));
    f.source = IpPrefix{kInboundClient6, 128};
    f.destination = IpPrefix{kInboundDvipa6, 128};
    return f;
  }
  static policy::Filter filter(std::uint64_t id, policy::Action action, IpAddress net, std::string tunnel = "") {
    return {.id = id,
            .direction = policy::Direction::kInbound,
            .priority = 10,
            .action = action,
            .tunnel = std::move(tunnel),
            .source = IpPrefix{net, 24},
            .destination = policy::AddressRange(kInboundDvipa),
            .protocol = 0,
            .source_ports = {},
            .destination_ports = {443, 443}};
  }
};

}  // namespace testudo::target
