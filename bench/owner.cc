// SPDX-License-Identifier: Apache-2.0
#include "bench/owner.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "bench/engine.h"
#include "ipsec/sa_for_test.h"
#include "wire/esp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace testudo::bench {
namespace {

using distributor::Verdict;

constexpr NodeId kSelf(1);
constexpr std::array kTargets = {NodeId(2), NodeId(3), NodeId(4)};
constexpr IpAddress kDvipa(kLocal);
constexpr std::uint32_t kFirstClient = 0x0b000000;  // 11.0.0.0
constexpr std::uint32_t kPorts = 64;                // connections per client
constexpr std::uint16_t kHttps = 443;
constexpr Epoch kEpoch(0x1122334455);
constexpr std::size_t kHeaders = wire::kIpv4HeaderSize + wire::kTcpHeaderSize;

}  // namespace

OwnerPath::OwnerPath(const Suite& suite, Senders& senders, const OwnerOptions& options)
    : senders_(senders),
      options_(options),
      transforms_(std::move(*ipsec::Transforms::make(ipsec::engine_for_test(), rng_))) {
  const distributor::InboundConfig config{.connections = {.capacity = options.connections + 1}};
  inbound_ = std::make_unique<distributor::Inbound>(
      config, distributor::Inbound::Parts{*transforms_, sad_, drops_, distributor::SipKey{1, 2}});
  install_sas(suite);
  publish();
  connect_all();
}

void OwnerPath::install_sas(const Suite& suite) {
  for (std::uint32_t i = 0; i < senders_.sas(); ++i) {
    ipsec::SaParameters p = parameters_of(suite, Direction::kInbound, i);
    p.tunnel = "vpn";
    auto sa = factory_.create(std::move(p));
    CHECK(sa.has_value());
    inbound_->sa_installed(**sa);
    CHECK(sad_.install(std::move(*sa)) == nullptr);
  }
}

void OwnerPath::publish() {
  policy::Filter filter;
  filter.id = 1;
  filter.action = policy::Action::kProtect;
  filter.tunnel = "vpn";
  filter.source = IpPrefix{IpAddress(kFirstClient), 8};
  filter.destination = policy::AddressRange(kDvipa);
  filters_ = std::make_unique<policy::FilterTable>(std::span(&filter, 1), factory_.tunnels());
  inbound_->set_filters(filters_.get());

  std::vector<distributor::Member> members;
  std::vector<distributor::ReadyTarget> ready;
  members.push_back({kSelf, {IpAddress(0x0a4d0001), 4754}, {IpAddress(0x0a4d0001), 4755}});
  for (const NodeId node : kTargets) {
    const IpAddress xcf(0x0a4d0000u + node.value());
    members.push_back({node, {xcf, 4754}, {xcf, 4755}});
    ready.push_back({node});
  }
  distributor::Dvipa dvipa;
  dvipa.address = kDvipa;
  dvipa.epoch = kEpoch;
  dvipa.owner = kSelf;
  dvipa.ports = {kHttps};
  dvipa.ready = {{kHttps, ready}};
  distribution_ = std::make_unique<distributor::Distribution>(kSelf, std::move(members), std::vector{dvipa});
  inbound_->set_distribution(distribution_.get());
}

std::uint32_t OwnerPath::sa_of(std::uint32_t connection) {
  return options_.spread == Spread::kAnySa ? dice_.below(senders_.sas()) : connection % senders_.sas();
}

