// SPDX-License-Identifier: Apache-2.0
// The stages that protected packets go through, each over the whole burst, so that what one packet needs from
// memory is on its way while others are worked on: SA, peek, connection, decision.
#include "base/check.h"
#include "distributor/forwarding.h"
#include "distributor/inbound.h"
#include "policy/inbound_check.h"
#include "wire/gre.h"
#include "wire/ip.h"

namespace testudo::distributor {
namespace {

policy::Flow flow_of(const ipsec::Peeked& peeked) {
  return {.source = peeked.source.address,
          .destination = peeked.destination.address,
          .protocol = peeked.protocol,
          .has_ports = peeked.kind == ipsec::Peeked::Kind::kTcp,
          .source_port = peeked.source.port,
          .destination_port = peeked.destination.port};
}

}  // namespace

void Inbound::run(Time now) {
  if (items_count_ == 0) return;
  look_up();
  peek_all();
  for (Item& item : std::span(items_).first(items_count_)) decide(item, now);
  authenticate_all(now);
}

/// Finds the SAs. Packets without one are dropped, the others close ranks.
void Inbound::look_up() {
  const auto items = std::span(items_).first(items_count_);
  for (const Item& item : items) parts_.sad.prefetch_sa_peek(item.spi, item.destination);
  for (Item& item : items) {
    item.sa = parts_.sad.find_inbound(item.spi, item.protocol, item.source.address, item.destination);
    if (item.sa == nullptr) continue;
    item.state = static_cast<SaState*>(item.sa->stage_state());
    __builtin_prefetch(item.state);
    parts_.transforms.prefetch_peek(*item.sa);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < items_count_; ++i) {
    Item& item = items_[i];
    if (item.state == nullptr) {  // unknown, or nobody has announced it
      drop(item.index, Drop::kUnknownSpi);
      continue;
    }
    item.seq = item.sa->esn()
                   ? ipsec::infer_sequence(item.state->ledger.top(), item.state->ledger.behind(), item.sequence_low)
                   : SeqNo(item.sequence_low);
    item.state->ledger.prefetch(item.seq);
    if (kept != i) items_[kept] = item;
    ++kept;
  }
  items_count_ = kept;
}

// Block 132: peek to the end of the TCP header.
void Inbound::peek_all() {
  for (std::size_t i = 0; i < items_count_; ++i) {
    const Item& item = items_[i];
    peeks_[i] = {.sa = item.sa,
                 .packet = item.packet,
                 .offset = item.offset,
                 .source = item.sa->remote(),
                 .destination = item.sa->local()};
    (item.sa->encrypts() ? counters_.peeked : counters_.read).add();  // note 1 of the seed's table
  }
  parts_.transforms.peek(std::span(peeks_).first(items_count_), peeked_);
  for (std::size_t i = 0; i < items_count_; ++i) {
    items_[i].peeked = peeked_[i];
    if (peeked_[i].kind == ipsec::Peeked::Kind::kUndecidable) continue;
    items_[i].hash = connections_.hash(key_of(flow_of(peeked_[i])));
    connections_.prefetch(items_[i].hash);
  }
  for (const Item& item : std::span(items_).first(items_count_)) connections_.prefetch_entry(item.hash);
}

// Block 134: is it for a distributed connection? Block 142: is it a SYN? A target decrypts what came to the same
// DVIPA that the connection is with; everything else the owner does, and may still distribute what it finds.
void Inbound::decide(Item& item, Time now) {
  const ipsec::Peeked& peeked = item.peeked;
  const bool tcp = peeked.kind == ipsec::Peeked::Kind::kTcp;
  const bool distributed = tcp && item.dvipa != nullptr && peeked.destination.address == item.dvipa->address &&
                           item.dvipa->distributes(peeked.destination.port);
  if (!distributed) return authenticate(item, Why::kFull, peeked.kind != ipsec::Peeked::Kind::kUndecidable);
  const bool syn = is_initial_syn(peeked.tcp_flags);
  Connection* connection = connections_.find(key_of(flow_of(peeked)), item.hash);
  if (connection != nullptr && stays(*connection, *item.dvipa, syn)) return decide_known(item, *connection, now);
  authenticate(item, syn ? Why::kSyn : Why::kFull, false);
}

void Inbound::decide_known(Item& item, Connection& connection, Time now) {
  const NodeId target = connection.target;
  if (target == distribution_->self()) return authenticate(item, Why::kFull, true);
  if (distribution_->target(*item.dvipa, target) == nullptr) return drop(item.index, Drop::kNoTarget);
  if (item.sa->moved(item.source) && item.source != item.state->moved_to) {
    return authenticate(item, Why::kFirst, false);
  }
  // Block 136, the tunnel check. By the tunnel of its SYN a packet goes on to the target, which checks again; by
  // another one only if the filter demands that by now.
  if (connection.tunnel != item.sa->tunnel()) {
    if (filters_ == nullptr) return drop(item.index, Drop::kNoFilter);
    const policy::Flow flow = flow_of(item.peeked);
    const auto judgement = policy::judge_selected(*filters_, flow, item.sa->tunnel());
    if (judgement.drop) {
      log_dropped(judgement, flow, now);
      return drop(item.index, *judgement.drop);
    }
  }
  // Block 138, the replay check.
  switch (item.state->ledger.check(item.seq, target, static_cast<std::uint32_t>(item.hash))) {
    case Replay::kForward:
      return forward(item, connection, 0, item.peeked.tcp_flags, now);
    case Replay::kReplay:
      return drop(item.index, Drop::kReplay);
    case Replay::kTooOld:
      return drop(item.index, Drop::kReplayTooOld);
    case Replay::kAuthenticateFirst:
      return authenticate(item, Why::kFirst, false);
  }
}

/// Puts it in line, unless its number makes that needless.
void Inbound::authenticate(Item& item, Why why, bool in_place) {
  const Replay replay =
      item.state->ledger.check(item.seq, distribution_->self(), static_cast<std::uint32_t>(item.hash));
  if (replay == Replay::kReplay) return drop(item.index, Drop::kReplay);
  if (replay == Replay::kTooOld) return drop(item.index, Drop::kReplayTooOld);
  item.why = why;
  item.in_place = in_place;
  waiting_[waiting_count_++] = static_cast<std::uint8_t>(&item - items_.data());
}

// Block 140: to the target, in GRE. The packet stays as it came; what came in UDP gets an IP header again.
void Inbound::forward(const Item& item, Connection& connection, std::uint8_t flags, std::uint8_t tcp_flags,
                      Time now) {
  item.state->ledger.forwarded(item.seq, connection.target, static_cast<std::uint32_t>(item.hash));
  connections_.note(connection, tcp_flags, item.packet.size(), now);
  wire::Outgoing& out = verdicts_[item.index].out;
  const ipsec::Sa& sa = *item.sa;
  wire::build_gre(std::span(out.head).first<wire::kGreSize>(),
                  {.key = ForwardKey::of(item.dvipa->epoch, flags).field,
                   .sequence = static_cast<std::uint32_t>(item.seq.value() >> 32),
                   .protocol = wire::gre_protocol_of(sa.local())});
  out.head_size = wire::kGreSize;
  if (item.offset == 0) {
    out.head_size += static_cast<std::uint8_t>(wire::build_ip(std::span(out.head).subspan<wire::kGreSize>(),
                                                              {.source = sa.remote(),
                                                               .destination = sa.local(),
                                                               .protocol = wire::kProtocolEsp,
                                                               .traffic_class = item.traffic_class},
                                                              item.packet.size()));
  }
  send_to(item.index, *distribution_->member(connection.target), item.packet);
  verdicts_[item.index].tunnel = sa.tunnel();
  counters_.forwarded.add();
}

void Inbound::send_to(std::size_t index, const Member& target, std::span<const std::uint8_t> body) {
  Verdict& verdict = verdicts_[index];
  verdict.kind = Verdict::Kind::kForward;
  verdict.target = target.node;
  verdict.out.body = body.data();
  verdict.out.body_size = static_cast<std::uint32_t>(body.size());
  verdict.out.destination = target.data;
  forwarded_to_[target.node.value()].add();
}

}  // namespace testudo::distributor
