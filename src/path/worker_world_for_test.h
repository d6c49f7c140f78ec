// SPDX-License-Identifier: Apache-2.0
// Workers of several hosts on memory ports, one DVIPA, one peer behind a pair of SAs: for tests of what workers do
// together. Their datagrams reach each other at once; the coupling facility grants every ceiling.
//
//   World world({kA, kB, kT});
//   world.start(kEpoch, kA, {kT});              // A owns the DVIPA, T is ready for it; both SAs are everywhere
//   world.from_peer(kA, client(wire::kTcpSyn));  // reaches A's raw port, and T's TUN by way of it
//   world.host(kT).take_delivered();
//   world.host(kT).submit(FollowOwner{…});
//   world.settle();
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "io/memory/memory_port.h"
#include "ipsec/sa_for_test.h"
#include "path/worker.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"

namespace testudo::path {

using ipsec::Bytes;

inline constexpr NodeId kA(1), kB(2), kT(3);
inline constexpr IpAddress kDvipa(0xc0000264), kPeer(0xc0000201), kClient(0x0a000001), kClearClient(0x0a000101),
    kDeniedClient(0x0a000201);
inline constexpr std::uint16_t kHttps = 443, kSsh = 22, kClientPort = 40000;
inline constexpr Epoch kEpoch(100), kNextEpoch(200);
inline constexpr SaId kIn(1), kOut(2);
inline constexpr std::uint32_t kWindow = 64;

class TestClock final : public io::Clock {
 public:
  [[nodiscard]] Time now() const override { return time; }
  Time time{1h};
};

/// An IPv4 packet with TCP, of the client's or to it.
struct Segment {
  std::uint8_t flags = wire::kTcpAck;
  Endpoint from{kClient, kClientPort};
  Endpoint to{kDvipa, kHttps};
  std::uint8_t mark = 0;  // the first byte of its payload
};

inline Bytes packet_of(const Segment& s) {
  Bytes bytes(wire::kIpv4HeaderSize + wire::kTcpHeaderSize + 20, s.mark);
  wire::build_ipv4(std::span(bytes).first<wire::kIpv4HeaderSize>(),
                   {.source = s.from.address, .destination = s.to.address, .protocol = wire::kProtocolTcp},
                   bytes.size() - wire::kIpv4HeaderSize);
  wire::TcpHeader tcp;
  tcp.source_port = Be<std::uint16_t>(s.from.port);
  tcp.destination_port = Be<std::uint16_t>(s.to.port);
  tcp.flags = s.flags;
  std::memcpy(bytes.data() + wire::kIpv4HeaderSize, &tcp, sizeof tcp);
  return bytes;
}

class TestHost {
 public:
  TestHost(NodeId self, const TestClock& clock, const WorkerConfig& config)
      : rng_(self.value()), factory(0x1000 + self.value()) {
    WorkerPorts ports;
    for (auto [port, place] :
         {std::pair{&tun, &ports.tun}, {&raw, &ports.raw}, {&data, &ports.xcf_data}, {&fast, &ports.xcf_fast}}) {
      auto made = std::make_unique<io::MemoryPort>();
      *port = made.get();
      *place = std::move(made);
    }
    WorkerConfig own = config;
    own.self = self;
    own.incarnation = self.value();
    own.xcf_data = {xcf(self), 4754};
    own.xcf_fast = {xcf(self), 4755};
    worker = std::make_unique<Worker>(own, std::move(ports), ipsec::transforms_for_test(rng_), clock, commands_,
                                      events_);
  }

  static IpAddress xcf(NodeId node) { return IpAddress(0x0a4d0000u + node.value()); }

  void submit(Command command) { CHECK(commands_.push(std::move(command))); }
  /// True: there was something to do.
  bool turn() {
    const bool busy = worker->turn().busy;
    for (Event event; events_.pop(event);) events.push_back(std::exchange(event, {}));
    return busy;
  }
  /// The events of one kind since the last call, in order.
  template <typename T>
  std::vector<T> take() {
    std::vector<T> found;
    std::erase_if(events, [&](Event& event) {
      auto* one = std::get_if<T>(&event);
      if (one != nullptr) found.push_back(std::move(*one));
      return one != nullptr;
    });
    return found;
  }
  std::vector<Bytes> take_delivered() {
    std::vector<Bytes> all;
    for (auto& sent : tun->take_sent()) all.push_back(std::move(sent.bytes));
    return all;
  }
  [[nodiscard]] std::uint64_t drops(Drop reason) const { return worker->counters().drops->value(reason); }

