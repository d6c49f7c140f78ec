// SPDX-License-Identifier: Apache-2.0
#include "target/inbound.h"

#include <algorithm>

#include "base/check.h"
#include "distributor/forwarding.h"
#include "policy/inbound_check.h"
#include "wire/esp.h"
#include "wire/gre.h"
#include "wire/ipv4.h"

namespace testudo::target {
namespace {

constexpr std::uint32_t kHeldBytesMax = 9216;  // a jumbo frame

}  // namespace

Inbound::Inbound(const InboundConfig& config, Parts parts)
    : config_(config), parts_(parts), pool_(config.hold_packets, kHeldBytesMax) {}

void Inbound::process(std::span<const wire::Packet> burst, Time now) {
  CHECK(burst.size() <= wire::kBurst);
  counters_.forwarded_packets.add(burst.size());
  for (const wire::Packet& packet : burst) process_one(packet, now);
  open(now);
  flush();
}

// Is it from the DVIPA's owner, under the present epoch (spec C6, G5)?
void Inbound::process_one(const wire::Packet& packet, Time now) {
  const auto* member = distribution_ == nullptr ? nullptr : distribution_->member_at(packet.source.address);
  if (member == nullptr) return drop(Drop::kNotXcf);
  const auto gre = wire::parse_gre(packet.bytes());
  if (!gre) return drop(Drop::kMalformed);
  if (gre->protocol != wire::kGreProtocolIpv4) return drop(Drop::kUnsupported);
  const auto ip = wire::parse_ipv4(gre->payload);
  if (!ip) return drop(Drop::kTruncated);
  const distributor::Dvipa* dvipa = distribution_->find(ip->destination());
  if (dvipa == nullptr) return drop(Drop::kNotForDvipa);
  const distributor::ForwardKey key{gre->key};
  if (dvipa->owner != member->node || !key.matches(dvipa->epoch)) return drop(Drop::kStaleEpoch);
  if (key.clear()) return clear(ip->packet(), key.filtered(), now);
  if (ip->is_fragment()) return drop(Drop::kFragment);
  if (ip->protocol() != wire::kProtocolEsp) return drop(Drop::kUnsupported);
  esp(packet, ip->packet(), gre->sequence, now);
}

void Inbound::clear(std::span<const std::uint8_t> bytes, bool filtered, Time now) {
  if (wire::parse_ipv4(bytes)->is_fragment()) return drop(Drop::kFragment);
  if (!filtered) {
    if (const auto reason = refused(bytes, ipsec::TunnelId(), now)) return drop(*reason);
  }
  counters_.clear_packets.add();
  deliver(bytes);
}

// Block 150: the SA is in the shadow cache, or comes.
void Inbound::esp(const wire::Packet& packet, std::span<const std::uint8_t> bytes, std::uint32_t sequence_high,
                  Time now) {
  const auto ip = wire::parse_ipv4(bytes);
  const wire::EspHeader* header = wire::parse_esp(ip->payload());
  if (header == nullptr) return drop(Drop::kTruncated);
  ipsec::Sa* sa = parts_.sad.find_inbound(header->spi(), ipsec::Protocol::kEsp, ip->source(), ip->destination());
  if (sa == nullptr) return hold(packet, header->spi(), ip->source(), ip->destination(), now);
  const SeqNo seq(std::uint64_t{sequence_high} << 32 | header->sequence_low());
  if (const auto reason = sa->replay().check(seq)) return drop(*reason);
  const std::size_t before = static_cast<std::size_t>(bytes.data() - packet.data);
  ipsec::DecapRequest& request = requests_[requests_count_++];
  request = ipsec::DecapRequest{};
  request.sa = sa;
  request.seq = seq;
  request.data = packet.data + before;
  request.size = static_cast<std::uint32_t>(bytes.size());
  request.offset = static_cast<std::uint32_t>(ip->header_size());
}

void Inbound::hold(const wire::Packet& packet, Spi spi, IpAddress remote, IpAddress local, Time now) {
  Waiting* place = nullptr;
  for (Waiting& w : waiting_) {
    const bool same = w.spi == spi && w.remote == remote && w.local == local;
    if (!w.packets.empty() && same) {
      place = &w;
      break;
    }
    if (w.packets.empty() && place == nullptr) place = &w;
  }
  if (place == nullptr) return drop(Drop::kHoldFull);
  const bool first = place->packets.empty();
  place->spi = spi;
  place->remote = remote;
  place->local = local;
  if (pool_.append(place->packets, packet, now) == nullptr) return drop(Drop::kHoldFull);
  counters_.held.add();
  if (first) parts_.sink.unknown_spi(local, spi, remote);
}

void Inbound::sa_installed(const ipsec::Sa& sa, Time now) {
  if (!sa.inbound()) return;
  for (Waiting& w : waiting_) {
    if (w.packets.empty() || w.spi != sa.spi() || w.remote != sa.remote() || w.local != sa.local()) continue;
    // Not "until it is empty": a packet for which the SA is not in the cache after all would be appended again.
    for (std::uint32_t left = w.packets.count; left > 0; --left) {
      process_one(pool_.front(w.packets)->packet, now);
      open(now);
      flush();  // what is delivered lies in the held copy
      pool_.pop(w.packets);
    }
  }
}

// RFC 4303 section 3.4: ICV and decryption of the whole burst, then packet by packet what follows.
void Inbound::open(Time now) {
  const auto requests = std::span(requests_).first(requests_count_);
  if (requests.empty()) return;
  parts_.transforms.decap(requests);
  for (ipsec::DecapRequest& request : requests) finish(request, now);
  requests_count_ = 0;
}

void Inbound::finish(ipsec::DecapRequest& request, Time now) {
  ipsec::Sa& sa = *request.sa;
  if (request.authentic) {
    // Two copies can be in one burst: only the first one is new.
    if (const auto reason = sa.replay().check(request.seq)) return drop(*reason);
    sa.replay().commit(request.seq);
    parts_.commits.accepted(sa.id(), request.seq, now);
    if (!request.drop) sa.count(request.inner.size());
  } else {
    parts_.commits.rejected(sa.id(), request.seq, now);
  }
  if (request.drop) return drop(*request.drop);
  // Block 152: the tunnel check. The owner has only peeked.
  const auto inner = wire::parse_ipv4(request.inner);
  if (!inner) return drop(Drop::kMalformed);
  if (inner->destination() != sa.local()) return drop(Drop::kNotForDvipa);
  if (inner->is_fragment()) return drop(Drop::kFragment);
  if (const auto reason = refused(inner->packet(), sa.tunnel(), now)) return drop(*reason);
  counters_.decrypted_packets.add();
  counters_.decrypted_bytes.add(request.inner.size());
  deliver(request.inner);
}

/// What the filters say, once per flow where there is a cache. Tunnel none: it came in the clear. A connection that
/// begins is the owner's to log: it has let it in.
std::optional<Drop> Inbound::refused(std::span<const std::uint8_t> packet, ipsec::TunnelId tunnel, Time now) {
  const auto ip = wire::parse_ip(packet);
  const auto flow = ip ? policy::flow_of(*ip) : std::nullopt;
  if (!flow) return Drop::kMalformed;
  if (filters_ == nullptr) return Drop::kNoFilter;
  const auto judge = [&] {
    return tunnel == ipsec::TunnelId() ? policy::judge_clear(*filters_, *flow)
                                       : policy::judge_protected(*filters_, *ip, *flow, tunnel);
  };
  if (parts_.flows == nullptr || policy::is_icmp_error(*ip)) return judge().drop;
  const policy::FlowKey key{*flow, tunnel, policy::Direction::kInbound};
  return parts_.flows
      ->decide(key, {.begins = false, .closes = false, .bytes = packet.size()}, *filters_, now, judge)
      .drop;
}

void Inbound::deliver(std::span<const std::uint8_t> inner) {
  if (outgoing_count_ == outgoing_.size()) flush();
  wire::Outgoing& out = outgoing_[outgoing_count_++];
  out = wire::Outgoing{};
  out.body = inner.data();
  out.body_size = static_cast<std::uint32_t>(inner.size());
}

void Inbound::flush() {
  if (outgoing_count_ != 0) parts_.sink.deliver(std::span(outgoing_).first(outgoing_count_));
  outgoing_count_ = 0;
}

void Inbound::tick(Time now) {
  for (Waiting& w : waiting_) {
    bool expired = false;
    while (const Held* held = pool_.front(w.packets)) {
      if (now - held->since < config_.hold_time) break;
      pool_.pop(w.packets);
      drop(Drop::kUnknownSpi);
      expired = true;
    }
    // The answer may have been lost, and others wait.
    if (expired && !w.packets.empty()) parts_.sink.unknown_spi(w.local, w.spi, w.remote);
  }
}

Time Inbound::next_timer() const {
  Time next = Time::max();
  for (const Waiting& w : waiting_) {
    if (const Held* held = pool_.front(w.packets)) next = std::min(next, held->since + config_.hold_time);
  }
  return next;
}

}  // namespace testudo::target
