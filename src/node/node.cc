// SPDX-License-Identifier: Apache-2.0
#include "node/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/flow_line.h"
#include "node/tables.h"
#include "node/worker_config.h"
#include "xcf/hello.h"

namespace testudo::node {
namespace {

constexpr Duration kListenerPoll = 150ms;  // spec A4: a target is out within a second
constexpr Duration kUseSample = 20ms;
constexpr Duration kOrphanMargin = 2s;
constexpr std::chrono::seconds kAddressLease{10};  // of owned DVIPAs, with the kernel
constexpr Duration kRenewal = 2s;
constexpr Duration kAnnounceFirst = 100ms;  // again after that, and after twice the time
constexpr Duration kAnnounceLast = 2s;

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
      ownership_(world.facility, world.executor,
                 {.cluster = config.cluster,
                  .definition = config.definition,
                  .orphan_delay = config.facility.session_ttl + kOrphanMargin},
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
                members_changed();
              },
          .left =
              [this](const std::string& name) {
                world_.log.info("{} has left the cluster", name);
                world_.bus.remove_member(name);
                members_changed();
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
  make_roles(self);
  make_succession(self);
  make_moves();
  filters_.emplace(factory_->tunnels());
  filters_->accept_icmp_errors(config_.ipsec.accept_icmp_errors);
  if (auto started = world_.plane.start(self, [this](path::Event event) { worker_event(std::move(event)); });
      !started) {
    return started;
  }
  steer();  // what a former run has left is replaced
  detector_.emplace(config_.name, vipa::FailureDetector::Options(), world_.executor.now());
  members_changed();
  world_.bus.start(hello(), bus_events());
  if (world_.ike != nullptr) {
    if (auto listening = world_.ike->start(*owner_); !listening) return listening;
  }
  every(detector_->options().period, &Node::beat);
  every(kListenerPoll, &Node::poll_listeners);
  every(kUseSample, &Node::sample_use);
  every(kRenewal, &Node::renew_addresses);
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
                succession_->became_owner(acquired);
                manual_->became_owner(acquired.dvipa);
                steer();
              },
          .lost =
              [this](IpAddress dvipa, const std::string& reason) {
                const auto state = ownership_.dvipa(dvipa);
                events_.add({.what = "lost",
                             .dvipa = dvipa,
                             .epoch = state ? state->epoch : Epoch(),
                             .reason = reason,
                             .level = LogLevel::kError});
                moves_->lost(dvipa);
                succession_->lost(dvipa);
                owner_->lost(dvipa);
                manual_->lost(dvipa);
                steer();
              },
          .changed = [this](const vipa::DvipaState& state) { ownership_changed(state); },
          .note = [this](const std::string& line) { world_.log.info("{}", line); },
          .move_ready = [this](IpAddress dvipa, const std::string& to) { moves_->ready(dvipa, to); },
          .move_failed = [this](IpAddress dvipa, const std::string& reason) { moves_->failed(dvipa, reason); },
          .move_wanted = [this](IpAddress dvipa,
                                const std::string& owner) { moves_->ask(dvipa, owner, config_.name); }};
}

void Node::ownership_changed(const vipa::DvipaState& state) {
  if (shadow_) shadow_->epoch_seen(state.address, state.epoch);
  if (!owner_ || state.role != vipa::Role::kOwner) return;
  owner_->backups_changed(state.address);
  succession_->members_changed();
}

/// Neighbours may miss the first announcement, or hear an answer of the former owner behind it.
void Node::serving(IpAddress dvipa) {
  steer();
  if (const auto state = ownership_.dvipa(dvipa)) announce(dvipa, state->epoch, kAnnounceFirst);
}

void Node::announce(IpAddress dvipa, Epoch epoch, Duration again) {
  if (again > kAnnounceLast) return;
  world_.executor.run_after(again, [this, dvipa, epoch, again, alive = alive_] {
    const auto owned = *alive && !stopped_ ? ownership_.dvipa(dvipa) : std::nullopt;
    if (!owned || owned->epoch != epoch || !owner_->serves(dvipa)) return;
    if (const auto told = world_.host.announce(config_.interfaces.network, dvipa); !told)
      world_.log.warning("cannot announce {}: {}", dvipa.to_string(), told.error().message);
    announce(dvipa, epoch, 2 * again);
  });
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
  } else if (auto* windows = std::get_if<path::Windows>(&event)) {
    windows_->answered(std::move(*windows));
  } else if (const auto* accepted = std::get_if<path::OwnerAccepted>(&event)) {
    replay_->accepted(*accepted);
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
  for (const auto& [name, link] : links_) members[xcf::number_of(link.hello)] = link.hello;
  world_.plane.submit(path::SetFilters{.table = filters_->update(*owner_, *shadow_)});
  world_.plane.submit(path::SetDistribution{
      .table =
          make_distribution(membership_.identity()->id, *owner_, *shadow_, *readiness_, members,
                            [this](IpAddress dvipa, NodeId node) { return replay_->may_forward(dvipa, node); })});
}

// ---- the host's kernel ----

std::vector<io::SteeredDvipa> Node::steered() const {
  std::vector<io::SteeredDvipa> dvipas;
  for (const auto& [address, owned] : owner_->owned())
    dvipas.push_back({.address = address, .owned = owned.serving && succession_->receives(address)});
  for (const auto& [address, dvipa] : shadow_->dvipas()) {
    if (!owner_->owns(address)) dvipas.push_back({.address = address, .owned = false});
  }
  std::sort(dvipas.begin(), dvipas.end());
  return dvipas;
}

/// A node that was stopped for a while may find the DVIPAs elsewhere: it hears of that first.
void Node::renew_addresses() {
  const Time now = world_.executor.now();
  const bool late = now - std::exchange(renewed_, now) > 2 * kRenewal;
  if (late || std::ranges::none_of(steered_, &io::SteeredDvipa::owned)) return;
  const auto renewed = world_.host.renew({.network = config_.interfaces.network,
                                          .tun = config_.interfaces.tun,
                                          .xcf = config_.interfaces.xcf,
                                          .dvipas = steered_,
                                          .lease = kAddressLease});
  if (!renewed) world_.log.warning("{}", renewed.error().message);
}

void Node::steer() {
  std::vector<io::SteeredDvipa> wanted = steered();
  const auto applied = world_.host.apply({.network = config_.interfaces.network,
                                          .tun = config_.interfaces.tun,
                                          .xcf = config_.interfaces.xcf,
                                          .dvipas = wanted,
                                          .lease = kAddressLease});
  renewed_ = world_.executor.now();
  const Result<void> served = applied ? world_.plane.serve(wanted) : applied;
  steering_failed_ = !served;
  if (!served) {
    world_.log.error("cannot steer DVIPAs: {}; trying again", served.error().message);
    world_.executor.run_after(1s, [this, alive = alive_] {
      if (*alive && !stopped_ && steering_failed_) steer();
    });
  }
  steered_ = std::move(wanted);
  publish_soon();
}

}  // namespace testudo::node
