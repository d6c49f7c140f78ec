// SPDX-License-Identifier: Apache-2.0
// What the owner decrypts as a whole: SYNs, numbers that the ledger does not trust, packets for this host itself,
// and what a peek could not tell.
#include <cstring>

#include "base/check.h"
#include "distributor/forwarding.h"
#include "distributor/inbound.h"
#include "policy/inbound_check.h"
#include "wire/tcp.h"

namespace testudo::distributor {
namespace {

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
  for (std::size_t from = 0; from < waiting_count_;) {
    const std::size_t count = gather(from);
    const auto requests = std::span(requests_).first(count);
    ipsec::decap(parts_.engine, requests);
    for (std::size_t i = 0; i < count; ++i) resolve(items_[waiting_[from + i]], requests[i], now);
    from += count;
  }
}

/// Fills requests_ from the items that wait, until the arena has no more room. Returns how many.
std::size_t Inbound::gather(std::size_t from) {
  std::size_t used = 0;  // bytes of the arena
  std::size_t count = 0;
  for (; from + count < waiting_count_; ++count) {
    const Item& item = items_[waiting_[from + count]];
    if (!item.in_place && used + item.esp.size() > kArena) break;
    requests_[count] = {.sa = item.sa,
                        .seq = item.seq,
                        .data = item.esp.data(),
                        .size = static_cast<std::uint32_t>(item.esp.size()),
                        .out = item.in_place ? nullptr : arena_.get() + used,
                        .authentic = false,
                        .drop = std::nullopt,
                        .inner = {}};
    if (!item.in_place) used += item.esp.size();
  }
  CHECK(count != 0);  // any single packet fits
  return count;
}

void Inbound::resolve(Item& item, const ipsec::DecapRequest& request, Time now) {
  if (item.why == Why::kSyn) counters_.authenticated_syn.add();
  if (item.why == Why::kFirst) counters_.authenticated_first.add();
  if (item.why == Why::kFull) counters_.fully_processed.add();
  if (!request.authentic) return drop(item.index, request.drop.value_or(Drop::kBadIcv));
  Opened opened;
  const std::optional<Drop> reason = judge(item, request, opened, now);  // sets the hash where the peek could not
  const Replay replay = item.state->ledger.authenticated(item.seq, static_cast<std::uint32_t>(item.hash));
  if (const auto old = drop_of(replay)) return drop(item.index, *old);
  if (reason) return refuse(item, *reason);
  route(item, opened, request.inner, now);
}

/// What is wrong with a packet whose ICV is right.
std::optional<Drop> Inbound::judge(Item& item, const ipsec::DecapRequest& request, Opened& opened, Time now) {
  if (request.drop) return request.drop;
  const auto ip = wire::parse_ipv4(request.inner);
  if (!ip) return Drop::kMalformed;
  const auto flow = policy::flow_of(*ip);
  if (!flow) return ip->is_fragment() ? Drop::kFragment : Drop::kTruncated;
  item.hash = connections_.hash(key_of(*flow));
  // Block 136, the tunnel check.
  if (filters_ == nullptr) return Drop::kNoFilter;
  const auto judgement =
      policy::judge_protected(*filters_, *wire::parse_ip(ip->packet()), *flow, item.sa->tunnel());
  if (judgement.drop) {
    log_dropped(judgement, *flow, now);
    return judgement.drop;
  }
  if (owned(flow->destination) == nullptr) return Drop::kNotForDvipa;
  opened.flow = *flow;
  opened.rule = judgement.rule;
  if (flow->protocol != wire::kProtocolTcp) return std::nullopt;
  const auto tcp = wire::parse_tcp(ip->payload());
  if (!tcp) return Drop::kTruncated;
  opened.tcp = true;
  opened.tcp_flags = tcp->flags();
  return std::nullopt;
}

// Blocks 142–146, now that the packet is known to be genuine.
void Inbound::route(Item& item, const Opened& opened, std::span<std::uint8_t> inner, Time now) {
  const policy::Flow& flow = opened.flow;
  const bool distributed =
      opened.tcp && flow.destination == item.dvipa->address && item.dvipa->distributes(flow.destination_port);
  if (!distributed) return accept(item, inner);
  const ConnectionKey key = key_of(flow);
  Connection* connection = connections_.find(key, item.hash);
  if (is_initial_syn(opened.tcp_flags) && (connection == nullptr || !stays(*connection, *item.dvipa, true))) {
    Drop reason{};
    connection = connect(key, item.hash, *item.dvipa, item.sa->tunnel(), opened.rule, now, reason);
    if (connection == nullptr) return refuse(item, reason);
  }
  if (connection == nullptr) return accept(item, inner);  // the kernel answers with RST
  if (connection->target == distribution_->self()) {
    connections_.note(*connection, opened.tcp_flags, item.esp.size(), now);
    return accept(item, inner);
  }
  if (distribution_->member(connection->target) == nullptr) return refuse(item, Drop::kNoTarget);
  // A connection of this host that a SYN of the same burst has taken elsewhere: the bytes are not as they came.
  if (item.in_place) return refuse(item, Drop::kNoConnection);
  if (item.why != Why::kSyn) counters_.established_full_decrypt.add();
  forward(item, *connection, ForwardKey::kFiltered, opened.tcp_flags, now);
}

/// Genuine, and dropped all the same: this was the number's only chance.
void Inbound::refuse(const Item& item, Drop reason) {
  item.state->ledger.seen_by_owner(item.seq);
  drop(item.index, reason);
}

void Inbound::accept(const Item& item, std::span<std::uint8_t> inner) {
  item.state->ledger.seen_by_owner(item.seq);
  if (item.in_place) return local(item.index, inner);
  std::memcpy(item.esp.data(), inner.data(), inner.size());  // from the arena, which the next burst needs
  local(item.index, item.esp.first(inner.size()));
}

}  // namespace testudo::distributor
