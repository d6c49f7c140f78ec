// SPDX-License-Identifier: Apache-2.0
#include "target/outbound.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "wire/ipv4.h"

namespace testudo::target {
namespace {

constexpr std::uint32_t kHeldBytesMax = 65'600;  // a super-segment: 64 KiB and its headers

}  // namespace

Outbound::Outbound(const OutboundConfig& config, Parts parts)
    : config_(config),
      parts_(parts),
      pool_(config.hold_packets, kHeldBytesMax),
      memory_(std::make_unique_for_overwrite<std::uint8_t[]>(wire::kBurst * kSlot + ipsec::kEsnTailroom)) {}

void Outbound::sa_installed(const ipsec::Sa& sa, Time now) {
  if (sa.inbound()) return;
  if (queues_.size() <= sa.tunnel().value()) queues_.resize(sa.tunnel().value() + 1);
  drain(sa.tunnel(), now);
}

void Outbound::process(std::span<const wire::Packet> burst, Time now) {
  for (const wire::Packet& packet : burst) process_one(packet, now);
  flush();
}

// Blocks 160–162: which packets need which SA.
void Outbound::process_one(const wire::Packet& packet, Time now) {
  const auto ip = wire::parse_ipv4(packet.bytes());
  if (!ip) return drop(Drop::kTruncated);
  if (ip->is_fragment()) return drop(Drop::kFragment);
  const auto view = wire::parse_ip(ip->packet());
  const auto flow = view ? policy::flow_of(*view) : std::nullopt;
  if (!flow) return drop(Drop::kTruncated);
  const policy::Decision decision = decide(*view, *flow, now);
  if (decision.drop) return drop(*decision.drop);
  if (decision.action == policy::Action::kPermit) return send_clear(packet);
  protect(decision.tunnel, packet, now);
}

/// What the filters say, once per flow where there is a cache.
policy::Decision Outbound::decide(const wire::IpView& ip, const policy::Flow& flow, Time now) {
  if (filters_ == nullptr) return {.drop = Drop::kNoFilter, .action = {}, .tunnel = {}};
  const auto judge = [&] { return policy::judge_outbound(*filters_, flow); };
  if (parts_.flows == nullptr) return policy::Decision::of(judge());
  const policy::FlowKey key{flow, ipsec::TunnelId(), policy::Direction::kOutbound};
  return parts_.flows->decide(key, policy::FlowPacket::of(ip), *filters_, now, judge);
}

void Outbound::protect(ipsec::TunnelId tunnel, const wire::Packet& packet, Time now) {
  ipsec::Sa* sa = parts_.sad.find_outbound(tunnel);
  if (sa == nullptr || tunnel.value() >= queues_.size()) return drop(Drop::kNoOutboundSa);
  const auto cut = Segmenter::of(packet);
  if (!cut) return drop(Drop::kMalformed);
  if (!fits(*sa, *cut)) return drop(Drop::kTooBig);

  Queue& queue = queues_[tunnel.value()];
  const bool overtakes = !queue.packets.empty();
  const std::uint32_t sent = overtakes ? 0 : transmit(*sa, *cut, 0, cut->count(), now);
  if (sent == cut->count()) return;
  if (parts_.lessee.exhausted(sa->id()) && !overtakes) return drop(Drop::kSequenceExhausted, cut->count() - sent);
  Held* held = pool_.append(queue.packets, packet, now);
  if (held == nullptr) {
    drop(Drop::kHoldFull, cut->count() - sent);
    if (!overtakes) parts_.lessee.forget_want(sa->id());
    return;
  }
  held->segments_sent = sent;
  queue.segments += cut->count() - sent;
  counters_.held.add();
  if (overtakes) {
    drain(tunnel, now);
  } else {
    queue.asked = sa->id();
    ++waiting_tunnels_;
  }
}

bool Outbound::fits(const ipsec::Sa& sa, const Segmenter& cut) const {
  return cut.largest() <= ipsec::inner_size_max(sa, std::min<std::size_t>(config_.network_mtu, kSlot));
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
  if (train_.sa != &sa || train_.count == wire::kBurst) flush();
  const Segment segment = cut.segment(index, headers_[train_.count]);
  requests_[train_.count] = {.sa = &sa,
                             .seq = numbers_.first,
                             .header = segment.header,
                             .payload = segment.payload,
                             .out = memory_.get() + train_.bytes,
                             .ip_id = next_ip_id_++};
  train_.sa = &sa;
  train_.stop = std::min(train_.stop, numbers_.stop);
  train_.last = numbers_.first;
  train_.bytes += ipsec::encap_size(sa, segment.header, segment.size());
  ++train_.count;
}

// Block 164: encrypt the gathered segments in one burst and send them in one call, if their numbers may still be
// used.
void Outbound::flush() {
  if (train_.count == 0) return;
  ipsec::Sa& sa = *train_.sa;
  const auto requests = std::span(requests_).first(train_.count);
  parts_.transforms.encap(requests);
  std::size_t ready = 0;
  for (const ipsec::EncapRequest& request : requests) {
    if (request.drop) {
      drop(*request.drop);
      continue;
    }
    fill(sa, request, outgoing_[ready++]);
  }
  const sequence::Numbers deadline{.first = train_.last, .count = 1, .stop = train_.stop};
  if (parts_.lessee.still_valid(deadline, parts_.sink.now())) {
    for (const ipsec::EncapRequest& request : requests) {
      if (!request.drop) sa.count(request.header.size() + request.payload.size());
    }
    parts_.sink.send_protected(sa, std::span(outgoing_).first(ready));
    counters_.trains.add();
  } else {
    drop(Drop::kLeaseExpired, ready);
  }
  parts_.lessee.sent(sa.id(), train_.last);
  train_ = Train{};
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

void Outbound::send_clear(const wire::Packet& packet) {
  const auto cut = Segmenter::of(packet);
  if (!cut) return drop(Drop::kMalformed);
  if (cut->largest() > std::min<std::size_t>(config_.network_mtu, kSlot)) return drop(Drop::kTooBig);
  flush();  // what was gathered uses the same memory
  for (std::uint32_t index = 0; index < cut->count();) {
    std::size_t count = 0;
    for (; index < cut->count() && count < wire::kBurst; ++index, ++count) {
      const Segment segment = cut->segment(index, headers_[0]);
      std::uint8_t* at = memory_.get() + count * kSlot;
      std::memcpy(at, segment.header.data(), segment.header.size());
      if (!segment.payload.empty())
        std::memcpy(at + segment.header.size(), segment.payload.data(), segment.payload.size());
      outgoing_[count] = wire::Outgoing{};
      outgoing_[count].body = at;
      outgoing_[count].body_size = static_cast<std::uint32_t>(segment.size());
    }
    parts_.sink.send_clear(std::span(outgoing_).first(count));
    counters_.clear_packets.add(count);
  }
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
    const auto cut = Segmenter::of(held->packet);
    CHECK(cut.has_value());  // it was cut once before
    if (const auto reason = why_not(sa, *cut)) {
      drop(*reason, cut->count() - held->segments_sent);
      pop(queue, cut->count() - held->segments_sent);
      continue;
    }
    if (queue.asked != sa->id()) {  // rekeyed: nothing waits for the former SA's numbers any more
      parts_.lessee.forget_want(queue.asked);
      queue.asked = sa->id();
    }
    const std::uint32_t next = transmit(*sa, *cut, held->segments_sent, queue.segments, now);
    flush();  // the segments lie in the held copy
    queue.segments -= next - held->segments_sent;
    held->segments_sent = next;
    if (next < cut->count()) return;
    pop(queue, 0);
  }
}

// What was held may not fit the SA that has come meanwhile: it can have another suite.
std::optional<Drop> Outbound::why_not(const ipsec::Sa* sa, const Segmenter& cut) const {
  if (sa == nullptr) return Drop::kNoOutboundSa;
  if (parts_.lessee.exhausted(sa->id())) return Drop::kSequenceExhausted;
  if (!fits(*sa, cut)) return Drop::kTooBig;
  return std::nullopt;
}

void Outbound::pop(Queue& queue, std::uint32_t segments_left) {
  queue.segments -= segments_left;
  pool_.pop(queue.packets);
  if (queue.packets.empty()) --waiting_tunnels_;
}

void Outbound::tick(Time now) {
  for (std::size_t tunnel = 0; waiting_tunnels_ > 0 && tunnel < queues_.size(); ++tunnel) expire(tunnel, now);
}

void Outbound::expire(std::size_t tunnel, Time now) {
  Queue& queue = queues_[tunnel];
  bool expired = false;
  while (const Held* held = pool_.front(queue.packets)) {
    if (now - held->since < config_.hold_time) return;
    const std::uint32_t left = Segmenter::of(held->packet)->count() - held->segments_sent;
    drop(Drop::kHoldExpired, left);
    pop(queue, left);
    expired = true;
  }
  if (expired) parts_.lessee.forget_want(queue.asked);
}

Time Outbound::next_timer() const {
  Time next = Time::max();
  if (waiting_tunnels_ == 0) return next;
  for (const Queue& queue : queues_) {
    if (const Held* held = pool_.front(queue.packets)) next = std::min(next, held->since + config_.hold_time);
  }
  return next;
}

}  // namespace testudo::target
