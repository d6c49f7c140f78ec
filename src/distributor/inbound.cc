// SPDX-License-Identifier: Apache-2.0
#include "distributor/inbound.h"

#include <algorithm>

#include "base/check.h"
#include "distributor/forwarding.h"
#include "policy/inbound_check.h"
#include "wire/esp.h"
#include "wire/gre.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace testudo::distributor {
namespace {

static_assert(wire::kBurst <= crypto::kBurstMax);

policy::Flow flow_of(const ipsec::Peeked& peeked) {
  return {.source = peeked.source.address,
          .destination = peeked.destination.address,
          .protocol = peeked.protocol,
          .has_ports = peeked.kind == ipsec::Peeked::Kind::kTcp,
          .source_port = peeked.source.port,
          .destination_port = peeked.destination.port};
}

}  // namespace

ConnectionKey Inbound::key_of(const policy::Flow& flow) {
  ConnectionKey key{.client = {flow.source, flow.source_port}, .dvipa = {flow.destination, flow.destination_port}};
  if (flow.protocol != wire::kProtocolTcp) {
    key.client.port = 0;
    key.dvipa.port = flow.protocol;
  }
  return key;
}

bool Inbound::is_initial_syn(std::uint8_t tcp_flags) {
  return (tcp_flags & (wire::kTcpSyn | wire::kTcpAck | wire::kTcpFin | wire::kTcpRst)) == wire::kTcpSyn;
}

Inbound::Inbound(const InboundConfig& config, Parts parts)
    : config_(config),
      parts_(parts),
      connections_(config.connections, parts.hash_key, parts.flow_log),
      forwarded_to_(std::size_t{1} << 16),
      arena_(std::make_unique_for_overwrite<std::uint8_t[]>(kArena)) {}

// ---- tables ----

void Inbound::set_distribution(const Distribution* distribution) {
  distribution_ = distribution;
  if (distribution != nullptr) choice_.set_distribution(*distribution);
}

void Inbound::sa_installed(const ipsec::Sa& sa) {
  if (!sa.inbound() || states_.contains(sa.id())) return;  // a repeated push: its ledger stays
  const std::uint32_t window = sa.parameters().replay_window;
  const std::uint32_t behind = std::max(config_.ledger.size / 2, 2 * window);
  states_[sa.id()] = std::make_unique<SaState>(
      SaState{.dvipa = sa.parameters().local, .ledger = ReplayLedger(window, config_.ledger), .window = behind});
}

void Inbound::sa_removed(SaId sa) { states_.erase(sa); }

void Inbound::node_died(NodeId node) {
  for (auto& [id, state] : states_) state->ledger.node_died(node);
}

void Inbound::commit(const wire::FastMessage& message) {
  const wire::FastHeader& header = message.header();
  CHECK(header.type == wire::FastType::kReplayCommit);
  const Dvipa* dvipa = owned(header.dvipa);
  if (dvipa == nullptr || dvipa->epoch != header.epoch) return parts_.drops.count(Drop::kStaleEpoch);
  for (std::size_t i = 0; i < message.count(); ++i) {
    const auto report = message.entry<wire::ReplayCommit>(i);
    const auto state = states_.find(report.sa);
    if (state == states_.end() || state->second->dvipa != dvipa->address) continue;
    state->second->ledger.commit(header.sender, report);
  }
}

// ---- bursts ----

std::span<const Verdict> Inbound::ike(std::span<const wire::Packet> burst) {
  begin(burst.size());
  for (std::size_t i = 0; i < burst.size(); ++i) {
    ike_one(i, burst[i].bytes(), burst[i].destination.address);
  }
  return std::span(verdicts_).first(burst.size());
}

std::span<const Verdict> Inbound::nat_t(std::span<const wire::Packet> burst, Time now) {
  begin(burst.size());
  for (std::size_t i = 0; i < burst.size(); ++i) {
    const wire::Packet& packet = burst[i];
    switch (wire::classify_udp_4500(packet.bytes())) {
      case wire::Udp4500::kIke:
        ike_one(i, packet.bytes().subspan(wire::kNonEspMarkerSize), packet.destination.address);
        break;
      case wire::Udp4500::kEsp:
        take_esp({.index = i, .esp = packet.bytes(), .traffic_class = packet.traffic_class}, packet.source.address,
                 packet.destination.address);
        break;
      case wire::Udp4500::kKeepalive:
        verdicts_[i].kind = Verdict::Kind::kIgnore;
        break;
      case wire::Udp4500::kMalformed:
        drop(i, Drop::kTruncated);
        break;
    }
  }
  run(now);
  return std::span(verdicts_).first(burst.size());
}

