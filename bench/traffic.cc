// SPDX-License-Identifier: Apache-2.0
#include "bench/traffic.h"

#include <algorithm>

#include "base/check.h"
#include "bench/engine.h"
#include "ipsec/sa_for_test.h"

namespace testudo::bench {

Senders::Senders(const Suite& suite, std::uint32_t sas)
    : transforms_(std::move(*ipsec::Transforms::make(ipsec::engine_for_test(), rng_, sas))), next_(sas, 1) {
  for (std::uint32_t sa = 0; sa < sas; ++sa) {
    ipsec::SaParameters p = parameters_of(suite, Direction::kOutbound, sa);
    std::swap(p.local, p.remote);
    auto made = factory_.create(std::move(p));
    CHECK(made.has_value());
    sas_.push_back(std::move(*made));
  }
}

void Senders::seal(std::span<TurnPacket> packets, std::vector<std::uint8_t>& room) {
  const std::size_t size = ipsec::encap_size(*sas_[0], packets[0].bytes, packets[0].bytes.size());
  room.resize(packets.size() * size);
  std::array<ipsec::EncapRequest, kTurn> requests;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    std::uint8_t* at = room.data() + i * size;
    requests[i] = {.sa = sas_[packets[i].sa].get(),
                   .seq = SeqNo(next_[packets[i].sa]++),
                   .header = packets[i].bytes,
                   .out = at};
    packets[i].bytes = {at, size};
  }
  const auto all = std::span(requests).first(packets.size());
  for (std::size_t i = 0; i < all.size(); i += kBurst) {
    transforms_->encap(all.subspan(i, std::min(kBurst, all.size() - i)));
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
