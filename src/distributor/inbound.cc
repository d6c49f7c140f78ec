// SPDX-License-Identifier: Apache-2.0
#include "distributor/inbound.h"

#include <algorithm>

#include "base/check.h"
#include "wire/ah.h"
#include "wire/esp.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::distributor {
namespace {

static_assert(wire::kBurst <= crypto::kBurstMax);

constexpr std::size_t kReportsMax = (wire::kFastDatagramMax - wire::kFastHeaderSize) / wire::ReplayCommit::kSize;

/// Its fragments come to the kernel's sockets as well, which put them together by themselves.
bool is_of_sockets(const wire::IpView& ip) {
  const auto udp = ip.protocol() == wire::kProtocolUdp ? wire::parse_udp(ip.payload()) : std::nullopt;
  if (!udp) return false;
  const std::uint16_t port = udp->header().destination_port.host();
  return port == wire::kIkePort || port == wire::kNatTraversalPort;
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
      reassembler_(config.reassembler),
      replay_memory_(config.pending_groups),
      forwarded_to_(std::size_t{1} << 16),
      arena_(std::make_unique_for_overwrite<std::uint8_t[]>(kArena)) {
  config_.ledger.memory = &replay_memory_;
}

// ---- tables ----

void Inbound::set_distribution(const Distribution* distribution) {
  distribution_ = distribution;
  if (distribution != nullptr) choice_.set_distribution(*distribution);
}

void Inbound::sa_installed(ipsec::Sa& sa) {
  if (!sa.inbound()) {
    const OutboundKey key{sa.spi(), sa.remote()};
    outbound_[key] = sa.id();
    outbound_keys_[sa.id()] = key;
    return;
  }
  give_state(sa, nullptr);
}

void Inbound::give_state(ipsec::Sa& sa, const WindowReport* known) {
  auto& state = states_[sa.id()];
  if (state == nullptr) {  // else a repeated push: its ledger stays
    const std::uint32_t window = sa.replay_window();
    state =
        std::make_unique<SaState>(SaState{.ledger = known == nullptr ? ReplayLedger(window, config_.ledger)
                                                                     : ReplayLedger(window, config_.ledger, *known),
                                          .local = sa.local(),
                                          .moved_to = {}});
  }
  sa.set_stage_state(state.get());
}

void Inbound::sa_removed(SaId sa) {
  if (states_.erase(sa) != 0) {
    if (ipsec::Sa* still = parts_.sad.find(sa)) still->set_stage_state(nullptr);
  }
  const auto key = outbound_keys_.find(sa);
  if (key == outbound_keys_.end()) return;
  if (const auto found = outbound_.find(key->second); found != outbound_.end() && found->second == sa) {
    outbound_.erase(found);
  }
  outbound_keys_.erase(key);
}

void Inbound::sa_moved(ipsec::Sa& sa) {
  if (!outbound_keys_.contains(sa.id())) return;
  sa_removed(sa.id());
  sa_installed(sa);
}

void Inbound::node_died(NodeId node) { replay_memory_.node_died(node); }

void Inbound::commit(const wire::FastMessage& message) {
  const wire::FastHeader& header = message.header();
  CHECK(header.type == wire::FastType::kReplayCommit);
  const Dvipa* dvipa = find_owned(header.dvipa);
  if (dvipa == nullptr || dvipa->epoch != header.epoch) return parts_.drops.count(Drop::kStaleEpoch);
  // A report is about many SAs, most of which are in no cache: each stage asks for what the next one reads.
  std::array<SaState*, kReportsMax> states;
  const std::size_t count = std::min(message.count(), states.size());
  for (std::size_t i = 0; i < count; ++i) states_.prefetch(message.entry<wire::ReplayCommit>(i).sa);
  for (std::size_t i = 0; i < count; ++i) {
    const auto found = states_.find(message.entry<wire::ReplayCommit>(i).sa);
    states[i] = found == states_.end() ? nullptr : found->second.get();
    __builtin_prefetch(states[i]);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (states[i] != nullptr) states[i]->ledger.prefetch(message.entry<wire::ReplayCommit>(i).base);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (states[i] == nullptr || states[i]->local != dvipa->address) continue;
    states[i]->ledger.commit(header.sender, message.entry<wire::ReplayCommit>(i));
  }
}

void Inbound::tick(Time now) {
  connections_.age(now, config_.age_per_tick);
  reassembler_.expire(now);
  count_lost_fragments();
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
        take({.index = i,
              .packet = packet.bytes(),
              .traffic_class = packet.traffic_class,
              .source = packet.source,
              .destination = packet.destination.address},
             packet.bytes());
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
  items_count_ = waiting_count_ = moved_count_ = accepted_count_ = hints_count_ = 0;
  asked_ = IpAddress();
  answer_ = nullptr;
  reassembler_.recycle();
}

/// The DVIPA, if this host owns it. A burst asks about the same address again and again.
const Dvipa* Inbound::owned(IpAddress address) {
  if (address != asked_) {
    answer_ = find_owned(address);
    asked_ = address;
  }
  return answer_;
}

const Dvipa* Inbound::find_owned(IpAddress address) const {
  const Dvipa* dvipa = distribution_ == nullptr ? nullptr : distribution_->find(address);
  return dvipa != nullptr && distribution_->owns(*dvipa) ? dvipa : nullptr;
}

bool Inbound::is_local(IpAddress address) const {
  return distribution_ != nullptr && distribution_->is_local(address);
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
  const auto ip = wire::parse_ip(packet.bytes());
  if (!ip) return drop(index, packet.size < wire::kIpv4HeaderSize ? Drop::kTruncated : Drop::kMalformed);
  if (packet.segment_size != 0) return drop(index, Drop::kUnsupported);  // the caller cuts super-segments
  if (owned(ip->destination()) == nullptr && !is_local(ip->destination())) return drop(index, Drop::kNotForDvipa);
  if (ip->is_fragment()) return fragment_one(index, *ip, now);
  whole_one(index, packet.bytes().first(ip->total_size()), *ip, packet.checksum_missing, now);
}

// RFC 4303 section 3.4.1, RFC 4302 section 3.4.1: reassembly comes before everything else.
void Inbound::fragment_one(std::size_t index, const wire::IpView& ip, Time now) {
  const auto whole = put_together(index, ip, 0, now);
  if (!whole) return;
  if (is_of_sockets(whole->ip)) {
    verdicts_[index].kind = Verdict::Kind::kIgnore;
    return;
  }
  whole_one(index, whole->bytes, whole->ip, false, now);
}

/// With this fragment, the whole packet. Nothing: it is held until others come, or dropped.
std::optional<Inbound::Whole> Inbound::put_together(std::size_t index, const wire::IpView& fragment,
                                                    std::uint32_t context, Time now) {
  const auto result = reassembler_.add(fragment, context, now);
  count_lost_fragments();
  if (result.drop) return drop(index, *result.drop), std::nullopt;
  verdicts_[index].kind = Verdict::Kind::kHeld;
  if (result.whole.empty()) return std::nullopt;
  counters_.reassembled.add();
  const auto ip = wire::parse_ip(result.whole);
  if (!ip || ip->is_fragment()) return drop(index, Drop::kMalformed), std::nullopt;
  return Whole{result.whole, *ip};
}

void Inbound::count_lost_fragments() {
  if (const std::uint64_t lost = reassembler_.take_lost()) parts_.drops.count(Drop::kFragmentLost, lost);
}

void Inbound::whole_one(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip,
                        bool checksum_missing, Time now) {
  const bool ah = ip.protocol() == wire::kProtocolAh;
  if (!ah && ip.protocol() != wire::kProtocolEsp) return clear_one(index, bytes, ip, checksum_missing, now);
  take({.index = index,
        .packet = bytes,
        .offset = static_cast<std::uint32_t>(ip.header_size()),
        .protocol = ah ? ipsec::Protocol::kAh : ipsec::Protocol::kEsp,
        .source = {ip.source(), 0},
        .destination = ip.destination()},
       ip.payload());
}

// Block 130: a datagram that needs IPsec processing. The SA is known by SPI, protocol and source.
void Inbound::take(Item item, std::span<const std::uint8_t> header) {
  item.dvipa = owned(item.destination);
  if (item.dvipa == nullptr && !is_local(item.destination)) return drop(item.index, Drop::kNotForDvipa);
  if (item.protocol == ipsec::Protocol::kAh) {
    if (header.size() < wire::kAhFixedSize) return drop(item.index, Drop::kTruncated);
    const wire::AhHeader* ah = wire::parse_ah(header);
    if (ah == nullptr) return drop(item.index, Drop::kMalformed);
    item.spi = ah->spi();
    item.sequence_low = ah->sequence_low();
  } else {
    if (header.size() < wire::kEspHeaderSize) return drop(item.index, Drop::kTruncated);
    const wire::EspHeader* esp = wire::parse_esp(header);
    if (esp == nullptr) return drop(item.index, Drop::kUnknownSpi);
    item.spi = esp->spi();
    item.sequence_low = esp->sequence_low();
  }
  parts_.sad.prefetch_inbound(item.spi, item.destination);
  items_[items_count_++] = item;
}

}  // namespace testudo::distributor
