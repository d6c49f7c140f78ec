// SPDX-License-Identifier: Apache-2.0
// What the control thread tells the worker, applied between two bursts, and what the worker tells back.
#include <algorithm>
#include <utility>

#include "path/worker.h"
#include "wire/esp.h"
#include "wire/udp.h"

namespace testudo::path {
namespace {

// At most so many in one turn: packets must not wait for a long list.
constexpr int kCommandsPerTurn = 256;
constexpr int kOwnSaCounts = 4;  // like so many others: a ledger is made
// Events that may wait when control is slow. IKE messages beyond that are dropped: IKE retransmits.
constexpr std::size_t kUnsentMax = 4096;

}  // namespace

bool Worker::apply_commands() {
  const bool went_on = go_on();
  int applied = 0;
  while (applied < kCommandsPerTurn && std::holds_alternative<std::monostate>(unfinished_)) {
    Command command;
    if (!commands_.pop(command)) break;
    applied += std::holds_alternative<OwnSa>(command) ? kOwnSaCounts : 1;
    std::visit([this](auto& c) { apply(c); }, command);
  }
  return went_on || applied > 0;
}

void Worker::apply(InstallSa& command) {
  const SaId id = command.sa->id();
  const bool replaced = sad_.find(id) != nullptr;
  auto old = sad_.install(std::move(command.sa));
  if (old && old->id() != id)
    displace(std::move(old));
  else
    retire(std::move(old));
  if (replaced) return;
  ipsec::Sa& sa = *sad_.find(id);
  const bool owned = command.owner == config_.self;
  if (owned) own(sa.local(), command.epoch);
  if (sa.inbound()) {
    commits_.add_sa(
        id, {.dvipa = sa.local(), .epoch = command.epoch, .owner = command.owner, .window = sa.replay_window()});
    if (owned) owner_inbound_.sa_installed(sa);
    target_inbound_.sa_installed(sa, now_);
    return;
  }
  if (owned) sequence(sa, command.epoch, command.first);
  lessee_.add_sa(id, {.dvipa = sa.local(), .epoch = command.epoch, .owner = command.owner});
  target_outbound_.sa_installed(sa, now_);
}

void Worker::sequence(ipsec::Sa& sa, Epoch epoch, SeqNo first) {
  owner_inbound_.sa_installed(sa);
  sequencer_.add_sa(
      sa.id(),
      {.dvipa = sa.local(), .epoch = epoch, .first = first, .peer_window = sa.replay_window(), .esn = sa.esn()});
}

void Worker::apply(RemoveSa& command) {
  auto sa = sad_.remove(command.id);
  if (!sa) return;
  owner_inbound_.sa_removed(command.id);
  commits_.remove_sa(command.id);
  sequencer_.remove_sa(command.id);
  lessee_.remove_sa(command.id);
  retire(std::move(sa));
}

void Worker::apply(MoveSa& command) {
  displace(sad_.move(command.id, {.remote = command.remote,
                                  .local_port = command.local_port,
                                  .udp_encapsulation = command.udp_encapsulation}));
  if (ipsec::Sa* sa = sad_.find(command.id)) owner_inbound_.sa_moved(*sa);
}

/// Another SA with the same SPI and addresses has made room: it goes from the stages as well.
void Worker::displace(std::unique_ptr<ipsec::Sa> sa) {
  if (!sa) return;
  owner_inbound_.sa_removed(sa->id());
  commits_.remove_sa(sa->id());
  retire(std::move(sa));
}

void Worker::apply(SetFilters& command) {
  auto old = std::exchange(filters_, std::move(command.table));
  target_outbound_.set_filters(filters_.get());
  target_inbound_.set_tables(distribution_.get(), filters_.get());
  owner_inbound_.set_filters(filters_.get());
  if (old) emit(Retired{.sa = nullptr, .table = std::move(old), .ports = {}});
}

void Worker::apply(SetDistribution& command) {
  auto old = std::exchange(distribution_, std::move(command.table));
  target_inbound_.set_tables(distribution_.get(), filters_.get());
  target_outbound_.set_distribution(distribution_.get());
  owner_inbound_.set_distribution(distribution_.get());
  if (old) emit(Retired{.sa = nullptr, .table = std::move(old), .ports = {}});
}

void Worker::apply(SetDvipaPorts& command) {
  ++generation_;
  DvipaPorts* ports = ports_of(command.dvipa);
  if (ports == nullptr)
    ports = &dvipa_ports_.emplace_back(DvipaPorts{.dvipa = command.dvipa, .ike = {}, .nat_t = {}});
  Retired old;
  old.ports[0] = std::exchange(ports->ike, std::move(command.ike));
  if (!command.keep_nat_t) old.ports[1] = std::exchange(ports->nat_t, std::move(command.nat_t));
  if (!ports->ike && !ports->nat_t) {
    std::erase_if(dvipa_ports_, [&](const DvipaPorts& p) { return p.dvipa == command.dvipa; });
  }
  if (old.ports[0] || old.ports[1]) emit(std::move(old));
}

void Worker::apply(SetCeiling& command) { sequencer_.set_ceiling(command.sa, command.last); }

void Worker::apply(SendIke& command) {
  const IkeDatagram& datagram = command.datagram;
  const DvipaPorts* ports = ports_of(datagram.local.address);
  const bool nat_t = datagram.local.port == wire::kNatTraversalPort;
  io::PacketPort* port = ports == nullptr ? nullptr : nat_t ? ports->nat_t.get() : ports->ike.get();
  if (port == nullptr) return drops_.count(Drop::kPortFull);
  wire::Outgoing out;
  // A keepalive is the one byte 0xff and carries no marker (RFC 3948 section 2.3).
  const bool keepalive = datagram.payload.size() == 1 && datagram.payload[0] == 0xff;
  out.head_size = nat_t && !keepalive ? wire::kNonEspMarkerSize : 0;
  out.body = datagram.payload.data();
  out.body_size = static_cast<std::uint32_t>(datagram.payload.size());
  out.source = datagram.local;
  out.destination = datagram.remote;
  port->send({&out, 1});
}

void Worker::apply(ForgetNode& command) { owner_inbound_.node_died(command.node); }

void Worker::apply(ListConnections&) { emit(Connections{.list = owner_inbound_.connections().list(now_)}); }

void Worker::apply(ListLeases&) {
  Leases leases;
  sequencer_.list(leases.list);
  emit(std::move(leases));
}

void Worker::retire(std::unique_ptr<ipsec::Sa> sa) {
  if (!sa) return;
  transforms_->forget(*sa);
  emit(Retired{.sa = std::move(sa), .table = nullptr, .ports = {}});
}

void Worker::emit(Event event) {
  if (unsent_events_.empty() && events_.has_room()) {
    CHECK(events_.push(std::move(event)));
    return;
  }
  if (std::holds_alternative<IkeReceived>(event) && unsent_events_.size() >= kUnsentMax) {
    return drops_.count(Drop::kBridgeFull);
  }
  unsent_events_.push_back(std::move(event));
}

/// As far as there is room: what has to wait may be left out (policy/flow_log.h), the other events may not.
void Worker::send_flow_records() {
  while (!flow_log_.empty() && unsent_events_.empty() && events_.has_room()) {
    FlowLogged event;
    flow_log_.take(event.record);
    CHECK(events_.push(std::move(event)));
  }
}

void Worker::send_events() {
  while (!unsent_events_.empty()) {
    if (!events_.has_room()) return;
    CHECK(events_.push(std::move(unsent_events_.front())));
    unsent_events_.pop_front();
  }
}

}  // namespace testudo::path
