// SPDX-License-Identifier: Apache-2.0
// An owner with three targets and two peers, for tests of distributor::Inbound.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "distributor/inbound.h"
#include "ipsec/sa.h"
#include "ipsec/sa_for_test.h"
#include "ipsec/sad.h"
#include "policy/filter_table.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace testudo::distributor {

using Bytes = std::vector<std::uint8_t>;

inline constexpr NodeId kSelf(1), kT1(2), kT2(3), kT3(4);
inline constexpr IpAddress kDvipa(0xc0000264);    // 192.0.2.100: for IPsec
inline constexpr IpAddress kPlain(0xc0000265);    // 192.0.2.101: in the clear
inline constexpr IpAddress kForeign(0xc0000266);  // 192.0.2.102: T1 owns it
inline constexpr IpAddress kGateway(0xc0000201);  // 192.0.2.1: another address of this host
inline constexpr IpAddress kElsewhere(0x0a630001);
inline constexpr IpAddress kDvipa6(0x2001'0db8'0000'0000, 0x100), kPeer6(0x2001'0db8'0005'0000, 5),
    kClient6(0x2001'0db8'000a'0000, 1);
inline constexpr std::array kPeers = {IpAddress(0xcb007105), IpAddress(0xcb007106)};
inline constexpr std::array kClients = {IpAddress(0x0a010001), IpAddress(0x0a020001)};  // inner, by peer
inline constexpr std::uint16_t kHttps = 443, kNobodyReady = 81, kNotDistributed = 22, kDenied = 25;
inline constexpr Epoch kEpoch(0x1122334455);

struct Segment {
  std::uint8_t flags = wire::kTcpAck;
  std::uint16_t client_port = 40000;
  std::uint16_t port = kHttps;
  IpAddress source = kClients[0];
  IpAddress destination = kDvipa;
  std::uint8_t protocol = wire::kProtocolTcp;
  std::size_t payload = 40;
  std::size_t options = 0;  // of the IP header
  std::uint16_t fragment = 0;
};

/// An IPv4 packet with a TCP header whatever the protocol is.
inline Bytes packet_of(const Segment& s) {
  Bytes bytes(wire::kIpv4HeaderSize + s.options + wire::kTcpHeaderSize + s.payload);
  wire::Ipv4Header ip;
  ip.version_ihl = static_cast<std::uint8_t>(0x45 + s.options / 4);
  ip.total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(bytes.size()));
  ip.flags_offset = Be<std::uint16_t>(s.fragment);
  ip.ttl = 64;
  ip.protocol = s.protocol;
  ip.source = Be<std::uint32_t>(s.source.v4());
  ip.destination = Be<std::uint32_t>(s.destination.v4());
  std::memcpy(bytes.data(), &ip, sizeof ip);
  wire::TcpHeader tcp;
  tcp.source_port = Be<std::uint16_t>(s.client_port);
  tcp.destination_port = Be<std::uint16_t>(s.port);
  tcp.flags = s.flags;
  std::memcpy(bytes.data() + wire::kIpv4HeaderSize + s.options, &tcp, sizeof tcp);
  return bytes;
}

inline Bytes syn(std::uint16_t client_port = 40000) {
  return packet_of({.flags = wire::kTcpSyn, .client_port = client_port, .payload = 0});
}
inline Bytes ack(std::uint16_t client_port = 40000) { return packet_of({.client_port = client_port}); }

inline Bytes changed(Bytes bytes, std::size_t at_from_end) {
  bytes[bytes.size() - at_from_end] ^= 1;
  return bytes;
}

/// A verdict with what it points to.
struct Seen {
  Verdict::Kind kind = Verdict::Kind::kDrop;
  Drop reason{};
  NodeId target;
  ipsec::TunnelId tunnel;
  Bytes head, body;  // kForward
  Bytes bytes;       // kLocal, kIke
};

