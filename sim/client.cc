// SPDX-License-Identifier: Apache-2.0
// The client as an IPsec peer.
#include "sim/client.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "wire/esp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace testudo::sim {
namespace {

constexpr std::uint16_t kIkePort = 500;
constexpr std::uint16_t kNatTraversalPort = 4500;
constexpr std::uint32_t kWindow = ipsec::kReplayWindowMin;
constexpr std::size_t kCapturedMost = 1000;
constexpr Duration kJobPoll = 10ms;
constexpr std::size_t kExpandedKeys = 64;

}  // namespace

Client::Client(World world, std::string name, IpAddress address, const ChildPolicy& policy)
    : world_(world),
      name_(std::move(name)),
      address_(address),
      policy_(policy),
      executor_(world.time),
      rng_(world.seed) {
  transforms_ = std::move(
      *ipsec::Transforms::make(std::move(*crypto::make_engine(crypto::Backend::kBest)), rng_, kExpandedKeys));
  factory_ = std::make_unique<ipsec::SaFactory>(1);
  ike_ = std::make_unique<IkeExchange>(
      executor_, true,
      IkeExchange::Hooks{.send = [this](std::span<const std::uint8_t> payload) { send_ike(payload); },
                         .answer = [this](const IkeMessage& request) { return answer(request); }});
  world_.network.set_address(address_, name_);
  world_.network.attach(name_, {.udp = [this](Endpoint s, Endpoint d, const Bytes& p) { udp(s, d, p); },
                                .ip = [this](const Bytes& p) { ip(p); },
                                .xcf = [](Endpoint, Endpoint, const Bytes&) {}});
  executor_.run_after(kJobPoll, [this] { look_after_jobs(); });
}

Client::~Client() { world_.network.detach(name_); }

// ---- IKE ----

Spi Client::new_spi() { return Spi(0xc1000000U + ++spis_); }

void Client::send_ike(std::span<const std::uint8_t> payload) {
  const std::uint16_t port = policy_.udp_encapsulation ? kNatTraversalPort : kIkePort;
  Bytes datagram(policy_.udp_encapsulation ? wire::kNonEspMarkerSize : 0);
  datagram.insert(datagram.end(), payload.begin(), payload.end());
  world_.network.send_udp(name_, {address_, port}, {dvipa_, port}, std::move(datagram));
}

void Client::connect(IpAddress dvipa) {
  dvipa_ = dvipa;
  const Spi mine = new_spi();
  ike_->request({.operation = IkeMessage::Operation::kCreate, .spi = mine},
                [this, mine](const IkeMessage& response) { add_child(mine, response.spi, true); });
}

void Client::rekey() {
  const auto old = children_.find(newest_);
  if (old == children_.end() || old->second.replaced) return;
  old->second.replaced = true;
  ++rekeys_;
  world_.transcript.tell(name_, "IKE: rekeying SPI {:#x}", old->first.value());
  const Spi mine = new_spi();
  ike_->request({.operation = IkeMessage::Operation::kCreate, .spi = mine, .replaces = old->first},
                [this, mine, replaced = old->first](const IkeMessage& response) {
                  add_child(mine, response.spi, true);
                  ike_->request({.operation = IkeMessage::Operation::kDelete, .spi = replaced},
                                [this, replaced](const IkeMessage&) { drop_child(replaced); });
                });
}

// As responder: what the new SA brings is taken at once; sending on it waits for the delete of the old one.
std::optional<IkeMessage> Client::answer(const IkeMessage& request) {
  if (request.operation == IkeMessage::Operation::kCreate) {
    const Spi mine = new_spi();
    add_child(mine, request.spi, false);
    if (const auto old = children_.find(request.replaces); old != children_.end()) old->second.replaced = true;
    return IkeMessage{.spi = mine};
  }
  newest_ = children_.rbegin()->first;
  drop_child(request.spi);
  return IkeMessage{.spi = request.spi};
}

void Client::add_child(Spi at_client, Spi at_dvipa, bool use) {
  world_.transcript.tell(name_, "child SA {:#x} in, {:#x} out", at_client.value(), at_dvipa.value());
  Child& child = children_[at_client];
  child.at_client = at_client;
  child.at_dvipa = at_dvipa;
  child.in = make_sa(child, true);
  child.out = make_sa(child, false);
  if (use) newest_ = at_client;
}

void Client::drop_child(Spi at_client) {
  executor_.run_after(policy_.delete_delay, [this, at_client] { children_.erase(at_client); });
}

std::unique_ptr<ipsec::Sa> Client::make_sa(const Child& child, bool to_client) {
  ipsec::SaParameters sa{
      .id = SaId(++ids_),
      .direction = to_client ? ipsec::Direction::kInbound : ipsec::Direction::kOutbound,
      .spi = to_client ? child.at_client : child.at_dvipa,
      .local = address_,
      .remote = dvipa_,
      .udp_encapsulation = policy_.udp_encapsulation,
      .tunnel = "cluster",
      .suite = policy_.suite,
      .key = child_key(policy_.seed, child.at_dvipa, child.at_client, to_client, policy_.suite),
      .replay_window = kWindow,
      .esn = policy_.esn,
      .inner_esp = std::nullopt,
      .limits = {},
  };
  auto made = factory_->create(std::move(sa));
  CHECK(made.has_value());
  return std::move(*made);
}