 private:
  SeededRng rng_;
  CommandQueue commands_{1024};
  EventQueue events_{1024};

 public:
  ipsec::SaFactory factory;
  io::MemoryPort *tun = nullptr, *raw = nullptr, *data = nullptr, *fast = nullptr;
  std::unique_ptr<Worker> worker;
  std::vector<Event> events;
};

class World {
 public:
  /// What has left for the network.
  struct OnTheWire {
    NodeId from;
    SeqNo number;
    Bytes inner;
  };

  explicit World(std::vector<NodeId> nodes, const WorkerConfig& config = small())
      : transforms_(ipsec::transforms_for_test(rng_)), nodes_(std::move(nodes)) {
    for (const NodeId node : nodes_) hosts_[node] = std::make_unique<TestHost>(node, clock, config);
    peer_out_ = make(factory_, kIn, ipsec::Direction::kOutbound, kPeer, kDvipa);
    peer_in_ = make(factory_, kOut, ipsec::Direction::kInbound, kPeer, kDvipa);
  }

  static WorkerConfig small() {
    WorkerConfig config;
    config.owner_inbound.connections.capacity = 4096;
    config.target_inbound.hold_packets = config.target_outbound.hold_packets = 16;
    config.sequencer.sas_max = config.lessee.sas_max = config.commits.sas_max = 64;
    config.sequencer.ceiling_step = 1000;
    return config;
  }

  TestHost& host(NodeId node) { return *hosts_.at(node); }

  /// One end of the SA `id`; all ends have the same key.
  static std::unique_ptr<ipsec::Sa> make(ipsec::SaFactory& factory, SaId id, ipsec::Direction direction,
                                         IpAddress local, IpAddress remote) {
    auto p = ipsec::parameters_for_test(direction, crypto::Suite::kAesGcm128Icv16, id.value());
    p.spi = Spi(0x1000 + static_cast<std::uint32_t>(id.value()));
    p.local = local;
    p.remote = remote;
    p.tunnel = "peer";
    p.replay_window = kWindow;
    auto sa = factory.create(std::move(p));
    CHECK(sa.has_value());
    return std::move(*sa);
  }

  void install(NodeId node, SaId id, ipsec::Direction direction, Epoch epoch, NodeId owner) {
    host(node).submit(
        InstallSa{.sa = make(host(node).factory, id, direction, kDvipa, kPeer), .epoch = epoch, .owner = owner});
  }

  /// The DVIPA as the host knows it from now on.
  void distribute(NodeId node, Epoch epoch, NodeId owner) {
    std::vector<distributor::Member> members;
    for (const NodeId m : nodes_) members.push_back({m, {TestHost::xcf(m), 4754}, {TestHost::xcf(m), 4755}});
    std::vector<distributor::ReadyTarget> ready;
    for (const NodeId target : ready_) ready.push_back({target});
    host(node).submit(SetDistribution{.table = std::make_shared<distributor::Distribution>(
                                          node, members,
                                          std::vector<distributor::Dvipa>{{.address = kDvipa,
                                                                           .epoch = epoch,
                                                                           .owner = owner,
                                                                           .ports = {kHttps},
                                                                           .ready = {{kHttps, ready}}}})});
  }

  void start(Epoch epoch, NodeId owner, std::vector<NodeId> ready) {
    ready_ = std::move(ready);
    for (const NodeId node : nodes_) {
      distribute(node, epoch, owner);
      host(node).submit(
          SetFilters{.table = std::make_shared<policy::FilterTable>(filters(), host(node).factory.tunnels())});
      install(node, kIn, ipsec::Direction::kInbound, epoch, owner);
      install(node, kOut, ipsec::Direction::kOutbound, epoch, owner);
    }
    settle();
  }

