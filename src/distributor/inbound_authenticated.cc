// SPDX-License-Identifier: Apache-2.0
// What the owner decrypts as a whole: SYNs, numbers that the ledger does not trust, packets for this host itself,
// packets that came to another address than their connection is with, and what a peek could not tell.
#include "base/check.h"
#include "distributor/forwarding.h"
#include "distributor/inbound.h"
#include "policy/inbound_check.h"
#include "wire/ip.h"
#include "wire/tcp.h"

namespace testudo::distributor {
namespace {

constexpr Duration kMovedInterval = 1s;  // between two reports about one SA

std::optional<Drop> drop_of(Replay replay) {
  switch (replay) {
    case Replay::kForward:
      return std::nullopt;
    case Replay::kTooOld:
      return Drop::kReplayTooOld;
    case Replay::kReplay:
    case Replay::kAuthenticateFirst:  // not an answer about what is authenticated
      return Drop::kReplay;
  }
  return Drop::kReplay;
}

}  // namespace

void Inbound::authenticate_all(Time now) {
  static_assert(kSlack >= ipsec::kRestoredHeader + ipsec::kEsnTailroom);
  if (waiting_count_ == 0) return;
  std::size_t used = 0;  // bytes of the arena
  for (std::size_t i = 0; i < waiting_count_; ++i) {
    const Item& item = items_[waiting_[i]];
    // With AH and extended numbers, bytes behind the packet are written for a moment: whose are they?
    const bool apart = !item.in_place || ipsec::decap_needs_out(*item.sa, item.offset) ||
                       (item.sa->shape().has_ah() && item.sa->esn());
    requests_[i] = {.sa = item.sa,
                    .seq = item.seq,
                    .data = item.packet.data(),
                    .size = static_cast<std::uint32_t>(item.packet.size()),
                    .offset = item.offset,
                    .traffic_class = item.traffic_class,
                    .source = item.sa->remote(),
                    .destination = item.sa->local(),
                    .out = apart ? arena_.get() + used : nullptr};
    if (apart) used += item.packet.size() + kSlack;
  }
  CHECK(used <= kArena);
  const auto requests = std::span(requests_).first(waiting_count_);
  parts_.transforms.decap(requests);
  for (std::size_t i = 0; i < waiting_count_; ++i) resolve(items_[waiting_[i]], requests[i], now);
}

void Inbound::resolve(Item& item, const ipsec::DecapRequest& request, Time now) {
  if (item.why == Why::kSyn) counters_.authenticated_syn.add();
  if (item.why == Why::kFirst) counters_.authenticated_first.add();
  if (item.why == Why::kFull) counters_.fully_processed.add();
  if (!request.authentic) return drop(item.index, request.drop.value_or(Drop::kBadIcv));
  const auto ip = request.drop ? std::nullopt : wire::parse_ip(request.inner);
  Opened opened;
  opened.bytes = request.inner;
  std::optional<Drop> reason = request.drop;
  if (!reason && !ip) reason = Drop::kMalformed;
  const bool fragment = !reason && ip->is_fragment();
  if (!reason && !fragment) {
    reason = judge(item, *ip, opened, now);
    if (opened.hash != 0) item.hash = opened.hash;  // the peek may not have seen the flow
  }
  const Replay replay = item.state->ledger.authenticated(item.seq, static_cast<std::uint32_t>(item.hash));
  if (const auto old = drop_of(replay)) return drop(item.index, *old);
  note_moved(item, now);
  if (!request.drop) item.inner_size = request.inner.size();
  if (reason) return refuse(item, *reason);
  if (fragment) return join(item, *ip, now);
  route(item, opened, now);
}

/// What is wrong with a packet whose ICV is right.
std::optional<Drop> Inbound::judge(const Item& item, const wire::IpView& ip, Opened& opened, Time now) {
  const auto flow = policy::flow_of(ip);
  if (!flow) return Drop::kTruncated;
  opened.flow = *flow;
  opened.hash = connections_.hash(key_of(*flow));
  // Block 136, the tunnel check.
  if (filters_ == nullptr) return Drop::kNoFilter;
  const auto judgement = policy::judge_protected(*filters_, ip, *flow, item.sa->tunnel());
  if (judgement.drop) {
    log_dropped(judgement, *flow, now);
    return judgement.drop;
  }
  opened.rule = judgement.rule;
  if (owned(flow->destination) == nullptr && !is_local(flow->destination)) return Drop::kNotForDvipa;
  if (flow->protocol != wire::kProtocolTcp) return std::nullopt;
  const auto tcp = wire::parse_tcp(ip.payload());
  if (!tcp) return Drop::kTruncated;
  opened.tcp_flags = tcp->flags();
  return std::nullopt;
}

// RFC 4301 section 7: the sender has cut the packet before it protected the pieces. Filters and targets want it
// whole.
void Inbound::join(Item& item, const wire::IpView& fragment, Time now) {
  if (!finish(item)) return drop(item.index, Drop::kLifesize);
  const auto whole = put_together(item.index, fragment, item.sa->tunnel().value(), now);
  if (!whole) return;
  Opened opened;
  opened.bytes = whole->bytes;
  if (const auto reason = judge(item, whole->ip, opened, now)) return drop(item.index, *reason);
  item.in_place = true;  // nothing came that could be forwarded as it came
  route(item, opened, now);
}

// Blocks 142–146, now that the packet is known to be genuine.
void Inbound::route(Item& item, const Opened& opened, Time now) {
  const Dvipa* dvipa = owned(opened.flow.destination);
  if (dvipa == nullptr) return accept(item, opened, now);  // another address of this host
  if (opened.tcp() && dvipa->distributes(opened.flow.destination_port)) return route_tcp(item, opened, *dvipa, now);
  if (!opened.tcp()) {
    const auto error = wire::parse_icmp_error(*wire::parse_ip(opened.bytes));
    const Connection* connection = error ? complained_of(*error) : nullptr;
    if (connection != nullptr && !connection->clear()) {
      if (!may_complain(item, *connection)) return refuse(item, Drop::kNotSelected);
      if (!finish(item)) return drop(item.index, Drop::kLifesize);
      counters_.icmp_relayed.add();
      return forward_clear(item.index, opened.bytes, *dvipa, connection->target);
    }
  }
  accept(item, opened, now);
}

/// RFC 4301 section 6.2: a peer says something about connections of its own tunnels, not about others'.
bool Inbound::may_complain(const Item& item, const Connection& connection) const {
  if (connection.tunnel == item.sa->tunnel()) return true;
  return !policy::judge_selected(*filters_, flow_of(connections_.key_of(connection)), item.sa->tunnel()).drop;
}

void Inbound::route_tcp(Item& item, const Opened& opened, const Dvipa& dvipa, Time now) {
  const ConnectionKey key = key_of(opened.flow);
  Connection* connection = connections_.find(key, opened.hash);
  if (is_initial_syn(opened.tcp_flags) && (connection == nullptr || !stays(*connection, dvipa, true))) {
    Drop reason{};
    connection = connect(key, opened.hash, dvipa, item.sa->tunnel(), opened.rule, now, reason);
    if (connection == nullptr) return refuse(item, reason);
  }
  if (connection == nullptr) return accept(item, opened, now);  // the kernel answers with RST
  if (connection->target == distribution_->self()) {
    if (!finish(item)) return drop(item.index, Drop::kLifesize);
    connections_.note(*connection, opened.tcp_flags, opened.bytes.size(), now);
    return local(item.index, opened.bytes);
  }
  if (distribution_->target(dvipa, connection->target) == nullptr) return refuse(item, Drop::kNoTarget);
  if (item.why != Why::kSyn && &dvipa == item.dvipa) counters_.established_full_decrypt.add();
  // The target has the SA of the DVIPA that the packet came to, and decrypts it itself, if the bytes are as they
  // came.
  if (&dvipa == item.dvipa && !item.in_place) {
    return forward(item, *connection, ForwardKey::kFiltered, opened.tcp_flags, now);
  }
  // Note 2 of the seed's table: it came to another address; or it was put together here. In the clear, over XCF.
  if (!finish(item)) return drop(item.index, Drop::kLifesize);
  connections_.note(*connection, opened.tcp_flags, opened.bytes.size(), now);
  forward_clear(item.index, opened.bytes, dvipa, connection->target);
}

/// The packet ends here, or goes on in the clear: its number is used, and the SA is so much older (spec D1). A
/// packet that a target decrypts is the target's to count. False: the SA may carry no more.
bool Inbound::finish(Item& item) {
  if (item.done) return true;
  item.done = true;
  item.state->ledger.seen_by_owner(item.seq);
  if (item.dvipa != nullptr) {
    accepted_[accepted_count_++] = {.dvipa = item.dvipa, .sa = item.sa->id(), .number = item.seq};
    verdicts_[item.index].accepted = item.dvipa;
  }
  return item.inner_size == 0 || item.sa->carry(item.inner_size);
}

/// Genuine, and dropped all the same: this was the number's only chance.
void Inbound::refuse(Item& item, Drop reason) {
  static_cast<void>(finish(item));
  drop(item.index, reason);
}

/// For this host, and of no connection of the table.
void Inbound::accept(Item& item, const Opened& opened, Time now) {
  if (!finish(item)) return drop(item.index, Drop::kLifesize);
  log_local(opened.flow, opened.rule, item.sa->tunnel(), opened.bytes, now);
  local(item.index, opened.bytes);
}

void Inbound::note_moved(const Item& item, Time now) {
  SaState& state = *item.state;
  if (!item.sa->moved(item.source) || item.source == state.moved_to) return;
  if (state.moved_to != Endpoint() && now - state.moved_at < kMovedInterval) return;
  state.moved_to = item.source;
  state.moved_at = now;
  moved_[moved_count_++] = {.sa = item.sa->id(), .remote = item.source};
}

}  // namespace testudo::distributor