// As clients do, with SYNs.
void OwnerPath::connect_all() {
  wanted_ = Verdict::Kind::kForward;
  inner_.assign(kTurn * kHeaders, 0);
  for (std::uint32_t first = 0; first < options_.connections; first += kTurn) {
    const std::size_t count = std::min<std::size_t>(kTurn, options_.connections - first);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t connection = first + static_cast<std::uint32_t>(i);
      std::uint8_t* at = inner_.data() + i * kHeaders;
      write_inner(at, Kind::kKnown, connection, wire::kTcpSyn);
      turn_[i] = {.sa = sa_of(connection), .bytes = {at, kHeaders}};
    }
    seal(std::span(turn_).first(count));
    for (std::size_t i = 0; i < count; i += kBurst) {
      (void)inbound_->raw(std::span(packets_).subspan(i, std::min(kBurst, count - i)), now_);
    }
  }
  CHECK(inbound_->counters().connections_made.value() == options_.connections);
}

void OwnerPath::write_inner(std::uint8_t* at, Kind kind, std::uint32_t connection, std::uint8_t tcp_flags) const {
  const std::size_t size = inner_.size() / kTurn;
  wire::build_ipv4(std::span(at, wire::kIpv4HeaderSize).first<wire::kIpv4HeaderSize>(),
                   {.source = IpAddress(kFirstClient + connection / kPorts),
                    .destination = kDvipa,
                    .protocol = kind == Kind::kKnown ? wire::kProtocolTcp : wire::kProtocolIcmp},
                   size - wire::kIpv4HeaderSize);
  wire::TcpHeader tcp;
  tcp.source_port = Be<std::uint16_t>(static_cast<std::uint16_t>(1024 + connection % kPorts));
  tcp.destination_port = Be<std::uint16_t>(kHttps);
  tcp.flags = tcp_flags;
  std::memcpy(at + wire::kIpv4HeaderSize, &tcp, sizeof tcp);
}

void OwnerPath::load(Kind kind, std::size_t inner_size) {
  wanted_ = kind == Kind::kKnown ? Verdict::Kind::kForward : Verdict::Kind::kLocal;
  inner_.resize(kTurn * inner_size);
  for (std::size_t i = 0; i < kTurn; ++i) {
    const std::uint32_t connection = dice_.below(options_.connections);
    std::uint8_t* at = inner_.data() + i * inner_size;
    write_inner(at, kind, connection, wire::kTcpAck);
    turn_[i] = {.sa = sa_of(connection), .bytes = {at, inner_size}};
  }
  seal(turn_);
}

void OwnerPath::seal(std::span<TurnPacket> packets) {
  senders_.seal(packets, room_);
  for (std::size_t i = 0; i < packets.size(); ++i) {
    packets_[i].data = const_cast<std::uint8_t*>(packets[i].bytes.data());  // of room_, which is ours
    packets_[i].size = static_cast<std::uint32_t>(packets[i].bytes.size());
    packets_[i].train = 1;
  }
}

std::size_t OwnerPath::run() {
  std::size_t good = 0;
  for (std::size_t i = 0; i < kTurn; i += kBurst) {
    const auto verdicts = inbound_->raw(std::span(packets_).subspan(i, kBurst), now_);
    for (std::size_t n = 0; n < kBurst; ++n) {
      good += verdicts[n].kind == wanted_ ? 1 : 0;
      forwarded_to_[i + n] = verdicts[n].target;
    }
  }
  return good;
}

void OwnerPath::report() {
  for (std::size_t i = 0; i < kTurn; ++i) {
    if (wanted_ != Verdict::Kind::kForward) return;
    const auto* header = wire::parse_esp(std::span(packets_[i].data, packets_[i].size).subspan(kOuter));
    std::array<std::uint8_t, wire::kFastDatagramMax> buffer;
    wire::FastWriter writer(buffer, {.type = wire::FastType::kReplayCommit,
                                     .sender = forwarded_to_[i],
                                     .incarnation = 1,
                                     .dvipa = kDvipa,
                                     .epoch = kEpoch});
    CHECK(writer.append(wire::ReplayCommit{
        .sa = SaId(turn_[i].sa + 1), .base = SeqNo(header->sequence_low()), .accepted = 1, .rejected = 0}));
    inbound_->commit(*wire::FastMessage::parse(writer.bytes()));
  }
}

}  // namespace testudo::bench
