// SPDX-License-Identifier: Apache-2.0
// A target's outbound path with real parts around it: engine, SAs, filters, lessee, and the owner's sequencer,
// whose messages are looped back as a worker that is its own owner does. Shared by tests.
//
//   World world;
//   world.install(1);                          // an outbound SA of tunnel "vpn" and its peer's end
//   world.process(tcp_packet(kProtected, 100));   // waits: no numbers yet
//   world.exchange();                          // request, grant, retry
//   world.open(world.sent.at(0));              // what the peer's SA makes of it
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "ipsec/sa_for_test.h"
#include "sequence/sequencer.h"
#include "target/outbound.h"
#include "wire/ah.h"
#include "wire/checksum.h"
#include "wire/esp.h"
#include "wire/fast.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace testudo::target {

using ipsec::Bytes;

inline constexpr IpAddress kDvipa(0xc0000264);      // 192.0.2.100
inline constexpr IpAddress kPeer(0xc0000201);       // 192.0.2.1
inline constexpr IpAddress kProtected(0x0a000001);  // 10.0.0.1: by tunnel "vpn"
inline constexpr IpAddress kPermitted(0x0a000101);  // 10.0.1.1
inline constexpr IpAddress kDenied(0x0a000201);     // 10.0.2.1
inline constexpr IpAddress kNoSa(0x0a000301);       // 10.0.3.1: by tunnel "absent"
inline constexpr IpAddress kUnknown(0x0a000401);    // 10.0.4.1: no filter
inline constexpr NodeId kSelf(3);
inline constexpr Epoch kEpoch(77);
inline constexpr std::size_t kTcpHeaders = 20 + 32;

/// What an application's kernel hands to the TUN: `segment_size` 0: one whole segment, else a super-segment.
struct AppPacket {
  Bytes bytes;
  std::uint16_t segment_size = 0;
  bool checksum_missing = true;
};

