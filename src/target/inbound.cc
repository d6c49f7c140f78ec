// SPDX-License-Identifier: Apache-2.0
#include "target/inbound.h"

#include <algorithm>

#include "base/check.h"
#include "distributor/forwarding.h"
#include "policy/inbound_check.h"
#include "wire/ah.h"
#include "wire/esp.h"

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
  if (gre->protocol != wire::kGreProtocolIpv4 && gre->protocol != wire::kGreProtocolIpv6) {
    return drop(Drop::kUnsupported);
  }
  const auto ip = wire::parse_ip(gre->payload);
  if (!ip) return drop(Drop::kTruncated);
  if (ip->is_v4() != (gre->protocol == wire::kGreProtocolIpv4)) return drop(Drop::kMalformed);
  const distributor::ForwardKey key{gre->key};
  if (key.reply()) return reply(packet, *ip, key);
  const distributor::Dvipa* dvipa = distribution_->find(ip->destination());
  if (dvipa == nullptr) return drop(Drop::kNotForDvipa);
  if (dvipa->owner != member->node || !key.matches(dvipa->epoch)) return drop(Drop::kStaleEpoch);
  if (ip->is_fragment()) return drop(Drop::kFragment);
  if (key.clear()) return clear(*ip, key.filtered(), now);
  protected_one(packet, *ip, *gre);
}

/// This host is the owner. Members are trusted as they are with what they send themselves (spec H1).
void Inbound::reply(const wire::Packet& packet, const wire::IpView& ip, const distributor::ForwardKey& key) {
  const distributor::Dvipa* dvipa = distribution_->find(ip.source());
  if (dvipa == nullptr) return drop(Drop::kNotForDvipa);
  if (!distribution_->owns(*dvipa) || !key.matches(dvipa->epoch)) return drop(Drop::kStaleEpoch);
  if (ip.is_fragment()) return drop(Drop::kFragment);
  wire::Packet inner;
  inner.data = packet.data + (ip.packet().data() - packet.data);
  inner.size = static_cast<std::uint32_t>(ip.total_size());
  counters_.replies.add();
  parts_.sink.reply(inner);
}

void Inbound::clear(const wire::IpView& ip, bool filtered, Time now) {
  if (!filtered) {
    if (const auto reason = refused(ip, ipsec::TunnelId(), now)) return drop(*reason);
  }
  counters_.clear_packets.add();
  deliver(ip.packet());
}

void Inbound::protected_one(const wire::Packet& packet, const wire::IpView& ip, const wire::GreView& gre) {
  Spi spi;
  std::uint32_t low = 0;
  const bool ah = ip.protocol() == wire::kProtocolAh;
  if (ah) {
    const wire::AhHeader* header = wire::parse_ah(ip.payload());
    if (header == nullptr) return drop(Drop::kTruncated);
    spi = header->spi(), low = header->sequence_low();
  } else if (ip.protocol() == wire::kProtocolEsp) {
    const wire::EspHeader* header = wire::parse_esp(ip.payload());
    if (header == nullptr) return drop(Drop::kTruncated);
    spi = header->spi(), low = header->sequence_low();
  } else {
    return drop(Drop::kUnsupported);
  }
  const auto protocol = ah ? ipsec::Protocol::kAh : ipsec::Protocol::kEsp;
  arrived_[arrived_count_++] = {.packet = &packet,
                                .bytes = ip.packet(),
                                .offset = static_cast<std::uint32_t>(ip.header_size()),
                                .spi = spi,
                                .protocol = protocol,
                                .seq = SeqNo(std::uint64_t{gre.sequence} << 32 | low),
                                .remote = ip.source(),
                                .local = ip.destination(),
                                .filtered = distributor::ForwardKey{gre.key}.filtered()};
  parts_.sad.prefetch_inbound(spi, ip.destination());
}

// Block 150: the SA is in the shadow cache, or comes.
void Inbound::look_up(Time now) {
  const auto arrived = std::span(arrived_).first(arrived_count_);
  for (const Arrived& a : arrived) parts_.sad.prefetch_sa(a.spi, a.local);
  for (const Arrived& a : arrived) {
    ipsec::Sa* sa = parts_.sad.find_inbound(a.spi, a.protocol, a.remote, a.local);
    if (sa == nullptr) {
      hold(a, now);
      continue;
    }
    if (const auto reason = sa->replay().check(a.seq)) {
      drop(*reason);
      continue;
    }
    filtered_[requests_count_] = a.filtered;
    requests_[requests_count_++] = {.sa = sa,
                                    .seq = a.seq,
                                    .data = a.packet->data + (a.bytes.data() - a.packet->data),
                                    .size = static_cast<std::uint32_t>(a.bytes.size()),
                                    .offset = a.offset};
  }
  arrived_count_ = 0;
}