// ---- from the network ----

void Client::udp(Endpoint, Endpoint destination, const Bytes& payload) {
  if (destination.port == kIkePort) return ike_->receive(payload);
  switch (wire::classify_udp_4500(payload)) {
    case wire::Udp4500::kIke:
      return ike_->receive(std::span(payload).subspan(wire::kNonEspMarkerSize));
    case wire::Udp4500::kEsp:
      return esp(payload);
    case wire::Udp4500::kKeepalive:
    case wire::Udp4500::kMalformed:
      return;
  }
}

void Client::ip(const Bytes& packet) {
  const auto view = wire::parse_ipv4(packet);
  if (!view || !view->checksum_is_right()) return;
  if (view->protocol() == wire::kProtocolEsp) {
    esp({view->payload().begin(), view->payload().end()});
  } else {
    inner(packet);
  }
}

void Client::esp(Bytes packet) {
  const auto* header = wire::parse_esp(packet);
  const auto found = header == nullptr ? children_.end() : children_.find(header->spi());
  if (found == children_.end()) {
    ++counters_.unknown_spi;
    return;
  }
  Child& child = found->second;
  const SeqNo seq = child.in->full_sequence(header->sequence_low());
  const std::uint64_t number = header->sequence_low();  // no simulated SA gets beyond 2^32
  if (child.accepted.contains(number)) {
    ++counters_.duplicates;
    return;
  }
  // With ESN, a number behind the window is taken for one after the next 2^32: its ICV would be wrong.
  if (child.in->replay().check(seq) || seq.value() != number) {
    ++counters_.refused;
    return world_.transcript.tell(name_, "REFUSED: SPI {:#x} sequence number {}, {} behind the newest",
                                  found->first.value(), number, child.in->replay().newest().value() - number);
  }
  std::array<ipsec::DecapRequest, 1> request{};
  request[0].sa = child.in.get();
  request[0].seq = seq;
  request[0].data = packet.data();
  request[0].size = static_cast<std::uint32_t>(packet.size());
  transforms_->decap(request);
  if (!request[0].authentic) {
    ++counters_.not_authentic;
    return world_.transcript.tell(name_, "not authentic: SPI {:#x} sequence number {}", found->first.value(),
                                  seq.value());
  }
  child.in->replay().commit(seq);
  child.accepted.insert(seq.value());
  ++counters_.packets_in;
  if (!request[0].drop) inner(request[0].inner);
}

// ---- to the network ----

void Client::protect(const Bytes& packet) {
  const auto found = children_.find(newest_);
  if (found == children_.end()) return;
  Child& child = found->second;
  Bytes esp(ipsec::encap_size(*child.out, packet, packet.size()));
  std::array<ipsec::EncapRequest, 1> request{};
  request[0].sa = child.out.get();
  request[0].seq = SeqNo(++child.sequence);
  request[0].header = packet;
  request[0].out = esp.data();
  transforms_->encap(request);
  CHECK(!request[0].drop);
  ++counters_.packets_out;
  world_.invariants.client_sent(child.at_dvipa, packet_number_);
  if (!policy_.udp_encapsulation) esp.erase(esp.begin(), esp.begin() + wire::kIpv4HeaderSize);  // transmit()'s
  if (captured_.size() < kCapturedMost) {
    captured_.push_back(esp);
  } else {
    captured_[rng_.next() % kCapturedMost] = esp;
  }
  transmit(esp);
}

void Client::transmit(const Bytes& esp) {
  if (policy_.udp_encapsulation) {
    return world_.network.send_udp(name_, {address_, kNatTraversalPort}, {dvipa_, kNatTraversalPort}, esp);
  }
  Bytes packet(wire::kIpv4HeaderSize + esp.size());
  wire::build_ipv4(std::span(packet).first<wire::kIpv4HeaderSize>(),
                   {.source = address_, .destination = dvipa_, .protocol = wire::kProtocolEsp}, esp.size());
  std::copy(esp.begin(), esp.end(), packet.begin() + wire::kIpv4HeaderSize);
  world_.network.send_ip(name_, std::move(packet));
}

void Client::replay_something() {
  if (captured_.empty()) return;
  ++counters_.replayed;
  if (rng_.next() % 16 == 0) {  // what must be protected, in the clear
    const Endpoint self{address_, static_cast<std::uint16_t>(40'000 + rng_.next() % 100)};
    const auto flags = static_cast<std::uint8_t>(rng_.next() % 2 == 0 ? wire::kTcpSyn : wire::kTcpAck);
    return world_.network.send_ip(name_, build_tcp({.source = self, .destination = {dvipa_, 80}, .flags = flags}));
  }
  Bytes copy = captured_[rng_.next() % captured_.size()];
  const std::uint64_t kind = rng_.next() % 8;
  if (kind == 0) copy[rng_.next() % copy.size()] ^= static_cast<std::uint8_t>(1 << rng_.next() % 8);
  if (kind == 1) copy[6] ^= static_cast<std::uint8_t>(1 + rng_.next() % 255);  // another sequence number, far away
  if (kind == 2) copy[7] ^= static_cast<std::uint8_t>(1 + rng_.next() % 255);  // near by
  transmit(copy);
}

}  // namespace testudo::sim