  /// Until nobody has anything to do. Ceilings that are asked for are granted.
  void settle() {
    for (bool busy = true; busy;) {
      busy = false;
      for (const NodeId node : nodes_) busy |= step(node);
    }
  }
  /// Time passes, for all.
  void wait(Duration time) {
    clock.time += time;
    settle();
  }

  /// A whole packet of the peer's.
  Bytes protect(const Bytes& inner, std::uint64_t number) {
    return ipsec::protect(*transforms_, *peer_out_, inner, SeqNo(number));
  }
  /// It reaches the host's network interface.
  void arrive(NodeId at, const Bytes& packet) {
    host(at).raw->inject(packet);
    settle();
  }
  /// The next one of the peer's.
  Bytes from_peer(NodeId at, const Segment& segment) {
    const Bytes packet = protect(packet_of(segment), next_number_++);
    arrive(at, packet);
    return packet;
  }
  /// The host's application sends it to the client.
  void answer(NodeId from, std::uint8_t mark = 0) {
    host(from).tun->inject(packet_of({.from = {kDvipa, kHttps}, .to = {kClient, kClientPort}, .mark = mark}));
    settle();
  }
  std::vector<OnTheWire> take_wire() { return std::exchange(wire_, {}); }

  TestClock clock;
  std::map<SaId, SeqNo> ceilings;  // as the facility has them
  bool facility = true;            // it answers

 private:
  static std::vector<policy::Filter> filters() {
    const auto filter = [](std::uint64_t id, policy::Action action, IpAddress net) {
      policy::Filter f;
      f.id = id;
      f.priority = 10;
      f.action = action;
      f.tunnel = action == policy::Action::kProtect ? "peer" : "";
      f.source = IpPrefix{net, 24};
      f.destination = IpPrefix{kDvipa, 32};
      return f;
    };
    std::vector<policy::Filter> all = {filter(1, policy::Action::kProtect, kClient.masked(24)),
                                       filter(2, policy::Action::kPermit, kClearClient.masked(24)),
                                       filter(3, policy::Action::kDeny, kDeniedClient.masked(24))};
    all.push_back(all[0]);
    all.back().id = 4;
    all.back().direction = policy::Direction::kOutbound;
    std::swap(all.back().source, all.back().destination);
    return all;
  }

  bool step(NodeId node) {
    TestHost& from = host(node);
    bool busy = from.turn();
    for (io::MemoryPort* port : {from.data, from.fast}) {
      for (const auto& sent : port->take_sent()) {
        busy = true;
        for (auto& [other, to] : hosts_) {
          if (TestHost::xcf(other) != sent.destination.address) continue;
          (port == from.data ? to->data : to->fast)
              ->inject(sent.bytes, {.source = sent.source, .destination = sent.destination});
        }
      }
    }
    for (const auto& sent : from.raw->take_sent()) on_wire(node, sent.bytes);
    if (!facility) return busy;
    for (const NeedCeiling& need : from.take<NeedCeiling>()) {
      ceilings[need.sa] = std::max(ceilings[need.sa], need.last);
      from.submit(SetCeiling{.sa = need.sa, .last = need.last});
      busy = true;
    }
    return busy;
  }

  void on_wire(NodeId from, Bytes packet) {
    const auto ip = wire::parse_ipv4(packet);
    CHECK(ip.has_value());
    if (ip->protocol() != wire::kProtocolEsp) {
      wire_.push_back({from, SeqNo(), std::move(packet)});
      return;
    }
    const SeqNo number(wire::parse_esp(ip->payload())->sequence_low());
    ipsec::DecapRequest request = ipsec::decap_of(*peer_in_, packet, number);
    transforms_->decap({&request, 1});
    CHECK(request.authentic && !request.drop);
    wire_.push_back({from, number, {request.inner.begin(), request.inner.end()}});
  }

  SeededRng rng_{17};
  ipsec::SaFactory factory_{0xabcdef};
  std::unique_ptr<ipsec::Transforms> transforms_;
  std::vector<NodeId> nodes_, ready_;
  std::map<NodeId, std::unique_ptr<TestHost>> hosts_;
  std::unique_ptr<ipsec::Sa> peer_out_, peer_in_;
  std::uint64_t next_number_ = 1;
  std::vector<OnTheWire> wire_;
};

}  // namespace testudo::path
