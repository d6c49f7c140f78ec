// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/owner.h"

#include <algorithm>

#include "distributor/forwarding.h"
#include "ipsec/replay_window.h"
#include "sim/protocol/host.h"
#include "sim/protocol/world.h"

namespace testudo::sim::protocol {
namespace {

using distributor::Replay;
using distributor::ReplayLedger;
constexpr Duration kAnnounceFirst = 2ms, kAnnounceMost = 500ms;

}  // namespace

Owner::Owner(World& world, Host& host, Epoch epoch)
    : world_(world),
      host_(host),
      epoch_(epoch),
      sequencer_(host.id(), world.plan().sequencer),
      recovery_(world.written().witnesses()),
      journal_(epoch),
      version_(world.written().witnesses_version()),
      memory_(world.plan().pending_groups) {
  members_[host.id()] = host.life();
}

void Owner::begin() {
  for (const Tunnel& tunnel : world_.tunnels()) add_sequenced(tunnel.outbound);
  world_.moves_dvipa_to(host_.id(), epoch_);
  on_report(host_.report());
  announce(kAnnounceFirst);
  give_up_late(2 * world_.plan().detection);
}

/// The sequencer goes on at the ceiling that the facility held when it gave the ownership.
void Owner::add_sequenced(SaId sa) {
  const std::uint64_t ceiling = world_.ceiling_at_takeover(sa).value();
  sequencer_.add_sa(sa, {.dvipa = kDvipa,
                         .epoch = epoch_,
                         .first = SeqNo(std::max(world_.plan().outbound_first, ceiling + 1)),
                         .peer_window = world_.plan().peer_window,
                         .esn = world_.plan().esn});
}

// ---- takeover of the replay windows ----

void Owner::on_report(const distributor::MemberReport& report) {
  recovery_.report(report);
  if (report.from.node != host_.id()) on_join(report.from.node, report.from.incarnation);
  take_over();
}

void Owner::give_up_late(Duration after) {
  world_.after(after, [&world = world_, id = host_.id(), epoch = epoch_] {
    world.host(id).input([&world, id, epoch] {
      Owner* owner = world.owner_role(id, epoch);
      if (owner == nullptr || owner->taken_over_) return;
      for (const NodeId node : owner->recovery_.missing()) owner->recovery_.gone(node);
      owner->take_over();
    });
  });
}

void Owner::take_over() {
  if (taken_over_ || !recovery_.done()) return;
  taken_over_ = true;
  for (std::uint32_t i = 0; i < world_.tunnels().size(); ++i) {
    const SaId sa = world_.tunnels()[i].inbound;
    if (auto known = recovery_.window(sa)) {
      // An SA that begins near 2^32 stands for one that was used for long: its high half is known, whoever heard
      // it.
      known->top = std::max(known->top, SeqNo(world_.plan().inbound_first - 1));
      world_.tell(host_.name(), "goes on with SA {} at {}, {} and older are seen", sa.value(), known->top.value(),
                  known->floor.value());
      ledgers_.emplace(sa, ReplayLedger(world_.plan().our_window, ledger_config(), *known));
    } else if (sa == SaId()) {
      world_.replace(i);  // nothing to take over yet
    } else {
      close(i);
    }
  }
  choose_keeper();
}

void Owner::close(std::uint32_t tunnel) {
  const SaId sa = world_.tunnels()[tunnel].inbound;
  world_.tell(host_.name(), "closes SA {}", sa.value());
  closed_.push_back(sa);
  world_.replace(tunnel);
}

distributor::ReplayLedgerConfig Owner::ledger_config() {
  return {.size = world_.plan().ledger, .memory = &memory_};
}

void Owner::add_inbound(std::uint32_t tunnel) {
  const SaId sa = world_.tunnels()[tunnel].inbound;
  ledgers_.emplace(sa, ReplayLedger(world_.plan().our_window, ledger_config()));
  journal_.added(sa);
  world_.judge().receives(sa, epoch_, true);
}

// ---- the journal ----

/// The first by rank that is there.
void Owner::choose_keeper() {
  NodeId keeper;
  for (const NodeId node : world_.nodes()) {
    if (node != host_.id() && members_.contains(node) && keeper == NodeId()) keeper = node;
  }
  world_.tell(host_.name(), "its keeper is host {}", keeper.value());
  journal_.keep_with(keeper, snapshot());
}

std::vector<distributor::WindowReport> Owner::snapshot() const {
  std::vector<distributor::WindowReport> reports;
  for (const auto& [sa, ledger] : ledgers_) reports.push_back(ledger.report(sa, world_.plan().our_window));
  return reports;
}

void Owner::on_kept(NodeId from, std::uint32_t copy, std::uint64_t serial) {
  journal_.acknowledged(from, copy, serial);
}

/// One write at a time; its answer says what the facility holds.
void Owner::store() {
  const auto wanted = journal_.wanted();
  if (storing_ || !wanted) return;
  storing_ = true;
  journal_.storing(*wanted);
  world_.store(host_, epoch_, version_, *wanted, [&world = world_, id = host_.id(), epoch = epoch_](bool answered) {
    Owner* owner = world.owner_role(id, epoch);
    if (owner == nullptr) return;
    owner->storing_ = false;
    if (answered) owner->on_stored();
  });
}

void Owner::on_stored() {
  if (world_.written().epoch() != epoch_) return;  // the answer says that it is the owner no more
  version_ = world_.written().witnesses_version();
  if (world_.written().witnesses().epoch != epoch_) return;
  journal_.stored(world_.written().witnesses());
  for (const auto& [node, life] : members_) welcome(node);
  if (told_active_) return;
  told_active_ = true;
  for (const SaId sa : closed_) world_.judge().receives(sa, epoch_, false);
  for (const auto& [sa, ledger] : ledgers_) world_.judge().receives(sa, epoch_, true);
}

void Owner::welcome(NodeId node) {
  if (!journal_.may_forward(node)) return;
  world_.send(host_.id(), node,
              [epoch = epoch_, life = members_[node]](Host& host) { host.welcomed(epoch, life); });
}

void Owner::deliver_safe() {
  while (!held_.empty() && journal_.is_safe(held_.front().ticket)) {
    const Held held = held_.front();
    held_.pop_front();
    world_.accepted(held.packet, held.number, host_, epoch_);
  }
}

/// Tells everybody who has not joined. Repeated ever more rarely: who comes later asks.
void Owner::announce(Duration again) {
  for (NodeId node : world_.nodes()) {
    if (members_.contains(node)) continue;
    world_.send(host_.id(), node,
                [epoch = epoch_, owner = host_.id()](Host& host) { host.on_asked(epoch, owner); });
  }
  if (again > kAnnounceMost) return;
  world_.after(again, [&world = world_, id = host_.id(), epoch = epoch_, again] {
    world.host(id).input([&world, id, epoch, again] {
      if (Owner* owner = world.owner_role(id, epoch)) owner->announce(again * 2);
    });
  });
}

// ---- targets ----

void Owner::on_join(NodeId node, std::uint32_t life) {
  const auto known = members_.find(node);
  if (known != members_.end() && known->second > life) return;  // a late one
  if (known != members_.end() && known->second < life) member_gone(node);
  members_[node] = life;
  journal_.target_joined({node, life});
  if (journal_.keeper() == NodeId() && taken_over_) choose_keeper();
  welcome(node);
}

void Owner::on_gone(NodeId node, std::uint32_t life) {
  const auto known = members_.find(node);
  if (known == members_.end() || known->second != life) return;
  recovery_.gone(node);
  member_gone(node);
  take_over();
}

void Owner::member_gone(NodeId node) {
  world_.tell(host_.name(), "host {} is gone", node.value());
  members_.erase(node);
  memory_.node_died(node);
  journal_.target_gone(node, snapshot());
  if (taken_over_ && journal_.keeper() == node) choose_keeper();
  for (auto& [flow, target] : connections_) {
    if (target == node) target = choose();
  }
}

NodeId Owner::choose() {
  auto member = members_.begin();
  std::advance(member, world_.random(members_.size()));
  return member->first;
}

void Owner::reassign() {
  if (connections_.empty()) return;
  auto connection = connections_.begin();
  std::advance(connection, world_.random(connections_.size()));
  connection->second = choose();
}

// ---- inbound: as distributor/inbound_stages.cc and inbound_authenticated.cc ----

bool Owner::is_connection(const EspPacket& packet) const { return packet.flow < world_.plan().flows; }

void Owner::on_packet(const EspPacket& packet) {
  const auto found = ledgers_.find(packet.sa);
  if (!active() || found == ledgers_.end()) return;  // unknown, or closed
  ReplayLedger& ledger = found->second;
  const std::uint32_t window = std::max(world_.plan().ledger / 2, 2 * world_.plan().our_window);
  const SeqNo number =
      world_.plan().esn ? ipsec::infer_sequence(ledger.top(), window, packet.low) : SeqNo(packet.low);
  const auto connection = connections_.find({packet.tunnel, packet.flow});
  if (connection == connections_.end() || connection->second == host_.id()) {
    return authenticate(packet, number, ledger);
  }
  switch (ledger.check(number, connection->second, hash(packet))) {
    case Replay::kForward:
      return forward(packet, number, connection->second, ledger);
    case Replay::kAuthenticateFirst:
      return authenticate(packet, number, ledger);
    case Replay::kReplay:
    case Replay::kTooOld:
      return;
  }
}

void Owner::authenticate(const EspPacket& packet, SeqNo number, ReplayLedger& ledger) {
  const Replay before = ledger.check(number, host_.id(), hash(packet));
  if (before == Replay::kReplay || before == Replay::kTooOld) return;
  if (!packet.authentic(number)) return;
  if (ledger.authenticated(number, hash(packet)) == Replay::kForward) route(packet, number, ledger);
}

void Owner::route(const EspPacket& packet, SeqNo number, ReplayLedger& ledger) {
  if (is_connection(packet)) {
    const NodeId target = connections_.try_emplace({packet.tunnel, packet.flow}, choose()).first->second;
    if (target != host_.id()) return forward(packet, number, target, ledger);
  }
  ledger.seen_by_owner(number);
  held_.push_back({journal_.accepted(packet.sa, number), packet, number});
}

void Owner::forward(const EspPacket& packet, SeqNo number, NodeId target, ReplayLedger& ledger) {
  if (!journal_.may_forward(target)) return;
  ledger.forwarded(number, target, hash(packet));
  const std::uint32_t key = distributor::ForwardKey::of(epoch_, 0).field;
  const auto high = static_cast<std::uint32_t>(number.value() >> 32);
  world_.send(host_.id(), target,
              [from = host_.id(), key, high, packet](Host& host) { host.on_forward(from, key, high, packet); });
}

void Owner::on_fast(const wire::FastMessage& message) {
  const wire::FastHeader& header = message.header();
  if (header.type != wire::FastType::kReplayCommit) {
    return sequencer_.receive(message, host_.clock(), host_.outbox());
  }
  if (header.epoch != epoch_) return;
  for (std::size_t i = 0; i < message.count(); ++i) {
    const auto report = message.entry<wire::ReplayCommit>(i);
    const auto ledger = ledgers_.find(report.sa);
    if (ledger != ledgers_.end()) ledger->second.commit(header.sender, report);
  }
}

bool Owner::would_accept(SaId sa, SeqNo number) const {
  const auto found = ledgers_.find(sa);
  if (!active() || found == ledgers_.end()) return false;
  const Replay replay = found->second.check(number, NodeId(), 0);
  return replay != Replay::kReplay && replay != Replay::kTooOld;
}

// ---- outbound ----

void Owner::turn() {
  sequencer_.tick(host_.clock(), host_.outbox());
  for (const sequence::SequencerEvent& event : sequencer_.events()) {
    if (event.kind != sequence::SequencerEvent::Kind::kNeedCeiling) continue;
    world_.reserve(host_, epoch_, event.sa, event.last,
                   [this, event] { sequencer_.set_ceiling(event.sa, event.last); });
  }
  sequencer_.clear_events();
  for (const distributor::ReplayRecord& record : journal_.poll(host_.clock())) {
    world_.send(host_.id(), journal_.keeper(),
                [from = host_.id(), record](Host& host) { host.on_record(from, record); });
  }
  deliver_safe();
  store();
}

}  // namespace testudo::sim::protocol