void Inbound::hold(const Arrived& a, Time now) {
  Waiting* place = nullptr;
  for (Waiting& w : waiting_) {
    const bool same = w.spi == a.spi && w.protocol == a.protocol && w.remote == a.remote && w.local == a.local;
    if (!w.packets.empty() && same) {
      place = &w;
      break;
    }
    if (w.packets.empty() && place == nullptr) place = &w;
  }
  if (place == nullptr) return drop(Drop::kHoldFull);
  const bool first = place->packets.empty();
  place->spi = a.spi;
  place->protocol = a.protocol;
  place->remote = a.remote;
  place->local = a.local;
  if (pool_.append(place->packets, *a.packet, now) == nullptr) return drop(Drop::kHoldFull);
  counters_.held.add();
  if (first) parts_.sink.unknown_spi(a.local, a.spi, a.remote);
}

void Inbound::sa_installed(const ipsec::Sa& sa, Time now) {
  if (!sa.inbound()) return;
  for (Waiting& w : waiting_) {
    // The SA is the one that the packets wait for if the cache finds it for them.
    if (w.packets.empty() || parts_.sad.find_inbound(w.spi, w.protocol, w.remote, w.local) != &sa) continue;
    // Not "until it is empty": a packet for which the SA is not in the cache after all would be appended again.
    for (std::uint32_t left = w.packets.count; left > 0; --left) {
      process_one(pool_.front(w.packets)->packet, now);
      open(now);
      flush();  // what is delivered lies in the held copy
      pool_.pop(w.packets);
    }
  }
}

// RFC 4303 section 3.4, RFC 4302 section 3.4: ICV and decryption of the whole burst, then packet by packet what
// follows.
void Inbound::open(Time now) {
  look_up(now);
  const auto requests = std::span(requests_).first(requests_count_);
  if (requests.empty()) return;
  parts_.transforms.decap(requests);
  for (std::size_t i = 0; i < requests.size(); ++i) finish(requests[i], filtered_[i], now);
  requests_count_ = 0;
}

void Inbound::finish(const ipsec::DecapRequest& request, bool filtered, Time now) {
  ipsec::Sa& sa = *request.sa;
  if (request.authentic) {
    // Two copies can be in one burst: only the first one is new.
    if (const auto reason = sa.replay().check(request.seq)) return drop(*reason);
    sa.replay().commit(request.seq);
    parts_.commits.accepted(sa.id(), request.seq, now);
    if (!request.drop && !sa.carry(request.inner.size())) return drop(Drop::kLifesize);
  } else {
    parts_.commits.rejected(sa.id(), request.seq, now);
  }
  if (request.drop) return drop(*request.drop);
  const auto inner = wire::parse_ip(request.inner);
  if (!inner) return drop(Drop::kMalformed);
  if (inner->destination() != sa.local()) return drop(Drop::kNotForDvipa);
  if (inner->is_fragment()) return drop(Drop::kFragment);
  // Block 152: the tunnel check, unless the owner has made it.
  if (filtered) {
    counters_.filtered.add();
  } else if (const auto reason = refused(*inner, sa.tunnel(), now)) {
    return drop(*reason);
  }
  counters_.decrypted_packets.add();
  counters_.decrypted_bytes.add(request.inner.size());
  deliver(request.inner);
}

/// What the filters say, once per flow where there is a cache. Tunnel none: it came in the clear. A connection that
/// begins is the owner's to log: it has let it in.
std::optional<Drop> Inbound::refused(const wire::IpView& ip, ipsec::TunnelId tunnel, Time now) {
  const auto flow = policy::flow_of(ip);
  if (!flow) return Drop::kMalformed;
  if (filters_ == nullptr) return Drop::kNoFilter;
  const auto judge = [&] {
    return tunnel == ipsec::TunnelId() ? policy::judge_clear(*filters_, *flow)
                                       : policy::judge_protected(*filters_, ip, *flow, tunnel);
  };
  if (parts_.flows == nullptr || policy::is_icmp_error(ip)) return judge().drop;
  const policy::FlowKey key{*flow, tunnel, policy::Direction::kInbound};
  return parts_.flows
      ->decide(key, {.begins = false, .closes = false, .bytes = ip.total_size()}, *filters_, now, judge)
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
