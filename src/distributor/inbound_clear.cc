// SPDX-License-Identifier: Apache-2.0
// Making connections, and packets that came in the clear (spec A7).
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "distributor/forwarding.h"
#include "distributor/inbound.h"
#include "policy/inbound_check.h"
#include "wire/checksum.h"
#include "wire/gre.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::distributor {
namespace {

/// A peer on the same machine leaves the checksum to a device that is not there: the field holds the pseudo
/// header's sum. Applications and other hosts want it whole.
void finish_checksum(std::span<std::uint8_t> transport, std::uint8_t protocol) {
  const bool tcp = protocol == wire::kProtocolTcp;
  const std::size_t at = tcp ? offsetof(wire::TcpHeader, checksum) : offsetof(wire::UdpHeader, checksum);
  if (transport.size() < at + 2) return;
  std::uint16_t sum = wire::checksum(transport);
  if (sum == 0 && !tcp) sum = 0xffff;  // RFC 768: 0 would say that there is none
  const Be<std::uint16_t> field(sum);
  std::memcpy(transport.data() + at, &field, sizeof field);
}

}  // namespace

/// Whether the packet goes where the connection's packets went so far. A SYN may begin another connection with the
/// same addresses and ports: it does when the former one is closing, or its target cannot take it any more.
bool Inbound::stays(const Connection& connection, const Dvipa& dvipa, bool initial_syn) const {
  if (!initial_syn) return true;
  if (connection.state == ConnectionState::kClosing) return false;
  const auto ready = dvipa.ready_for(connections_.key_of(connection).dvipa.port);
  return std::ranges::find(ready, connection.target, &ReadyTarget::node) != ready.end();
}

/// Block 144. Null: `reason` says why not.
Connection* Inbound::connect(const ConnectionKey& key, std::uint64_t hash, const Dvipa& dvipa,
                             ipsec::TunnelId tunnel, const policy::Rule* rule, Time now, Drop& reason) {
  const bool clear = tunnel == ipsec::TunnelId();
  const NodeId target = choice_.choose(dvipa, key.dvipa.port,
                                       clear ? TargetChoice::Protection::kClear : TargetChoice::Protection::kIpsec);
  reason = Drop::kNoTarget;
  if (target == NodeId()) return nullptr;
  if (Connection* former = connections_.find(key, hash)) connections_.erase(*former);
  Connection* made = connections_.insert(key, hash, target, tunnel, now);
  reason = Drop::kConnectionTableFull;
  if (made == nullptr) return nullptr;
  counters_.connections_made.add();
  if (parts_.flow_log != nullptr && rule != nullptr && rule->log) {
    made->log = true;
    parts_.flow_log->begins(*rule, policy::Direction::kInbound, flow_of(key));
  }
  return made;
}

void Inbound::log_dropped(const policy::Judgement& judgement, const policy::Flow& flow, Time now) {
  if (parts_.flow_log == nullptr || judgement.rule == nullptr || !judgement.rule->log) return;
  parts_.flow_log->dropped(*judgement.rule, policy::Direction::kInbound, flow, *judgement.drop, now);
}

/// What ends here and is no connection of the table. The log has it once per flow, as the table has connections.
void Inbound::log_local(const policy::Flow& flow, const policy::Rule* rule, ipsec::TunnelId tunnel,
                        std::span<const std::uint8_t> bytes, Time now) {
  if (parts_.flows == nullptr || rule == nullptr || !rule->log) return;
  const auto packet = policy::FlowPacket::of(*wire::parse_ip(bytes));
  const policy::FlowKey key{flow, tunnel, policy::Direction::kInbound};
  (void)parts_.flows->decide(key, packet, *filters_, now, [rule] { return policy::Judgement{std::nullopt, rule}; });
}

void Inbound::clear_one(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip,
                        bool checksum_missing, Time now) {
  const Dvipa* dvipa = owned(ip.destination());
  if (dvipa == nullptr) return clear_for_gateway(index, ip);
  const auto flow = policy::flow_of(ip);
  if (!flow) return drop(index, Drop::kTruncated);
  if (clear_error(index, bytes, ip, *dvipa)) return;
  if (filters_ == nullptr) return drop(index, Drop::kNoFilter);
  const auto judgement = policy::judge_clear(*filters_, *flow);
  if (judgement.drop) {
    log_dropped(judgement, *flow, now);
    return drop(index, *judgement.drop);
  }
  const bool checked = flow->protocol == wire::kProtocolTcp || flow->protocol == wire::kProtocolUdp;
  if (checksum_missing && checked) finish_checksum(bytes.subspan(ip.header_size()), flow->protocol);
  if (flow->protocol != wire::kProtocolTcp || !dvipa->distributes(flow->destination_port)) {
    log_local(*flow, judgement.rule, ipsec::TunnelId(), bytes, now);
    return local(index, bytes);
  }
  clear_tcp(index, bytes, ip, *flow, judgement.rule, *dvipa, now);
}

void Inbound::clear_tcp(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip,
                        const policy::Flow& flow, const policy::Rule* rule, const Dvipa& dvipa, Time now) {
  const auto tcp = wire::parse_tcp(ip.payload());
  if (!tcp) return drop(index, Drop::kTruncated);
  const ConnectionKey key = key_of(flow);
  const std::uint64_t hash = connections_.hash(key);
  Connection* connection = connections_.find(key, hash);
  if (tcp->is_initial_syn() && (connection == nullptr || !stays(*connection, dvipa, true))) {
    Drop reason{};
    connection = connect(key, hash, dvipa, ipsec::TunnelId(), rule, now, reason);
    if (connection == nullptr) return drop(index, reason);
  }
  if (connection == nullptr) {  // the kernel answers with RST
    log_local(flow, rule, ipsec::TunnelId(), bytes, now);
    return local(index, bytes);
  }
  connections_.note(*connection, tcp->flags(), bytes.size(), now);
  if (connection->target == distribution_->self()) return local(index, bytes);
  if (distribution_->target(dvipa, connection->target) == nullptr) return drop(index, Drop::kNoTarget);
  forward_clear(index, bytes, dvipa, connection->target);
}

/// To a target that need not ask its filters any more.
void Inbound::forward_clear(std::size_t index, std::span<const std::uint8_t> bytes, const Dvipa& dvipa,
                            NodeId target) {
  wire::Outgoing& out = verdicts_[index].out;
  const ForwardKey key = ForwardKey::of(dvipa.epoch, ForwardKey::kFiltered | ForwardKey::kClear);
  wire::build_gre(std::span(out.head).first<wire::kGreSize>(),
                  {.key = key.field, .protocol = wire::gre_protocol_of(dvipa.address)});
  out.head_size = wire::kGreSize;
  send_to(index, *distribution_->member(target), bytes);
  counters_.forwarded_clear.add();
}

}  // namespace testudo::distributor
