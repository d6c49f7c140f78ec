// SPDX-License-Identifier: Apache-2.0
#include "bench/traffic.h"

#include <algorithm>

#include "base/check.h"
#include "bench/engine.h"
#include "ipsec/esp.h"
#include "ipsec/sa_for_test.h"

namespace testudo::bench {

Senders::Senders(const Suite& suite, std::uint32_t sas)
    : engine_(ipsec::engine_for_test()), factory_(ipsec::engine_for_test(), 0x111111, rng_), next_(sas, 1) {
  for (std::uint32_t sa = 0; sa < sas; ++sa) {
    auto made = factory_.create(parameters_of(suite, Direction::kOutbound, sa));
    CHECK(made.has_value());
    sas_.push_back(std::move(*made));
  }
}

void Senders::seal(std::span<TurnPacket> packets, std::vector<std::uint8_t>& room) {
  const std::size_t size = ipsec::encap_size(sas_[0]->parameters().suite, packets[0].bytes.size());
  room.resize(packets.size() * (kOuter + size));
  std::array<ipsec::EncapRequest, kTurn> requests;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    std::uint8_t* at = room.data() + i * (kOuter + size);
    requests[i] = {.sa = sas_[packets[i].sa].get(),
                   .seq = SeqNo(next_[packets[i].sa]++),
                   .header = packets[i].bytes,
                   .payload = {},
                   .out = at + kOuter,
                   .drop = {}};
    const ipsec::SaParameters& p = requests[i].sa->parameters();
    wire::build_ipv4(std::span(at, kOuter).first<kOuter>(),
                     {.source = p.remote, .destination = p.local, .protocol = wire::kProtocolEsp}, size);
    packets[i].bytes = {at, kOuter + size};
  }
  const auto all = std::span(requests).first(packets.size());
  for (std::size_t i = 0; i < all.size(); i += kBurst) {
    ipsec::encap(*engine_, all.subspan(i, std::min(kBurst, all.size() - i)));
  }
  CHECK(std::ranges::none_of(all, [](const ipsec::EncapRequest& r) { return r.drop.has_value(); }));
}

Traffic::Traffic(Senders& senders, Direction direction, std::size_t inner_size)
    : senders_(senders), direction_(direction), inner_(ipsec::inner_packet(inner_size)) {}

const Turn& Traffic::next() {
  for (TurnPacket& packet : turn_) packet = {.sa = dice_.below(senders_.sas()), .bytes = inner_};
  if (direction_ == Direction::kInbound) senders_.seal(turn_, room_);
  return turn_;
}

}  // namespace testudo::bench