class World {
 public:
  struct Options {
    crypto::Suite suite = crypto::Suite::kAesGcm128Icv16;
    bool esn = false;
    bool udp = false;  // encapsulation
    ipsec::LifesizeLimits limits = {};
    InboundConfig config = {};
  };

  World() : World(Options{}) {}
  explicit World(const Options& options) {
    const Inbound::Parts parts{transforms, sad, drops, SipKey{1, 2}, &flow_log, &flows};
    inbound = std::make_unique<Inbound>(options.config, parts);
    for (std::size_t peer = 0; peer < kPeers.size(); ++peer) add_peer(peer, options);
    std::vector<policy::Filter> list;
    for (std::size_t peer = 0; peer < kPeers.size(); ++peer) {
      list.push_back(filter(10, policy::Action::kProtect, {kClients[peer], 32}, {kDvipa, 32}, tunnel(peer)));
      list.back().log = peer == 1;
      list.push_back(filter(11, policy::Action::kProtect, {kClients[peer], 32}, {kElsewhere, 32}, tunnel(peer)));
    }
    list.push_back(filter(12, policy::Action::kProtect, {kPeer6.masked(32), 32}, {kDvipa6, 128}, "six"));
    list.push_back(filter(20, policy::Action::kPermit, {IpAddress(0), 0}, {kPlain, 32}, ""));
    list.back().log = true;
    list.push_back(filter(1, policy::Action::kDeny, {IpAddress(0), 0}, {IpAddress(0), 0}, ""));
    list.back().log = true;
    list.back().protocol = wire::kProtocolTcp;
    list.back().destination_ports = {kDenied, kDenied};
    filters = std::make_unique<policy::FilterTable>(list, factory.tunnels());
    inbound->set_filters(filters.get());
    set_ready({{kT1}, {kT2}, {kT3}});
  }

  /// As if no packet had come yet; only which target's turn it is stays.
  void forget() {
    inbound->tick(now + kConnectionTimeoutMax);
    now = Time{1h};
    sad.for_each([this](ipsec::Sa& sa) {
      inbound->sa_removed(sa.id());
      inbound->sa_installed(sa);
    });
  }

  static std::string tunnel(std::size_t peer) { return "peer/" + std::to_string(peer); }

  /// `named`: whom the owner may forward to; none: all that are up.
  void set_ready(const std::vector<ReadyTarget>& targets, std::vector<NodeId> up = {kSelf, kT1, kT2, kT3},
                 const std::optional<std::vector<NodeId>>& named = std::nullopt) {
    std::vector<Member> members;
    for (const NodeId node : up) {
      const IpAddress xcf(0x0a4d0000u + node.value());
      members.push_back({node, {xcf, 4754}, {xcf, 4755}});
    }
    std::vector<Dvipa> dvipas = {
        {.address = kDvipa,
         .epoch = kEpoch,
         .owner = kSelf,
         .all_ports = false,
         .ports = {kHttps, kNobodyReady, kDenied},
         .ready = {{kHttps, targets}, {kDenied, targets}}},
        {.address = kPlain,
         .epoch = kEpoch,
         .owner = kSelf,
         .all_ports = false,
         .ports = {kHttps},
         .ready = {{kHttps, targets}}},
        {.address = kDvipa6, .epoch = kEpoch, .owner = kSelf, .ports = {kHttps}, .ready = {{kHttps, targets}}},
        {.address = kForeign, .epoch = kEpoch, .owner = kT1, .ports = {}, .ready = {}}};
    for (Dvipa& dvipa : dvipas) dvipa.forward_to = named;
    auto next = std::make_unique<Distribution>(kSelf, std::move(members), std::move(dvipas), std::vector{kGateway});
    inbound->set_distribution(next.get());
    distribution = std::move(next);
  }

  /// An ESP packet of the peer, with the full number.
  Bytes esp(const Bytes& inner, std::uint64_t seq, std::size_t peer = 0) {
    return ipsec::protect_bare(transforms, *out.at(peer), inner, SeqNo(seq));
  }

