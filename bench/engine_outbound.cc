// SPDX-License-Identifier: Apache-2.0
#include "bench/engine_outbound.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/check.h"
#include "bench/engine.h"
#include "ipsec/sa_for_test.h"
#include "wire/ipv4.h"

namespace testudo::bench {
namespace {

constexpr NodeId kNode(1);
constexpr Epoch kEpoch(7);
constexpr std::uint16_t kGrant = 0xffff;  // numbers

}  // namespace

OutboundEngine::OutboundEngine(const Case& which)
    : transforms_(std::move(*ipsec::Transforms::make(ipsec::engine_for_test(), rng_))),
      lessee_(kNode, 1, {.sas_max = which.sas}),
      outbox_(which.sas / 16 + 64),
      next_(which.sas + 1, 1),
      train_(std::make_unique<std::uint8_t[]>(kBurst * kSlot)) {
  for (std::uint32_t i = 0; i < which.sas; ++i) {
    auto sa = factory_.create(parameters_of(*which.suite, Direction::kOutbound, i));
    CHECK(sa.has_value());
    tunnel_.push_back((*sa)->tunnel());
    const SaId id = (*sa)->id();
    CHECK(sad_.install(std::move(*sa)) == nullptr);
    lessee_.add_sa(id, {.dvipa = IpAddress(kLocal), .epoch = kEpoch, .owner = kNode});
    CHECK(!lessee_.take(id, 1, now_));
    if (i % 1024 == 1023 || i + 1 == which.sas) {
      lessee_.poll(now_, outbox_);
      renew_leases();
    }
  }
}

void OutboundEngine::load(const Turn& turn) {
  renew_leases();
  room_.resize(kTurn * turn[0].bytes.size() + crypto::kLentBehind);
  for (std::size_t i = 0; i < kTurn; ++i) {
    std::uint8_t* at = room_.data() + i * turn[0].bytes.size();
    std::memcpy(at, turn[i].bytes.data(), turn[i].bytes.size());
    inputs_[i] = {.tunnel = tunnel_[turn[i].sa], .bytes = {at, turn[i].bytes.size()}};
  }
}

// What the owner's sequencer would answer.
void OutboundEngine::renew_leases() {
  for (std::size_t i = 0; i < outbox_.size(); ++i) {
    const auto message = wire::FastMessage::parse(outbox_.datagram(i).bytes);
    CHECK(message.has_value());
    if (message->header().type != wire::FastType::kLeaseRequest) continue;
    wire::FastHeader header = message->header();
    header.type = wire::FastType::kLeaseGrant;
    for (std::size_t n = 0; n < message->count(); ++n) {
      const auto request = message->entry<wire::LeaseRequest>(n);
      std::array<std::uint8_t, wire::kFastDatagramMax> buffer;
      wire::FastWriter writer(buffer, header);
      std::uint64_t& next = next_[request.sa.value()];
      CHECK(writer.append(wire::LeaseGrant{.sa = request.sa,
                                           .id = request.id,
                                           .first = SeqNo(next),
                                           .count = kGrant,
                                           .duration_us = 0xffffffff,
                                           .shared = false}));
      next += kGrant;
      lessee_.receive(*wire::FastMessage::parse(writer.bytes()), now_);
    }
  }
  outbox_.clear();
}

std::size_t OutboundEngine::run() {
  std::size_t good = 0;
  for (std::size_t i = 0; i < kTurn; i += kBurst) good += burst(std::span(inputs_).subspan(i, kBurst));
  return good;
}

// Step by step over the whole burst, each asking for what the next one reads.
void OutboundEngine::find(std::span<const Input> packets, std::span<ipsec::Sa*> sas) {
  for (const Input& packet : packets) sad_.prefetch_outbound(packet.tunnel);
  std::array<const ipsec::Sa*, kBurst> different;
  std::size_t n = 0;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    sas[i] = sad_.find_outbound(packets[i].tunnel);
    if (i != 0 && sas[i] == sas[i - 1]) continue;
    sas[i]->prefetch();
    different[n++] = sas[i];
  }
  for (const ipsec::Sa* sa : std::span(different).first(n)) {
    lessee_.prefetch_index(sa->id());
    transforms_->prefetch(*sa);
  }
  for (const ipsec::Sa* sa : std::span(different).first(n)) lessee_.prefetch(sa->id());
}

// Numbers for all packets in a row that are of one SA, at once.
bool OutboundEngine::take_numbers(SaId sa, std::size_t want) {
  if (numbers_sa_ == sa && numbers_.count != 0) return true;
  if (numbers_sa_ != SaId()) lessee_.sent(numbers_sa_, SeqNo(numbers_.first.value() - 1));
  numbers_sa_ = sa;
  numbers_ = lessee_.take(sa, static_cast<std::uint32_t>(want), now_);
  return static_cast<bool>(numbers_);
}

void OutboundEngine::gather(ipsec::Sa& sa, std::span<const Input> packets) {
  while (!packets.empty() && take_numbers(sa.id(), packets.size())) {
    const auto now = packets.first(std::min<std::size_t>(packets.size(), numbers_.count));
    for (const Input& packet : now) {
      // In place: a request that is put together elsewhere and copied costs more than all its fields.
      new (&requests_[requests_count_++]) ipsec::EncapRequest{.sa = &sa,
                                                              .seq = numbers_.first,
                                                              .header = packet.bytes,
                                                              .out = train_.get() + used_,
                                                              .lent = true,
                                                              .ip_id = next_ip_id_++};
      numbers_.first = SeqNo(numbers_.first.value() + 1);
      used_ += ipsec::encap_size(sa, packet.bytes, packet.bytes.size());
    }
    numbers_.count -= static_cast<std::uint32_t>(now.size());
    packets = packets.subspan(now.size());
  }
}

std::size_t OutboundEngine::burst(std::span<const Input> packets) {
  std::array<ipsec::Sa*, kBurst> sas;
  find(packets, sas);
  requests_count_ = used_ = 0;  // packets lie one behind the other, as in a train for the kernel
  for (std::size_t begin = 0, end = 0; begin < packets.size(); begin = end) {
    while (end < packets.size() && sas[end] == sas[begin]) ++end;
    gather(*sas[begin], packets.subspan(begin, end - begin));
  }
  const auto requests = std::span(requests_).first(requests_count_);
  transforms_->encap(requests);
  std::size_t ready = 0;
  for (const ipsec::EncapRequest& request : requests) {
    if (!request.drop) fill(request, outgoing_[ready++]);
  }
  lessee_.sent(numbers_sa_, SeqNo(numbers_.first.value() - 1));
  lessee_.poll(now_, outbox_);  // once a turn of the worker
  return ready;
}

void OutboundEngine::fill(const ipsec::EncapRequest& request, wire::Outgoing& out) {
  request.sa->count(request.header.size());
  out.traffic_class = request.traffic_class;
  out.body = request.out;
  out.body_size = request.size;
  out.source = request.sa->local_endpoint();
  out.destination = request.sa->remote_endpoint();
  out.head_size = 0;
  packets_.add();
  bytes_.add(request.header.size());
}

}  // namespace testudo::bench
