// SPDX-License-Identifier: Apache-2.0
#include "bench/engine_inbound.h"

#include <cstring>
#include <new>
#include <string>

#include "base/check.h"
#include "bench/engine.h"
#include "bench/engine_outbound.h"
#include "ipsec/sa_for_test.h"
#include "wire/esp.h"
#include "wire/ipv4.h"

namespace testudo::bench {

ipsec::SaParameters parameters_of(const Suite& suite, Direction direction, std::uint32_t sa) {
  ipsec::SaParameters p;
  p.id = SaId(sa + 1);
  p.direction = direction;
  p.spi = Spi(kFirstSpi + sa);
  p.local = IpAddress(kLocal);
  p.remote = IpAddress(kFirstRemote + sa);
  p.tunnel = "peer/" + std::to_string(sa);
  p.suite = suite.ours;
  const auto key = key_of(suite, sa);
  p.key = Secret(key.size());
  std::memcpy(p.key.mutable_bytes().data(), key.data(), key.size());
  p.replay_window = kWindow;
  return p;
}

std::unique_ptr<Contender> make_engine(const Case& which) {
  if (which.direction == Direction::kOutbound) return std::make_unique<OutboundEngine>(which);
  return std::make_unique<InboundEngine>(which);
}

InboundEngine::InboundEngine(const Case& which)
    : transforms_(std::move(*ipsec::Transforms::make(ipsec::engine_for_test(), rng_, which.sas))) {
  for (std::uint32_t i = 0; i < which.sas; ++i) {
    auto sa = factory_.create(parameters_of(*which.suite, Direction::kInbound, i));
    CHECK(sa.has_value() && sad_.install(std::move(*sa)) == nullptr);
  }
}

void InboundEngine::load(const Turn& turn) {
  room_.resize(kTurn * turn[0].bytes.size());
  for (std::size_t i = 0; i < kTurn; ++i) {
    packets_[i].data = room_.data() + i * turn[0].bytes.size();
    packets_[i].size = static_cast<std::uint32_t>(turn[i].bytes.size());
    std::memcpy(packets_[i].data, turn[i].bytes.data(), turn[i].bytes.size());
  }
}

std::size_t InboundEngine::run() {
  std::size_t good = 0;
  for (std::size_t i = 0; i < kTurn; i += kBurst) good += burst(std::span(packets_).subspan(i, kBurst));
  return good;
}

std::size_t InboundEngine::burst(std::span<const wire::Packet> packets) {
  for (const wire::Packet& packet : packets) prefetch(packet);
  std::size_t n = 0;
  for (const wire::Packet& packet : packets) n += find(packet, requests_[n]) ? 1 : 0;
  n = check(std::span(requests_).first(n));
  const auto requests = std::span(requests_).first(n);
  transforms_->decap(requests);
  std::size_t ready = 0;
  for (ipsec::DecapRequest& request : requests) ready += finish(request, outgoing_[ready]) ? 1 : 0;
  return ready;
}

// Step by step over the whole burst, each asking for what the next one reads.
void InboundEngine::prefetch(const wire::Packet& packet) {
  if (packet.size < kOuter + wire::kEspHeaderSize) return;
  const auto& ip = *reinterpret_cast<const wire::Ipv4Header*>(packet.data);
  const auto& esp = *reinterpret_cast<const wire::EspHeader*>(packet.data + kOuter);
  if (esp.spi() == asked_for_) return;
  asked_for_ = esp.spi();
  sad_.prefetch_inbound(esp.spi(), IpAddress(ip.destination.host()));
}

bool InboundEngine::find(const wire::Packet& packet, ipsec::DecapRequest& request) {
  const auto ip = wire::parse_ipv4(packet.bytes());
  if (!ip || ip->is_fragment() || ip->protocol() != wire::kProtocolEsp) return drop(Drop::kMalformed), false;
  const wire::EspHeader* header = wire::parse_esp(ip->payload());
  if (header == nullptr) return drop(Drop::kTruncated), false;
  ipsec::Sa* sa = sad_.find_inbound(header->spi(), ipsec::Protocol::kEsp, ip->source(), ip->destination());
  if (sa == nullptr) return drop(Drop::kUnknownSpi), false;
  if (sa != last_) sa->prefetch();
  last_ = sa;
  // In place: a request that is put together elsewhere and copied costs more than all its fields.
  new (&request) ipsec::DecapRequest{.sa = sa,
                                     .seq = SeqNo(header->sequence_low()),
                                     .data = packet.data,
                                     .size = packet.size,
                                     .offset = static_cast<std::uint32_t>(ip->header_size())};
  return true;
}

// The replay check. Returns how many are left.
std::size_t InboundEngine::check(std::span<ipsec::DecapRequest> requests) {
  std::size_t n = 0;
  for (ipsec::DecapRequest& request : requests) {
    request.seq = request.sa->full_sequence(static_cast<std::uint32_t>(request.seq.value()));
    if (const auto reason = request.sa->replay().check(request.seq)) {
      drop(*reason);
    } else {
      if (&requests[n] != &request) requests[n] = request;
      ++n;
    }
  }
  return n;
}

bool InboundEngine::finish(ipsec::DecapRequest& request, wire::Outgoing& out) {
  if (request.authentic) {
    // Two copies can be in one burst: only the first one is new.
    if (const auto reason = request.sa->replay().check(request.seq)) return drop(*reason), false;
    request.sa->replay().commit(request.seq);
  }
  if (request.drop) return drop(*request.drop), false;
  request.sa->count(request.inner.size());
  out.head_size = 0;
  out.body = request.inner.data();
  out.body_size = static_cast<std::uint32_t>(request.inner.size());
  decrypted_packets_.add();
  decrypted_bytes_.add(request.inner.size());
  return true;
}

}  // namespace testudo::bench