inline AppPacket tcp_packet(IpAddress to, std::size_t payload, std::uint16_t segment_size = 0,
                            std::uint32_t sequence = 1000, std::uint8_t traffic_class = 0) {
  AppPacket packet{.bytes = Bytes(kTcpHeaders + payload), .segment_size = segment_size};
  wire::build_ipv4(std::span(packet.bytes).first<20>(),
                   {.source = kDvipa,
                    .destination = to,
                    .protocol = wire::kProtocolTcp,
                    .id = static_cast<std::uint16_t>(sequence),
                    .traffic_class = traffic_class},
                   32 + std::min<std::size_t>(payload, 65'000));
  auto* ip = reinterpret_cast<wire::Ipv4Header*>(packet.bytes.data());
  ip->total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(packet.bytes.size()));
  ip->checksum = Be<std::uint16_t>(0);
  ip->checksum = Be<std::uint16_t>(wire::checksum(std::span(packet.bytes).first(20)));
  auto* tcp = new (packet.bytes.data() + 20) wire::TcpHeader;
  tcp->source_port = Be<std::uint16_t>(443);
  tcp->destination_port = Be<std::uint16_t>(40'000);
  tcp->sequence = Be<std::uint32_t>(sequence);
  tcp->offset_reserved = 0x80;  // 12 bytes of options
  tcp->flags = wire::kTcpAck | wire::kTcpPsh;
  for (std::size_t i = 0; i < payload; ++i) {
    packet.bytes[kTcpHeaders + i] = static_cast<std::uint8_t>(i * 7 + sequence);
  }
  return packet;
}

/// The packets that the network must see of it.
inline std::vector<Bytes> segments_of(AppPacket packet) {
  wire::Packet view;
  view.data = packet.bytes.data();
  view.size = static_cast<std::uint32_t>(packet.bytes.size());
  view.segment_size = packet.segment_size;
  view.checksum_missing = packet.checksum_missing;
  const auto cut = Segmenter::of(view);
  CHECK(cut.has_value());
  std::vector<Bytes> all;
  SegmentHeader room;
  for (std::uint32_t i = 0; i < cut->count(); ++i) {
    const Segment s = cut->segment(i, room);
    all.emplace_back(s.header.begin(), s.header.end()).insert(all.back().end(), s.payload.begin(), s.payload.end());
  }
  return all;
}

class World final : public OutboundSink {
 public:
  struct Sent {
    SaId sa;
    Bytes whole;      // as it leaves: with its IP header, or what is in UDP
    Bytes head, esp;  // the same, divided behind an IP header without options
    bool udp = false;
    std::uint8_t traffic_class = 0;
    Endpoint source, destination;
    [[nodiscard]] std::uint32_t number() const {
      const bool ah = !udp && wire::parse_ip(whole)->protocol() == wire::kProtocolAh;
      return ah ? wire::parse_ah(esp)->sequence_low() : wire::parse_esp(esp)->sequence_low();
    }
  };

  explicit World(const OutboundConfig& config = {}, crypto::Suite suite_of_sas = crypto::Suite::kAesGcm128Icv16,
                 const sequence::SequencerConfig& leases = {})
      : suite(suite_of_sas),
        transforms(ipsec::transforms_for_test(rng)),
        lessee(kSelf, 1, {}),
        sequencer(kSelf, leases),
        outbound(config, {*transforms, sad, lessee, drops, *this}) {
    using policy::Action;
    const std::array filters = {filter(1, Action::kProtect, kProtected, "vpn"),
                                filter(2, Action::kPermit, kPermitted), filter(3, Action::kDeny, kDenied),
                                filter(4, Action::kProtect, kNoSa, "absent")};
    table = policy::FilterTable(filters, factory.tunnels());
    outbound.set_filters(&table);
  }

  ipsec::SaParameters parameters(std::uint64_t id, ipsec::Direction direction) const {
    auto p = ipsec::parameters_for_test(direction, suite, id);
    p.spi = Spi(0x1000 + static_cast<std::uint32_t>(id));
    p.tunnel = "vpn";
    p.udp_encapsulation = udp;
    p.remote_port = 61'234;
    p.key.mutable_bytes()[0] = static_cast<std::uint8_t>(id);
    p.replay_window = 4096;
    if (adjust) adjust(p);
    return p;
  }

  /// An outbound SA with this id, sequenced from `first` on and up to `ceiling`, and the peer's end of it.
  void install(std::uint64_t id, SeqNo first = SeqNo(1), SeqNo ceiling = SeqNo(1 << 20)) {
    auto sa = factory.create(parameters(id, ipsec::Direction::kOutbound));
    auto peer = factory.create(parameters(id, ipsec::Direction::kInbound));
    CHECK(sa.has_value() && peer.has_value());
    peers[SaId(id)] = std::move(*peer);
    lessee.add_sa(SaId(id), {.dvipa = kDvipa, .epoch = kEpoch, .owner = kSelf});
    sequencer.add_sa(SaId(id), {.dvipa = kDvipa, .epoch = kEpoch, .first = first, .peer_window = 64});
    sequencer.set_ceiling(SaId(id), ceiling);
    ipsec::Sa& installed = **sa;
    CHECK(sad.install(std::move(*sa)) == nullptr);
    outbound.sa_installed(installed, now_);
  }

  void remove(std::uint64_t id) {
    CHECK(sad.remove(SaId(id)) != nullptr);
    lessee.remove_sa(SaId(id));
    sequencer.remove_sa(SaId(id));
  }

  void process(std::vector<AppPacket> packets) {
    std::vector<wire::Packet> burst;
    for (AppPacket& packet : packets) {
      wire::Packet view;
      view.data = packet.bytes.data();
      view.size = static_cast<std::uint32_t>(packet.bytes.size());
      view.segment_size = packet.segment_size;
      view.checksum_missing = packet.checksum_missing;
      burst.push_back(view);
    }
    outbound.process(burst, now_);
    for (AppPacket& packet : packets) std::ranges::fill(packet.bytes, 0xee);  // the port takes its buffers back
  }
  void process(AppPacket packet) { process(std::vector{std::move(packet)}); }

  /// The end of a worker's turn, and the beginning of the next one: requests out, grants in, held packets again.
  void exchange() {
    receive_grants();
    outbound.retry(now_);
  }
  void receive_grants() {
    lessee.poll(now_, outbox);
    loop();
    sequencer.tick(now_, outbox);
    loop();
  }
  /// Leases are there before the first packet is.
  void warm_up() {
    process(tcp_packet(kProtected, 10));
    exchange();
    forget();
  }
  void forget() {
    sent.clear();
    trains.clear();
    clear.clear();
    local.clear();
  }
  void pass(Duration time) { now_ += time; }

  /// The inner packet; empty: not authentic, or its number has been used.
  Bytes open(const Sent& packet) {
    const std::size_t size = packet.whole.size();
    Bytes bytes = packet.whole, out(size + ipsec::kRestoredHeader + ipsec::kEsnTailroom);
    bytes.resize(size + ipsec::kEsnTailroom);
    ipsec::Sa& sa = *peers.at(packet.sa);
    ipsec::DecapRequest request;
    request.sa = &sa;
    request.seq = SeqNo(packet.number());
    request.data = bytes.data();
    request.size = static_cast<std::uint32_t>(size);
    request.offset = static_cast<std::uint32_t>(packet.head.size());
    request.source = sa.local();  // the same parameters as at this end
    request.destination = sa.remote();
    request.out = out.data();
    if (sa.replay().check(request.seq)) return {};
    transforms->decap({&request, 1});
    if (request.drop) return {};
    sa.replay().commit(request.seq);
    return {request.inner.begin(), request.inner.end()};
  }

  [[nodiscard]] std::uint64_t dropped(Drop reason) const { return drops.value(reason); }
  [[nodiscard]] std::uint64_t dropped() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kDropNames.size(); ++i) sum += drops.value(static_cast<Drop>(i));
    return sum;
  }
  [[nodiscard]] Time time() const { return now_; }

  // OutboundSink
  Time now() override { return now_ + encryption_takes; }
  void send_protected(const ipsec::Sa& sa, std::span<const wire::Outgoing> train) override {
    ++send_calls;
    if (!record) return;
    trains.push_back(train.size());
    for (const wire::Outgoing& o : train) {
      CHECK(o.head_size == 0);
      const std::size_t head = sa.udp_encapsulation() ? 0 : wire::ip_header_size(sa.local());
      sent.push_back({.sa = sa.id(),
                      .whole = Bytes(o.body, o.body + o.body_size),
                      .head = Bytes(o.body, o.body + head),
                      .esp = Bytes(o.body + head, o.body + o.body_size),
                      .udp = sa.udp_encapsulation(),
                      .traffic_class = o.traffic_class,
                      .source = o.source,
                      .destination = o.destination});
    }
  }
  void send_clear(std::span<const wire::Outgoing> packets) override {
    ++send_calls;
    if (!record) return;
    for (const wire::Outgoing& o : packets) clear.emplace_back(o.body, o.body + o.body_size);
  }
  void send_xcf(std::span<const wire::Outgoing> packets) override {
    for (const wire::Outgoing& o : packets) {
      xcf.emplace_back(o.head.begin(), o.head.begin() + o.head_size)
          .insert(xcf.back().end(), o.body, o.body + o.body_size);
      xcf_to.push_back(o.destination);
    }
  }
  void deliver(std::span<const wire::Outgoing> packets) override {
    if (!record) return;
    for (const wire::Outgoing& o : packets) local.emplace_back(o.body, o.body + o.body_size);
  }

  crypto::Suite suite;
  std::function<void(ipsec::SaParameters&)> adjust;  // SAs to be installed
  bool udp = true;                                   // UDP encapsulation of SAs to be installed
  SeededRng rng{11};
  std::unique_ptr<ipsec::Transforms> transforms;
  ipsec::SaFactory factory{0xabcdef};
  ipsec::Sad sad;
  sequence::Lessee lessee;
  sequence::Sequencer sequencer;
  DropCounters drops;
  policy::FilterTable table;
  wire::FastOutbox outbox;
  std::map<SaId, std::unique_ptr<ipsec::Sa>> peers;  // the other ends

  Duration encryption_takes{};  // from the worker's time to the send call
  bool record = true;           // false: nothing is kept (and nothing allocated)
  std::uint64_t send_calls = 0;
  std::vector<Sent> sent;
  std::vector<std::size_t> trains;  // their sizes
  std::vector<Bytes> clear;
  std::vector<Bytes> xcf;  // for other members, with GRE
  std::vector<Endpoint> xcf_to;
  std::vector<Bytes> local;          // for this host's kernel
  std::vector<std::uint16_t> wants;  // of the lessee's requests

  Outbound outbound;

 private:
  static policy::Filter filter(std::uint64_t id, policy::Action action, IpAddress net, std::string tunnel = "") {
    return {.id = id,
            .direction = policy::Direction::kOutbound,
            .priority = 10,
            .action = action,
            .tunnel = std::move(tunnel),
            .source = policy::AddressRange(kDvipa),
            .destination = IpPrefix{net.masked(24), 24},
            .protocol = 0,
            .source_ports = {},
            .destination_ports = {}};
  }

  void loop() {
    for (std::size_t i = 0; i < outbox.size(); ++i) {
      std::array<std::uint8_t, wire::kFastDatagramMax> copy;
      const wire::FastDatagram datagram = outbox.datagram(i);
      std::ranges::copy(datagram.bytes, copy.begin());
      const auto message = wire::FastMessage::parse(std::span(copy).first(datagram.bytes.size()));
      CHECK(message.has_value());
      const auto type = message->header().type;
      if (type == wire::FastType::kLeaseRequest && record) {
        wants.push_back(message->entry<wire::LeaseRequest>(0).want);
      }
      if (type == wire::FastType::kLeaseRequest || type == wire::FastType::kLeaseReturn) {
        sequencer.receive(*message, now_, outbox);
      } else {
        lessee.receive(*message, now_);
      }
    }
    outbox.clear();
  }

  Time now_{std::chrono::seconds(1)};
};

inline std::vector<std::uint32_t> numbers_of(const std::vector<World::Sent>& sent) {
  std::vector<std::uint32_t> numbers;
  for (const auto& s : sent) numbers.push_back(s.number());
  return numbers;
}

/// The peer takes all that was sent, and finds these packets.
inline void expect_opened(World& world, const std::vector<Bytes>& expected) {
  ASSERT_EQ(world.sent.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(world.open(world.sent[i]), expected[i]) << "packet " << i;
  }
}

inline std::vector<Bytes> segments_of_all(const std::vector<AppPacket>& packets) {
  std::vector<Bytes> all;
  for (const AppPacket& packet : packets) std::ranges::copy(segments_of(packet), std::back_inserter(all));
  return all;
}

}  // namespace testudo::target