std::span<const Verdict> Inbound::raw(std::span<const wire::Packet> burst, Time now) {
  begin(burst.size());
  for (std::size_t i = 0; i < burst.size(); ++i) raw_one(i, burst[i], now);
  run(now);
  return std::span(verdicts_).first(burst.size());
}

void Inbound::begin(std::size_t count) {
  CHECK(count <= wire::kBurst);
  std::fill_n(verdicts_.begin(), count, Verdict{});
  items_count_ = 0;
  waiting_count_ = 0;
}

const Dvipa* Inbound::owned(IpAddress address) const {
  const Dvipa* dvipa = distribution_ == nullptr ? nullptr : distribution_->find(address);
  return dvipa != nullptr && distribution_->owns(*dvipa) ? dvipa : nullptr;
}

void Inbound::drop(std::size_t index, Drop reason) {
  verdicts_[index].kind = Verdict::Kind::kDrop;
  verdicts_[index].reason = reason;
  parts_.drops.count(reason);
}

void Inbound::local(std::size_t index, std::span<std::uint8_t> bytes) {
  verdicts_[index].kind = Verdict::Kind::kLocal;
  verdicts_[index].bytes = bytes;
  counters_.local.add();
}

void Inbound::ike_one(std::size_t index, std::span<std::uint8_t> message, IpAddress dvipa) {
  if (owned(dvipa) == nullptr) return drop(index, Drop::kNotForDvipa);
  verdicts_[index].kind = Verdict::Kind::kIke;
  verdicts_[index].bytes = message;
}

void Inbound::raw_one(std::size_t index, const wire::Packet& packet, Time now) {
  const auto ip = wire::parse_ipv4(packet.bytes());
  if (!ip) return drop(index, packet.size < wire::kIpv4HeaderSize ? Drop::kTruncated : Drop::kMalformed);
  if (ip->is_fragment()) return drop(index, Drop::kFragment);
  const std::span<std::uint8_t> bytes = packet.bytes().first(ip->total_size());
  if (ip->protocol() == wire::kProtocolAh) return drop(index, Drop::kUnsupported);
  if (packet.segment_size != 0) return drop(index, Drop::kUnsupported);  // the caller cuts super-segments
  if (ip->protocol() != wire::kProtocolEsp) return clear_one(index, bytes, packet.checksum_missing, now);
  take_esp({.index = index, .esp = bytes.subspan(ip->header_size()), .ip = bytes}, ip->source(), ip->destination());
}

// Block 130: a datagram that needs IPsec processing. The SA is known by SPI, protocol and source.
void Inbound::take_esp(Item item, IpAddress source, IpAddress destination) {
  item.dvipa = owned(destination);
  if (item.dvipa == nullptr) return drop(item.index, Drop::kNotForDvipa);
  if (item.esp.size() < wire::kEspHeaderSize) return drop(item.index, Drop::kTruncated);
  const wire::EspHeader* header = wire::parse_esp(item.esp);
  item.sa = header == nullptr ? nullptr : parts_.sad.find_inbound(header->spi(), source, destination);
  item.state = item.sa == nullptr ? nullptr : state_of(*item.sa);
  if (item.state == nullptr) return drop(item.index, Drop::kUnknownSpi);
  const std::uint32_t low = header->sequence_low();
  item.seq = item.sa->parameters().esn ? ipsec::infer_sequence(item.state->ledger.top(), item.state->window, low)
                                       : SeqNo(low);
  items_[items_count_++] = item;
}

/// Null: nobody has announced the SA.
Inbound::SaState* Inbound::state_of(const ipsec::Sa& sa) {
  if (items_count_ != 0 && items_[items_count_ - 1].sa == &sa) return items_[items_count_ - 1].state;
  const auto found = states_.find(sa.id());
  return found == states_.end() ? nullptr : found->second.get();
}

void Inbound::run(Time now) {
  if (items_count_ == 0) return;
  peek_all();
  for (Item& item : std::span(items_).first(items_count_)) decide(item, now);
  authenticate_all(now);
}

// Block 132: peek to the end of the TCP header.
void Inbound::peek_all() {
  for (std::size_t i = 0; i < items_count_; ++i) peeks_[i] = {.sa = items_[i].sa, .esp = items_[i].esp};
  ipsec::peek(parts_.engine, std::span(peeks_).first(items_count_), peeked_);
  counters_.peeked.add(items_count_);
  for (std::size_t i = 0; i < items_count_; ++i) {
    items_[i].peeked = peeked_[i];
    items_[i].hash = connections_.hash(key_of(flow_of(peeked_[i])));
    connections_.prefetch(items_[i].hash);
  }
}