  /// A burst on UDP port 4500 of the DVIPA. The bytes are copied.
  std::vector<Seen> udp(std::vector<Bytes> burst, std::size_t peer = 0, IpAddress to = kDvipa,
                        std::uint16_t port = 4500) {
    std::vector<wire::Packet> packets = packets_of(burst);
    for (wire::Packet& p : packets) {
      p.source = {kPeers[peer], port};
      p.destination = {to, 4500};
    }
    return copies(inbound->nat_t(packets, now));
  }
  Seen udp_one(const Bytes& bytes, std::size_t peer = 0, IpAddress to = kDvipa) {
    return udp({bytes}, peer, to).at(0);
  }
  /// From another port of the peer.
  Seen udp_from(std::uint16_t port, const Bytes& bytes) { return udp({bytes}, 0, kDvipa, port).at(0); }

  Seen raw_one(Bytes bytes) {
    std::vector<Bytes> burst{std::move(bytes)};
    return copies(inbound->raw(packets_of(burst), now)).at(0);
  }
  static Bytes in_ip(const Bytes& esp, std::size_t peer = 0) {
    Bytes bytes(wire::kIpv4HeaderSize);
    wire::build_ipv4(std::span(bytes).first<wire::kIpv4HeaderSize>(),
                     {.source = kPeers[peer], .destination = kDvipa, .protocol = wire::kProtocolEsp}, esp.size());
    bytes.insert(bytes.end(), esp.begin(), esp.end());
    return bytes;
  }

  void commit(NodeId from, std::uint64_t seq, bool accepted = true, std::size_t peer = 0, Epoch epoch = kEpoch) {
    std::array<std::uint8_t, wire::kFastDatagramMax> buffer;
    wire::FastWriter writer(
        buffer,
        {.type = wire::FastType::kReplayCommit, .sender = from, .incarnation = 1, .dvipa = kDvipa, .epoch = epoch});
    CHECK(writer.append(wire::ReplayCommit{
        .sa = SaId(peer + 1), .base = SeqNo(seq), .accepted = accepted ? 1u : 0u, .rejected = accepted ? 0u : 1u}));
    inbound->commit(*wire::FastMessage::parse(writer.bytes()));
  }

  /// An SA over IPv6, of tunnel "six", and the peer's end of it.
  std::unique_ptr<ipsec::Sa> install6(SaId id, ipsec::Protocol protocol, ipsec::Mode mode) {
    using crypto::Cipher, crypto::Integrity, crypto::Suite;
    const bool ah = protocol == ipsec::Protocol::kAh;
    auto p = ipsec::parameters_for_test(ipsec::Direction::kInbound,
                                        ah ? Suite{Cipher::kNone, Integrity::kHmacSha256} : Suite::kAesGcm128Icv16);
    p.id = id;
    p.spi = Spi(0x60000000 + static_cast<std::uint32_t>(id.value()));
    p.protocol = protocol;
    p.mode = mode;
    p.tunnel = "six";
    p.local = kDvipa6;
    p.remote = kPeer6;
    auto in = factory.create(p);
    p.direction = ipsec::Direction::kOutbound;
    std::swap(p.local, p.remote);
    auto other = factory.create(std::move(p));
    CHECK(in.has_value() && other.has_value());
    inbound->sa_installed(**in);
    CHECK(sad.install(std::move(*in)) == nullptr);
    return std::move(*other);
  }

  /// The SA that the peer's packets come by.
  ipsec::Sa& in(std::size_t peer) { return *sad.find(SaId(peer + 1)); }
  /// An SA by which targets send to peer 0.
  void install_outbound(SaId id, Spi spi, IpAddress local = kDvipa) {
    ipsec::SaParameters p = ipsec::parameters_for_test(ipsec::Direction::kOutbound, crypto::Suite::kAesGcm128Icv16);
    p.id = id;
    p.spi = spi;
    p.local = local;
    p.remote = kPeers[0];
    auto sa = factory.create(std::move(p));
    CHECK(sa.has_value());
    inbound->sa_installed(**sa);
    CHECK(sad.install(std::move(*sa)) == nullptr);
  }

