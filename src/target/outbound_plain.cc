// SPDX-License-Identifier: Apache-2.0
// What leaves Outbound without this host's protection: what a filter permits in the clear, what the owner protects,
// and what goes back to its sender.
#include <algorithm>
#include <cstring>

#include "distributor/forwarding.h"
#include "target/outbound.h"
#include "wire/gre.h"
#include "wire/icmp.h"

namespace testudo::target {

/// Bytes of the largest packet that the SA can protect for the path to its peer.
std::size_t Outbound::inner_max(const ipsec::Sa& sa, const wire::IpView& ip, Time now) const {
  const Queue& queue = queues_[sa.tunnel().value()];
  std::size_t mtu = std::min<std::size_t>(config_.network_mtu, kSlot);
  if (queue.path_mtu != 0 && now - queue.path_mtu_since < config_.path_mtu_time) {
    mtu = std::min<std::size_t>(mtu, queue.path_mtu);
  }
  return ipsec::inner_size_max(sa, mtu, sa.transport() ? ip.protect_offset() : 0);
}

/// Says so to the application's kernel, which sends smaller ones from now on.
void Outbound::too_big(const wire::IpView& ip, std::size_t mtu) {
  drop(Drop::kTooBig);
  if (mtu == 0) return;
  wire::IcmpRoom room;
  wire::Outgoing out;
  out.body = room.data();
  out.body_size = static_cast<std::uint32_t>(wire::build_too_big(room, ip, static_cast<std::uint32_t>(mtu)));
  parts_.sink.deliver({&out, 1});
  counters_.too_big_told.add();
}

/// Copies whole segments from `index` on into memory_ and outgoing_, as many as a burst takes. Returns how many.
std::size_t Outbound::lay_out(const Segmenter& cut, std::uint32_t& index) {
  std::size_t count = 0;
  for (; index < cut.count() && count < wire::kBurst; ++index, ++count) {
    const Segment segment = cut.segment(index, headers_[0]);
    std::uint8_t* at = memory_.get() + count * kSlot;
    std::memcpy(at, segment.header.data(), segment.header.size());
    if (!segment.payload.empty())
      std::memcpy(at + segment.header.size(), segment.payload.data(), segment.payload.size());
    outgoing_[count] = wire::Outgoing{};
    outgoing_[count].body = at;
    outgoing_[count].body_size = static_cast<std::uint32_t>(segment.size());
  }
  return count;
}

void Outbound::send_clear(const wire::Packet& packet, const wire::IpView& ip, bool may_cut) {
  auto cut = Segmenter::of(packet);
  if (!cut) return drop(Drop::kMalformed);
  const std::size_t most = std::min<std::size_t>(config_.network_mtu, kSlot);
  if (cut->largest() > most) {
    const auto pieces = may_cut && cut->count() == 1 ? cut->fragments(most, ++next_ip_id_) : std::nullopt;
    if (!pieces) return too_big(ip, most);
    counters_.fragmented.add();
    cut = pieces;
  }
  flush();  // what was gathered uses the same memory
  for (std::uint32_t index = 0; index < cut->count();) {
    const std::size_t count = lay_out(*cut, index);
    parts_.sink.send_clear(std::span(outgoing_).first(count));
    counters_.clear_packets.add(count);
  }
}

/// Note 2 of the seed's table, the way back. False: there is no other owner to ask. Whether it has an SA it knows:
/// if not, the packet ends there.
bool Outbound::via_owner(const wire::Packet& packet, const wire::IpView& ip) {
  const auto* dvipa = distribution_ == nullptr ? nullptr : distribution_->find(ip.source());
  if (dvipa == nullptr || distribution_->owns(*dvipa)) return false;
  const auto* owner = distribution_->member(dvipa->owner);
  const auto cut = Segmenter::of(packet);
  if (owner == nullptr || !cut || cut->largest() > kSlot) return false;
  flush();
  const auto key =
      distributor::ForwardKey::of(dvipa->epoch, distributor::ForwardKey::kClear | distributor::ForwardKey::kReply);
  for (std::uint32_t index = 0; index < cut->count();) {
    const std::size_t count = lay_out(*cut, index);
    for (wire::Outgoing& out : std::span(outgoing_).first(count)) {
      wire::build_gre(std::span(out.head).first<wire::kGreSize>(),
                      {.key = key.field, .protocol = wire::gre_protocol_of(ip.source())});
      out.head_size = wire::kGreSize;
      out.destination = owner->data;
    }
    parts_.sink.send_xcf(std::span(outgoing_).first(count));
    counters_.via_owner.add(count);
  }
  return true;
}

}  // namespace testudo::target
