// SPDX-License-Identifier: Apache-2.0
#include "target/outbound.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/check.h"
#include "wire/ip.h"

namespace testudo::target {
namespace {

constexpr std::uint32_t kHeldBytesMax = 65'600;  // a super-segment: 64 KiB and its headers

constexpr Duration kPathMtuNews = 1s;  // the same again is no news before

/// As when it was cut before it had to wait.
Segmenter cut_again(const Held& held) {
  auto cut = Segmenter::of(held.packet);
  CHECK(cut.has_value());
  if (held.fragment_size != 0) cut = cut->fragments(held.fragment_size, held.fragment_id);
  CHECK(cut.has_value());
  return *cut;
}

}  // namespace

Outbound::Outbound(const OutboundConfig& config, Parts parts)
    : config_(config),
      parts_(parts),
      reassembler_(config.reassembler),
      pool_(config.hold_packets, kHeldBytesMax),
      memory_(std::make_unique_for_overwrite<std::uint8_t[]>(wire::kBurst * kSlot + ipsec::kEsnTailroom)) {}

void Outbound::sa_installed(const ipsec::Sa& sa, Time now) {
  if (sa.inbound()) return;
  if (queues_.size() <= sa.tunnel().value()) queues_.resize(sa.tunnel().value() + 1);
  queues_[sa.tunnel().value()].known = true;
  drain(sa.tunnel(), now);
}

bool Outbound::set_path_mtu(SaId id, std::uint16_t mtu, Time now) {
  const ipsec::Sa* sa = parts_.sad.find(id);
  if (sa == nullptr || sa->inbound() || mtu >= config_.network_mtu) return false;
  const std::uint32_t least = sa->remote().is_v4() ? wire::kIpv4MtuMin : std::uint32_t{wire::kIpv6MtuMin};
  mtu = static_cast<std::uint16_t>(std::max<std::uint32_t>(mtu, least));
  Queue& queue = queues_[sa->tunnel().value()];
  const Duration age = now - queue.path_mtu_since;
  const bool known = queue.path_mtu != 0 && age < config_.path_mtu_time;
  if (known && (mtu > queue.path_mtu || (mtu == queue.path_mtu && age < kPathMtuNews))) return false;
  queue.path_mtu = mtu;
  queue.path_mtu_since = now;
  return true;
}

void Outbound::process(std::span<const wire::Packet> burst, Time now) {
  for (const wire::Packet& packet : burst) process_one(packet, now);
  flush();
  reassembler_.recycle();
}

// Blocks 160–162: which packets need which SA.
void Outbound::process_one(const wire::Packet& packet, Time now) {
  const auto ip = wire::parse_ip(packet.bytes());
  if (!ip) return drop(Drop::kTruncated);
  if (ip->is_fragment()) return process_fragment(*ip, now);
  process_whole(packet, *ip, !ip->dont_fragment(), now);
}

/// The kernel has cut a datagram for the TUN's MTU. Filters want to see its ports, so it is put together; and as
/// its sender has let it be cut, it may be cut again.
void Outbound::process_fragment(const wire::IpView& fragment, Time now) {
  const auto result = reassembler_.add(fragment, 0, now);
  if (const std::uint64_t lost = reassembler_.take_lost()) drop(Drop::kFragmentLost, lost);
  if (result.drop) return drop(*result.drop);
  if (result.whole.empty()) return;
  counters_.reassembled.add();
  const auto ip = wire::parse_ip(result.whole);
  if (!ip || ip->is_fragment()) return drop(Drop::kMalformed);
  wire::Packet whole;
  whole.data = result.whole.data();
  whole.size = static_cast<std::uint32_t>(result.whole.size());
  process_whole(whole, *ip, true, now);
}

void Outbound::process_whole(const wire::Packet& packet, const wire::IpView& ip, bool may_cut, Time now) {
  const auto flow = policy::flow_of(ip);
  if (!flow) return drop(Drop::kTruncated);
  const policy::Decision decision = decide(ip, *flow, now);
  if (decision.drop) return drop(*decision.drop);
  if (decision.action == policy::Action::kPermit) return send_clear(packet, ip, may_cut);
  protect(decision.tunnel, packet, ip, may_cut, now);
}

/// What the filters say, once per flow where there is a cache.
policy::Decision Outbound::decide(const wire::IpView& ip, const policy::Flow& flow, Time now) {
  if (filters_ == nullptr) return {.drop = Drop::kNoFilter, .action = {}, .tunnel = {}};
  const auto judge = [&] { return policy::judge_outbound(*filters_, flow); };
  if (parts_.flows == nullptr) return policy::Decision::of(judge());
  const policy::FlowKey key{flow, ipsec::TunnelId(), policy::Direction::kOutbound};
  return parts_.flows->decide(key, policy::FlowPacket::of(ip), *filters_, now, judge);
}

void Outbound::protect(ipsec::TunnelId tunnel, const wire::Packet& packet, const wire::IpView& ip, bool may_cut,
                       Time now) {
  ipsec::Sa* sa = parts_.sad.find_outbound(tunnel);
  const bool known = tunnel.value() < queues_.size() && queues_[tunnel.value()].known;
  if (sa == nullptr || !known) {
    if (known || !via_owner(packet, ip)) drop(Drop::kNoOutboundSa);
    return;
  }
  auto cut = Segmenter::of(packet);
  if (!cut) return drop(Drop::kMalformed);
  const std::size_t most = inner_max(*sa, ip, now);
  std::uint16_t fragment_size = 0;
  if (cut->largest() > most) {
    // RFC 4301 section 8.2: cut before it is protected, or tell the sender. Transport mode protects whole packets
    // only.
    const bool can_cut = may_cut && cut->count() == 1 && !sa->transport();
    const auto pieces = can_cut ? cut->fragments(most, ++next_ip_id_) : std::nullopt;
    if (!pieces) return too_big(ip, most);
    fragment_size = static_cast<std::uint16_t>(most);
    counters_.fragmented.add();
    cut = pieces;
  }
  const std::uint32_t fragment_id = next_ip_id_;
  const bool overtakes = !queues_[tunnel.value()].packets.empty();
  const std::uint32_t sent = overtakes ? 0 : transmit(*sa, *cut, 0, cut->count(), now);
  if (sent == cut->count()) return;
  Held* held = hold(tunnel, *sa, packet, cut->count() - sent, now);
  if (held == nullptr) return;
  held->segments_sent = sent;
  held->fragment_size = fragment_size;
  held->fragment_id = fragment_id;
  if (overtakes) drain(tunnel, now);
}

/// `left` segments of the packet wait for numbers. Null: they do not.
Held* Outbound::hold(ipsec::TunnelId tunnel, const ipsec::Sa& sa, const wire::Packet& packet, std::uint32_t left,
                     Time now) {
  Queue& queue = queues_[tunnel.value()];
  const bool first = queue.packets.empty();
  if (first && parts_.lessee.exhausted(sa.id())) {
    drop(Drop::kSequenceExhausted, left);
    return nullptr;
  }
  Held* held = pool_.append(queue.packets, packet, now);
  if (held == nullptr) {
    drop(Drop::kHoldFull, left);
    if (first) parts_.lessee.forget_want(sa.id());
    return nullptr;
  }
  queue.segments += left;
  counters_.held.add();
  if (first) {
    queue.asked = sa.id();
    ++waiting_tunnels_;
  }
  return held;
}

// Blocks 162–164. Sends segments from index `from` on, as far as there are numbers, and returns the index of the
// first that is left. `want`: the segments ready for this SA, also those of packets behind this one.
std::uint32_t Outbound::transmit(ipsec::Sa& sa, const Segmenter& cut, std::uint32_t from, std::uint32_t want,
                                 Time now) {
  for (; from < cut.count(); ++from, --want) {
    if (numbers_sa_ != sa.id() || numbers_.count == 0 || now >= numbers_.stop) {
      numbers_sa_ = sa.id();
      numbers_ = parts_.lessee.take(sa.id(), want, now);
      if (!numbers_) break;
    }
    add(sa, cut, from);
    numbers_.first = SeqNo(numbers_.first.value() + 1);
    --numbers_.count;
  }
  return from;
}

void Outbound::add(ipsec::Sa& sa, const Segmenter& cut, std::uint32_t index) {
  if (requests_count_ == wire::kBurst) flush();
  if (trains_count_ == 0 || trains_[trains_count_ - 1].sa != &sa) {
    trains_[trains_count_++] = {.sa = &sa, .first = requests_count_, .last = {}};
  }
  const Segment segment = cut.segment(index, headers_[requests_count_]);
  // In place: a request that is put together elsewhere and copied costs more than all its fields.
  new (&requests_[requests_count_++]) ipsec::EncapRequest{.sa = &sa,
                                                          .seq = numbers_.first,
                                                          .header = segment.header,
                                                          .payload = segment.payload,
                                                          .out = memory_.get() + used_,
                                                          .lent = segment.lent,
                                                          .ip_id = static_cast<std::uint16_t>(++next_ip_id_)};
  used_ += ipsec::encap_size(sa, segment.header, segment.size());
  Train& train = trains_[trains_count_ - 1];
  train.stop = std::min(train.stop, numbers_.stop);
  train.last = numbers_.first;
}

// Block 164: encrypt the gathered segments in one burst, whosever they are, and send those of one SA in one call.
void Outbound::flush() {
  if (requests_count_ == 0) return;
  const auto requests = std::span(requests_).first(requests_count_);
  parts_.transforms.encap(requests);
  for (std::size_t i = 0; i < trains_count_; ++i) {
    const std::size_t end = i + 1 < trains_count_ ? trains_[i + 1].first : requests_count_;
    send(trains_[i], requests.subspan(trains_[i].first, end - trains_[i].first));
  }
  requests_count_ = trains_count_ = used_ = 0;
}

/// If the numbers may still be used.
void Outbound::send(const Train& train, std::span<const ipsec::EncapRequest> requests) {
  ipsec::Sa& sa = *train.sa;
  std::size_t ready = 0;
  for (const ipsec::EncapRequest& request : requests) {
    if (request.drop) {
      drop(*request.drop);
      continue;
    }
    fill(sa, request, outgoing_[ready++]);
  }
  const sequence::Numbers deadline{.first = train.last, .count = 1, .stop = train.stop};
  if (ready != 0 && parts_.lessee.still_valid(deadline, parts_.sink.now())) {
    ready = keep_what_may_be_carried(sa, requests);
    if (ready != 0) {
      parts_.sink.send_protected(sa, std::span(outgoing_).first(ready));
      counters_.trains.add();
    }
  } else {
    drop(Drop::kLeaseExpired, ready);
  }
  parts_.lessee.sent(sa.id(), train.last);
}

/// Of outgoing_, which has one entry for each request that is not dropped. Returns how many are left.
std::size_t Outbound::keep_what_may_be_carried(ipsec::Sa& sa, std::span<const ipsec::EncapRequest> requests) {
  std::size_t at = 0, kept = 0;
  for (const ipsec::EncapRequest& request : requests) {
    if (request.drop) continue;
    const std::size_t index = at++;
    if (!sa.carry(request.header.size() + request.payload.size())) {
      drop(Drop::kLifesize);
      continue;
    }
    if (kept != index) outgoing_[kept] = outgoing_[index];
    ++kept;
  }
  return kept;
}

void Outbound::fill(const ipsec::Sa& sa, const ipsec::EncapRequest& request, wire::Outgoing& out) {
  out = wire::Outgoing{};
  out.traffic_class = request.traffic_class;
  out.body = request.out;
  out.body_size = request.size;
  out.source = sa.local_endpoint();
  out.destination = sa.remote_endpoint();
  counters_.encrypted_packets.add();
  counters_.encrypted_bytes.add(request.header.size() + request.payload.size());
}

void Outbound::retry(Time now) {
  // drain() may make the lessee append to what is looped over: an index, not an iterator.
  for (std::size_t i = 0; i < parts_.lessee.granted().size(); ++i) {
    const ipsec::Sa* sa = parts_.sad.find(parts_.lessee.granted()[i]);
    if (sa != nullptr) drain(sa->tunnel(), now);
  }
}

void Outbound::drain(ipsec::TunnelId tunnel, Time now) {
  Queue& queue = queues_[tunnel.value()];
  while (Held* held = pool_.front(queue.packets)) {
    ipsec::Sa* sa = parts_.sad.find_outbound(tunnel);
    const Segmenter cut = cut_again(*held);
    if (const auto reason = why_not(sa, cut, now)) {
      drop(*reason, cut.count() - held->segments_sent);
      pop(queue, cut.count() - held->segments_sent);
      continue;
    }
    if (queue.asked != sa->id()) {  // rekeyed: nothing waits for the former SA's numbers any more
      parts_.lessee.forget_want(queue.asked);
      queue.asked = sa->id();
    }
    const std::uint32_t next = transmit(*sa, cut, held->segments_sent, queue.segments, now);
    flush();  // the segments lie in the held copy
    queue.segments -= next - held->segments_sent;
    held->segments_sent = next;
    if (next < cut.count()) return;
    pop(queue, 0);
  }
}

// What was held may not fit the SA that has come meanwhile: it can have another suite.
std::optional<Drop> Outbound::why_not(const ipsec::Sa* sa, const Segmenter& cut, Time now) const {
  if (sa == nullptr) return Drop::kNoOutboundSa;
  if (parts_.lessee.exhausted(sa->id())) return Drop::kSequenceExhausted;
  SegmentHeader room;
  const auto ip = wire::parse_ip_prefix(cut.segment(0, room).header).view;
  if (!ip || cut.largest() > inner_max(*sa, *ip, now)) return Drop::kTooBig;
  return std::nullopt;
}

void Outbound::pop(Queue& queue, std::uint32_t segments_left) {
  queue.segments -= segments_left;
  pool_.pop(queue.packets);
  if (queue.packets.empty()) --waiting_tunnels_;
}

void Outbound::tick(Time now) {
  reassembler_.expire(now);
  if (const std::uint64_t lost = reassembler_.take_lost()) drop(Drop::kFragmentLost, lost);
  for (std::size_t tunnel = 0; waiting_tunnels_ > 0 && tunnel < queues_.size(); ++tunnel) expire(tunnel, now);
}

void Outbound::expire(std::size_t tunnel, Time now) {
  Queue& queue = queues_[tunnel];
  bool expired = false;
  while (const Held* held = pool_.front(queue.packets)) {
    if (now - held->since < config_.hold_time) return;
    const std::uint32_t left = cut_again(*held).count() - held->segments_sent;
    drop(Drop::kHoldExpired, left);
    pop(queue, left);
    expired = true;
  }
  if (expired) parts_.lessee.forget_want(queue.asked);
}

Time Outbound::next_timer() const {
  Time next = reassembler_.next_timer();
  if (waiting_tunnels_ == 0) return next;
  for (const Queue& queue : queues_) {
    if (const Held* held = pool_.front(queue.packets)) next = std::min(next, held->since + config_.hold_time);
  }
  return next;
}

}  // namespace testudo::target