// Block 134: is it for a distributed connection? Block 142: is it a SYN?
void Inbound::decide(Item& item, Time now) {
  const ipsec::Peeked& peeked = item.peeked;
  const bool tcp = peeked.kind == ipsec::Peeked::Kind::kTcp;
  const bool distributed =
      tcp && peeked.destination.address == item.dvipa->address && item.dvipa->distributes(peeked.destination.port);
  if (!distributed) return authenticate(item, Why::kFull, peeked.kind != ipsec::Peeked::Kind::kUndecidable);
  const bool syn = is_initial_syn(peeked.tcp_flags);
  Connection* connection = connections_.find(key_of(flow_of(peeked)), item.hash);
  if (connection != nullptr && stays(*connection, *item.dvipa, syn)) return decide_known(item, *connection, now);
  authenticate(item, syn ? Why::kSyn : Why::kFull, false);
}

void Inbound::decide_known(Item& item, Connection& connection, Time now) {
  const NodeId target = connection.target;
  if (target == distribution_->self()) return authenticate(item, Why::kFull, true);
  if (distribution_->member(target) == nullptr) return drop(item.index, Drop::kNoTarget);
  // Block 136, the tunnel check. By the tunnel of its SYN a packet goes on to the target, which checks again; by
  // another one only if the filter demands that by now.
  if (connection.tunnel != item.sa->tunnel()) {
    if (filters_ == nullptr) return drop(item.index, Drop::kNoFilter);
    const auto reason = policy::check_protected(*filters_, flow_of(item.peeked), item.sa->tunnel());
    if (reason) return drop(item.index, *reason);
  }
  // Block 138, the replay check.
  switch (item.state->ledger.check(item.seq, target, static_cast<std::uint32_t>(item.hash))) {
    case Replay::kForward:
      return forward(item, connection, 0, item.peeked.tcp_flags, now);
    case Replay::kReplay:
      return drop(item.index, Drop::kReplay);
    case Replay::kTooOld:
      return drop(item.index, Drop::kReplayTooOld);
    case Replay::kAuthenticateFirst:
      return authenticate(item, Why::kFirst, false);
  }
}

/// Puts it in line, unless its number makes that needless.
void Inbound::authenticate(Item& item, Why why, bool in_place) {
  const Replay replay =
      item.state->ledger.check(item.seq, distribution_->self(), static_cast<std::uint32_t>(item.hash));
  if (replay == Replay::kReplay) return drop(item.index, Drop::kReplay);
  if (replay == Replay::kTooOld) return drop(item.index, Drop::kReplayTooOld);
  item.why = why;
  item.in_place = in_place;
  waiting_[waiting_count_++] = static_cast<std::uint8_t>(&item - items_.data());
}

// Block 140: to the target, in GRE. The ESP packet stays as it came.
void Inbound::forward(const Item& item, Connection& connection, std::uint8_t flags, std::uint8_t tcp_flags,
                      Time now) {
  item.state->ledger.forwarded(item.seq, connection.target, static_cast<std::uint32_t>(item.hash));
  connections_.note(connection, tcp_flags, item.esp.size(), now);
  wire::Outgoing& out = verdicts_[item.index].out;
  wire::build_gre(std::span(out.head).first<wire::kGreSize>(),
                  {.key = ForwardKey::of(item.dvipa->epoch, flags).field,
                   .sequence = static_cast<std::uint32_t>(item.seq.value() >> 32)});
  out.head_size = wire::kGreSize;
  if (item.ip.empty()) {
    const ipsec::SaParameters& sa = item.sa->parameters();
    wire::build_ipv4(std::span(out.head).subspan<wire::kGreSize, wire::kIpv4HeaderSize>(),
                     {.source = sa.remote,
                      .destination = sa.local,
                      .protocol = wire::kProtocolEsp,
                      .traffic_class = item.traffic_class},
                     item.esp.size());
    out.head_size = wire::kGreSize + wire::kIpv4HeaderSize;
  }
  send_to(item.index, connection.target, item.ip.empty() ? item.esp : item.ip);
  counters_.forwarded.add();
}

void Inbound::send_to(std::size_t index, NodeId target, std::span<const std::uint8_t> body) {
  Verdict& verdict = verdicts_[index];
  verdict.kind = Verdict::Kind::kForward;
  verdict.target = target;
  verdict.out.body = body.data();
  verdict.out.body_size = static_cast<std::uint32_t>(body.size());
  verdict.out.destination = distribution_->member(target)->data;
  forwarded_to_[target.value()].add();
}

}  // namespace testudo::distributor
