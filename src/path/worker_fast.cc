// SPDX-License-Identifier: Apache-2.0
// The worker's fast messages: sequence leases, replay commits and path MTUs, to other members and to itself.
#include "path/worker.h"

namespace testudo::path {
namespace {

/// An ICMP error is believed when the packet in it is one of the last that were sent: so many numbers back.
constexpr std::uint32_t kRecentNumbers = 1 << 16;

}  // namespace

bool Worker::receive_fast() {
  if (!ports_.xcf_fast || !distribution_) return false;
  const auto burst = std::span(burst_).first(ports_.xcf_fast->receive(burst_));
  for (const wire::Packet& packet : burst) {
    const distributor::Member* member = distribution_->member_at(packet.source.address);
    if (member == nullptr) {
      drops_.count(Drop::kNotXcf);
      continue;
    }
    handle_fast(packet.bytes(), member->node);
  }
  if (!lessee_.granted().empty()) target_outbound_.retry(now_);
  return !burst.empty();
}

// `from`: who has sent it, by its XCF address. A message that names another sender is not listened to.
void Worker::handle_fast(std::span<const std::uint8_t> bytes, NodeId from) {
  const auto message = wire::FastMessage::parse(bytes);
  if (!message) return drops_.count(Drop::kMalformed);
  const wire::FastHeader& header = message->header();
  if (header.sender != from) return drops_.count(Drop::kNotXcf);
  const distributor::Dvipa* dvipa = distribution_->find(header.dvipa);
  const bool own = from == config_.self && distribution_->is_local(header.dvipa);
  if (own) return handle_own(*message);
  if (dvipa == nullptr) return drops_.count(Drop::kNotForDvipa);
  if (dvipa->epoch != header.epoch) return drops_.count(Drop::kStaleEpoch);
  switch (header.type) {
    case wire::FastType::kLeaseRequest:
    case wire::FastType::kLeaseReturn:
      return sequencer_.receive(*message, now_, outbox_);
    case wire::FastType::kLeaseGrant:
    case wire::FastType::kLeaseRecall:
    case wire::FastType::kLeaseOffer:
      if (dvipa->owner != from) return drops_.count(Drop::kStaleEpoch);
      return lessee_.receive(*message, now_);
    case wire::FastType::kReplayCommit:
      return owner_inbound_.commit(*message);
    case wire::FastType::kPathMtu:
      if (dvipa->owner != from) return drops_.count(Drop::kStaleEpoch);
      for (std::size_t i = 0; i < message->count(); ++i) {
        const auto entry = message->entry<wire::PathMtu>(i);
        (void)target_outbound_.set_path_mtu(entry.sa, entry.mtu, now_);
      }
  }
}

/// Of SAs with this host's own address: nobody else has them, but their leases work as all do.
void Worker::handle_own(const wire::FastMessage& message) {
  switch (message.header().type) {
    case wire::FastType::kLeaseRequest:
    case wire::FastType::kLeaseReturn:
      return sequencer_.receive(message, now_, outbox_);
    case wire::FastType::kLeaseGrant:
    case wire::FastType::kLeaseRecall:
    case wire::FastType::kLeaseOffer:
      return lessee_.receive(message, now_);
    case wire::FastType::kReplayCommit:
    case wire::FastType::kPathMtu:
      return;
  }
}

/// All hosts that may send on the SA have to know. Those that miss the message meet the same router again.
void Worker::learn_path_mtu(const distributor::PathMtuHint& hint) {
  const auto last = sequencer_.last_granted(hint.sa);
  if (!last || static_cast<std::uint32_t>(last->value()) - hint.sequence_low >= kRecentNumbers) {
    return drops_.count(Drop::kIcmpUnverified);
  }
  if (!target_outbound_.set_path_mtu(hint.sa, hint.mtu, now_) || !distribution_) return;
  const distributor::Dvipa* dvipa = distribution_->find(sad_.find(hint.sa)->local());
  if (dvipa == nullptr) return;
  const wire::FastHeader header{.type = wire::FastType::kPathMtu,
                                .sender = config_.self,
                                .incarnation = config_.incarnation,
                                .dvipa = dvipa->address,
                                .epoch = dvipa->epoch};
  for (const distributor::Member& member : distribution_->members()) {
    if (member.node == config_.self) continue;
    outbox_.append(member.node, header, wire::PathMtu{.sa = hint.sa, .mtu = hint.mtu});
  }
}

void Worker::run_timers() {
  owner_inbound_.tick(now_);
  target_inbound_.tick(now_);
  target_outbound_.tick(now_);
  drops_.count(Drop::kUnconfirmed, accepted_hold_.expire(now_));
  flows_.age(now_);
}

// What is addressed to this node itself is handled at once and may call for an answer: until nothing more comes.
// The rest goes out in one call.
void Worker::send_fast() {
  std::array<wire::Outgoing, wire::kBurst> out;
  std::size_t count = 0;
  const auto flush = [&] {
    if (count != 0 && ports_.xcf_fast) ports_.xcf_fast->send(std::span(out).first(count));
    count = 0;
  };
  lessee_.poll(now_, outbox_);
  commits_.poll(now_, outbox_);
  sequencer_.tick(now_, outbox_);
  for (std::size_t i = 0; i < outbox_.size(); ++i) {
    const wire::FastDatagram datagram = outbox_.datagram(i);
    if (datagram.to == config_.self) {
      handle_fast(datagram.bytes, config_.self);
      sequencer_.tick(now_, outbox_);
      if (!lessee_.granted().empty()) target_outbound_.retry(now_);
      lessee_.poll(now_, outbox_);
      continue;
    }
    const distributor::Member* member = distribution_ ? distribution_->member(datagram.to) : nullptr;
    if (member == nullptr) continue;  // its link is down: as lost as on the network
    if (count == out.size()) flush();
    out[count] = wire::Outgoing{};
    out[count].body = datagram.bytes.data();
    out[count].body_size = static_cast<std::uint32_t>(datagram.bytes.size());
    out[count].source = config_.xcf_fast;
    out[count].destination = member->fast;
    ++count;
  }
  flush();
  outbox_.clear();
  sequencer_events();
}

void Worker::sequencer_events() {
  for (const sequence::SequencerEvent& event : sequencer_.events()) {
    if (event.kind == sequence::SequencerEvent::Kind::kNeedCeiling) {
      emit(NeedCeiling{.sa = event.sa, .last = event.last});
    } else {
      emit(NearExhaustion{.sa = event.sa});
    }
  }
  sequencer_.clear_events();
}

}  // namespace testudo::path