  std::vector<ConnectionInfo> list() const { return inbound->connections().list(now); }

  // Of all worlds of the process: they take long to make.
  ipsec::Transforms& transforms = shared_transforms();
  ipsec::SaFactory& factory = shared_factory();
  ipsec::Sad sad;
  DropCounters drops;
  policy::FlowLog flow_log;
  policy::FlowCache flows{{.flows = 64}, flow_log};
  std::unique_ptr<Inbound> inbound;
  std::unique_ptr<policy::FilterTable> filters;
  std::unique_ptr<Distribution> distribution;
  std::vector<std::unique_ptr<ipsec::Sa>> out;  // the peers' ends
  Time now{1h};

 private:
  static ipsec::Transforms& shared_transforms() {
    static SeededRng rng(5);
    static const std::unique_ptr<ipsec::Transforms> shared = ipsec::transforms_for_test(rng);
    return *shared;
  }
  static ipsec::SaFactory& shared_factory() {
    static ipsec::SaFactory shared(0xabcdef);
    return shared;
  }

  static policy::Filter filter(std::uint64_t id, policy::Action action, IpPrefix source, IpPrefix destination,
                               std::string tunnel) {
    policy::Filter f;
    f.id = id;
    f.priority = static_cast<std::uint32_t>(id);
    f.action = action;
    f.tunnel = std::move(tunnel);
    f.source = source;
    f.destination = destination;
    return f;
  }

  void add_peer(std::size_t peer, const Options& options) {
    ipsec::SaParameters p;
    p.id = SaId(peer + 1);
    // The same for all: the source tells them apart, unless a NAT may change it.
    p.spi = Spi(0xc0ffee00 + (options.udp ? static_cast<std::uint32_t>(peer) : 0));
    p.local = kDvipa;
    p.remote = kPeers[peer];
    p.tunnel = tunnel(peer);
    p.suite = options.suite;
    p.esn = options.esn;
    p.udp_encapsulation = options.udp;
    p.limits = options.limits;
    p.key = Secret(crypto::sizes(options.suite).key);
    SeededRng(100 + peer).fill(p.key.mutable_bytes());
    p.direction = ipsec::Direction::kInbound;
    auto in = factory.create(p);
    p.direction = ipsec::Direction::kOutbound;
    auto other = factory.create(std::move(p));
    CHECK(in.has_value() && other.has_value());
    inbound->sa_installed(**in);
    CHECK(sad.install(std::move(*in)) == nullptr);
    out.push_back(std::move(*other));
  }

  static std::vector<wire::Packet> packets_of(std::vector<Bytes>& burst) {
    std::vector<wire::Packet> packets(burst.size());
    for (std::size_t i = 0; i < burst.size(); ++i) {
      packets[i].data = burst[i].data();
      packets[i].size = static_cast<std::uint32_t>(burst[i].size());
      packets[i].train = 1;
    }
    return packets;
  }

  static std::vector<Seen> copies(std::span<const Verdict> verdicts) {
    std::vector<Seen> all;
    for (const Verdict& v : verdicts) {
      Seen seen{.kind = v.kind,
                .reason = v.reason,
                .target = v.target,
                .tunnel = v.tunnel,
                .head = {},
                .body = {},
                .bytes = {}};
      seen.head.assign(v.out.head.begin(), v.out.head.begin() + v.out.head_size);
      if (v.out.body != nullptr) seen.body.assign(v.out.body, v.out.body + v.out.body_size);
      seen.bytes.assign(v.bytes.begin(), v.bytes.end());
      all.push_back(std::move(seen));
    }
    return all;
  }
};

}  // namespace testudo::distributor
