// SPDX-License-Identifier: Apache-2.0
#include "node/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/flow_line.h"
#include "node/tables.h"
#include "node/worker_config.h"

namespace testudo::node {
namespace {

constexpr Duration kListenerPoll = 150ms;  // spec A4: a target is out within a second
constexpr Duration kUseSample = 20ms;

vipa::MemberRecord member_record(const NodeConfig& config) {
  return {.name = config.name,
          .id = NodeId(0),
          .xcf_address = config.xcf.address,
          .control_port = config.xcf.control_port,
          .data_port = config.xcf.data_port,
          .fast_port = config.xcf.fast_port};
}

}  // namespace

Node::Node(const NodeConfig& config, World world)
    : config_(config),
      world_(world),
      membership_(
          world.facility, world.executor,
          {.cluster = config.cluster, .self = member_record(config), .session_ttl = config.facility.session_ttl},
          membership_events()),
      ownership_(world.facility, world.executor, {.cluster = config.cluster, .definition = config.definition},
                 ownership_events()),
      ceilings_(
          world.facility, world.executor, vipa::key_prefix(config.cluster),
          [this](IpAddress dvipa) { return ownership_.owner_key(dvipa); },
          [this](SaId sa, SeqNo last) { world_.plane.submit(path::SetCeiling{.sa = sa, .last = last}); },
          [this](const std::string& line) { world_.log.warning("{}", line); }) {}

Node::~Node() { *alive_ = false; }

// ---- joining ----

void Node::start() {
  facility_since_ = world_.executor.now();
  world_.facility.on_reachable([this](bool reachable) {
    facility_reachable_ = reachable;
    facility_since_ = world_.executor.now();
    if (reachable)
      world_.log.info("the coupling facility answers again");
    else
      world_.log.warning(
          "the coupling facility does not answer: traffic goes on; no takeover, no new member, and no "
          "sequence numbers beyond those set aside");
  });
  membership_.start();
}

vipa::MembershipEvents Node::membership_events() {
  return {.ready = [this](const vipa::Identity& self) { ready(self); },
          .session_lost =
              [this] {
                world_.log.error(
                    "the session with the coupling facility is lost: this node owns nothing until it is back");
                ownership_.session_lost();
              },
          .failed =
              [this](const Error& error) {
                if (failed_) failed_(error);
              },
          .joined =
              [this](const vipa::MemberRecord& member) {
                world_.bus.add_member({.name = member.name, .control = {member.xcf_address, member.control_port}});
              },
          .left =
              [this](const std::string& name) {
                world_.log.info("{} has left the cluster", name);
                world_.bus.remove_member(name);
              },
          .note = [this](const std::string& line) { world_.log.info("{}", line); }};
}

void Node::ready(const vipa::Identity& self) {
  world_.log.info("member {} of cluster {} as number {}, incarnation {}", self.name, config_.cluster,
                  self.id.value(), self.incarnation);
  if (!factory_) {
    if (auto begun = begin(self); !begun) {
      if (failed_) failed_(begun.error());
      return;
    }
  }
  ownership_.start(self);
}

Result<void> Node::begin(const vipa::Identity& self) {
  factory_ = std::make_unique<ipsec::SaFactory>(self.incarnation);
  local_sas_.emplace(LocalSas::Options{.report_interval = config_.lifesize.report_interval}, *factory_,
                     world_.plane, world_.key_log);
  readiness_.emplace(self.id);
  owner_.emplace(OwnerRole::Parts{.config = config_,
                                  .executor = world_.executor,
                                  .rng = world_.rng,
                                  .bus = world_.bus,
                                  .plane = world_.plane,
                                  .local_sas = *local_sas_,
                                  .ceilings = ceilings_,
                                  .ownership = ownership_,
                                  .readiness = *readiness_,
                                  .ike = world_.ike,
                                  .log = world_.log,
                                  .self = self.id,
                                  .tables_changed = [this] { publish_soon(); },
                                  .manual_expired = [this](SaId sa) { manual_->expired(sa); }});
  manual_.emplace(ManualSas::Parts{.config = config_,
                                   .executor = world_.executor,
                                   .rng = world_.rng,
                                   .ceilings = ceilings_,
                                   .owner = *owner_,
                                   .log = world_.log});
  shadow_.emplace(ShadowRole::Parts{.executor = world_.executor,
                                    .bus = world_.bus,
                                    .local_sas = *local_sas_,
                                    .log = world_.log,
                                    .tables_changed = [this] { publish_soon(); },
                                    .dvipas_changed = [this] { steer(); }});
  filters_.emplace(factory_->tunnels());
  filters_->accept_icmp_errors(config_.ipsec.accept_icmp_errors);
  if (auto started = world_.plane.start(self, [this](path::Event event) { worker_event(std::move(event)); });
      !started) {
    return started;
  }
  steer();  // what a former run has left is replaced
  world_.bus.start(hello(), bus_events());
  if (world_.ike != nullptr) {
    if (auto listening = world_.ike->start(*owner_); !listening) return listening;
  }
  every(kListenerPoll, &Node::poll_listeners);
  every(kUseSample, &Node::sample_use);
  return {};
}

xcf::v1::Hello Node::hello() const {
  xcf::v1::Hello hello;
  hello.set_version(xcf::kProtocolVersion);
  hello.set_cluster(config_.cluster);
  hello.set_node(config_.name);
  hello.set_node_id(membership_.identity()->id.value());
  hello.set_xcf_address(config_.xcf.address.to_bytes());
  hello.set_data_port(config_.xcf.data_port);
  hello.set_fast_port(config_.xcf.fast_port);
  hello.set_ipsec(true);
  hello.set_distributed_ipsec(true);
  hello.set_incarnation(membership_.identity()->incarnation);
  return hello;
}

void Node::every(Duration period, void (Node::*task)()) {
  world_.executor.run_after(period, [this, period, task, alive = alive_] {
    if (!*alive || stopped_) return;
    (this->*task)();
    every(period, task);
  });
}

void Node::stop() {
  if (stopped_) return;
  stopped_ = true;
  membership_.leave();
  if (auto cleared = world_.host.clear({.network = config_.interfaces.network,
                                        .tun = config_.interfaces.tun,
                                        .xcf = config_.interfaces.xcf,
                                        .dvipas = steered_});
      !cleared) {
    world_.log.warning("{}", cleared.error().message);
  }
}

// ---- ownership ----

vipa::OwnershipEvents Node::ownership_events() {
  return {.became_owner =
              [this](const vipa::Acquired& acquired) {
                owner_->became_owner(acquired.dvipa, acquired.epoch);
                manual_->became_owner(acquired.dvipa);
                steer();
              },
          .lost =
              [this](IpAddress dvipa, const std::string& reason) {
                world_.log.error("no longer owner of {}: {}", dvipa.to_string(), reason);
                owner_->lost(dvipa);
                manual_->lost(dvipa);
                steer();
              },
          .changed = [this](const vipa::DvipaState& state) { ownership_changed(state); },
          .note = [this](const std::string& line) { world_.log.info("{}", line); }};
}

void Node::ownership_changed(const vipa::DvipaState& state) {
  if (shadow_) shadow_->epoch_seen(state.address, state.epoch);
  if (owner_ && state.role == vipa::Role::kOwner) owner_->backups_changed(state.address);
}

// ---- XCF ----

xcf::BusEvents Node::bus_events() {
  return {
      .up = [this](const xcf::v1::Hello& hello) { link_up(hello); },
      .down = [this](const std::string& node, const std::string& reason) { link_down(node, reason); },
      .received = [this](const std::string& node, const xcf::v1::Envelope& message) { received(node, message); },
      .refused = [this](
                     const std::string& who,
                     const std::string& reason) { world_.log.error("XCF link with {} refused: {}", who, reason); }};
}

void Node::link_up(const xcf::v1::Hello& hello) {
  world_.log.info("XCF link with {} is up", hello.node());
  links_[hello.node()] = {.hello = hello, .since = world_.executor.now()};
  owner_->link_up(hello);
  shadow_->link_up(hello.node());
  publish_soon();
}

void Node::link_down(const std::string& node, const std::string& reason) {
  const auto found = links_.find(node);
  if (found == links_.end()) return;
  world_.log.warning("XCF link with {} is down: {}", node, reason);
  const NodeId id(static_cast<std::uint16_t>(found->second.hello.node_id()));
  links_.erase(found);
  owner_->link_down(node);
  world_.plane.submit(path::ForgetNode{.node = id});
  publish_soon();
}

void Node::received(const std::string& node, const xcf::v1::Envelope& message) {
  const auto found = links_.find(node);
  if (found == links_.end()) return;
  const xcf::v1::Hello& from = found->second.hello;
  switch (message.message_case()) {
    case xcf::v1::Envelope::kVipaList:
      return shadow_->vipa_list(from, message.vipa_list());
    case xcf::v1::Envelope::kInstall:
      return shadow_->install(from, message.install());
    case xcf::v1::Envelope::kRefused:
      return shadow_->refused(node, message.refused());
    case xcf::v1::Envelope::kListener:
      return owner_->listener(node, NodeId(static_cast<std::uint16_t>(from.node_id())), message.listener());
    case xcf::v1::Envelope::kAck:
      return owner_->acknowledged(node, message.ack());
    case xcf::v1::Envelope::kPull:
      return owner_->pull(node, message.pull());
    case xcf::v1::Envelope::kLifesize:
      return owner_->lifesize_report(node, message.lifesize());
    case xcf::v1::Envelope::kLifesizeGrant:
      return shadow_->granted(from, message.lifesize_grant());
    case xcf::v1::Envelope::kHello:
    case xcf::v1::Envelope::kHeartbeat:
    case xcf::v1::Envelope::kReplayRecord:
    case xcf::v1::Envelope::kReplayRecordAck:
    case xcf::v1::Envelope::kTakeoverQuery:
    case xcf::v1::Envelope::kTakeoverReport:
    case xcf::v1::Envelope::kMoveRequest:
    case xcf::v1::Envelope::MESSAGE_NOT_SET:
      return;
  }
}

// ---- the data plane ----

void Node::worker_event(path::Event event) {
  if (auto* ike = std::get_if<path::IkeReceived>(&event)) {
    if (world_.ike != nullptr) {
      static_cast<void>(world_.ike->deliver_ike(ike->datagram.local, ike->datagram.remote, ike->datagram.payload));
    }
  } else if (const auto* ceiling = std::get_if<path::NeedCeiling>(&event)) {
    owner_->need_ceiling(ceiling->sa, ceiling->last);
  } else if (const auto* exhaustion = std::get_if<path::NearExhaustion>(&event)) {
    owner_->near_exhaustion(exhaustion->sa);
  } else if (const auto* unknown = std::get_if<path::UnknownSpi>(&event)) {
    shadow_->unknown_spi(unknown->dvipa, unknown->spi, unknown->remote);
  } else if (const auto* moved = std::get_if<path::PeerMoved>(&event)) {
    owner_->peer_moved(moved->sa, moved->remote);
  } else if (const auto* flow = std::get_if<path::FlowLogged>(&event)) {
    world_.log.info("{}", flow_line(flow->record));
  } else if (const auto* connections = std::get_if<path::Connections>(&event)) {
    for (const auto& want : std::exchange(want_connections_, {})) want(connections->list);
  } else if (const auto* leases = std::get_if<path::Leases>(&event)) {
    for (const auto& want : std::exchange(want_leases_, {})) want(leases->list);
  } else if (const auto* retired = std::get_if<path::Retired>(&event)) {
    if (retired->sa) local_sas_->retired(*retired->sa);
  }
}

void Node::poll_listeners() {
  auto listeners = world_.host.listening_ports(config_.interfaces.tun);
  if (!listeners) {
    world_.log.warning("cannot see which ports have a listener: {}", listeners.error().message);
    return;
  }
  shadow_->listening(*listeners);
}

void Node::sample_use() {
  const auto uses = local_sas_->take_use(world_.executor.now());
  for (const LocalSas::Use& use : uses) {
    if (owner_->owns(use.dvipa)) owner_->used(use);
  }
  shadow_->used(uses);
  owner_->tick();
}

// Several changes come together: the worker gets one table for all of them.
void Node::publish_soon() {
  if (std::exchange(publish_pending_, true)) return;
  world_.executor.post([this, alive = alive_] {
    if (*alive) publish();
  });
}

void Node::publish() {
  publish_pending_ = false;
  if (!factory_ || stopped_) return;
  std::map<NodeId, xcf::v1::Hello> members;
  for (const auto& [name, link] : links_)
    members[NodeId(static_cast<std::uint16_t>(link.hello.node_id()))] = link.hello;
  world_.plane.submit(path::SetFilters{.table = filters_->update(*owner_, *shadow_)});
  world_.plane.submit(path::SetDistribution{
      .table = make_distribution(membership_.identity()->id, *owner_, *shadow_, *readiness_, members)});
}

// ---- the host's kernel ----

std::vector<io::SteeredDvipa> Node::steered() const {
  std::vector<io::SteeredDvipa> dvipas;
  for (const auto& [address, owned] : owner_->owned()) dvipas.push_back({.address = address, .owned = true});
  for (const auto& [address, dvipa] : shadow_->dvipas()) {
    if (!owner_->owns(address)) dvipas.push_back({.address = address, .owned = false});
  }
  std::sort(dvipas.begin(), dvipas.end());
  return dvipas;
}

void Node::steer() {
  std::vector<io::SteeredDvipa> wanted = steered();
  const auto applied = world_.host.apply({.network = config_.interfaces.network,
                                          .tun = config_.interfaces.tun,
                                          .xcf = config_.interfaces.xcf,
                                          .dvipas = wanted});
  if (applied) {
    if (auto served = world_.plane.serve(wanted); !served) world_.log.error("{}", served.error().message);
  }
  steering_failed_ = !applied;
  if (!applied) {
    world_.log.error("cannot steer DVIPAs: {}; trying again", applied.error().message);
    world_.executor.run_after(1s, [this, alive = alive_] {
      if (*alive && !stopped_ && steering_failed_) steer();
    });
  }
  steered_ = std::move(wanted);
  publish_soon();
}

}  // namespace testudo::node
