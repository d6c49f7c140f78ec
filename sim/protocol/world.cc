// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/protocol/owner.h"

namespace testudo::sim::protocol {
namespace {

constexpr Duration kXcfDelay = 2us, kXcfJitter = 30us;
constexpr Duration kPathDelay = 20us;  // to and from the peer
constexpr Duration kFacilityDelay = 100us, kFacilityJitter = 2ms;
constexpr Duration kFacilityTimeout = 20ms;
constexpr Duration kWatchDelay = 20ms;
constexpr Duration kJoinTime = 30ms;  // of the cluster, before traffic begins
constexpr Duration kSettleMost = 8s;

}  // namespace

World::World(std::uint64_t seed, const Plan& plan, bool verbose)
    : plan_(plan),
      rng_(seed),
      transcript_(time_, 600),
      judge_(plan_, time_, transcript_),
      peer_(*this),
      faults_(*this) {
  transcript_.set_verbose(verbose);
  transcript_.line("plan", plan_.text());
  for (std::uint32_t i = 0; i < plan_.tunnels; ++i) tunnels_.push_back({.outbound = SaId(++sas_), .inbound = {}});
  for (std::uint32_t i = 1; i <= plan_.hosts; ++i) {
    nodes_.emplace_back(static_cast<std::uint16_t>(i));
    hosts_.push_back(std::make_unique<Host>(*this, nodes_.back()));
  }
}

Owner* World::owner_role(NodeId node, Epoch epoch) {
  Owner* owner = host(node).owner();
  return owner != nullptr && owner->epoch() == epoch ? owner : nullptr;
}

// ---- a run ----

void World::start() {
  at(Time{} + 1s, [this] {
    for (NodeId node : nodes_) faults_.start(node);
    tries_to_take(nodes_.front(), Epoch());
  });
  time_.run_until(Time{} + 1s + kJoinTime);
  for (NodeId node : nodes_) {
    for (std::uint32_t i = 0; i < tunnels_.size(); ++i) {
      after(random(2 * plan_.burst_every), [this, node, i] { produce(node, i); });
    }
  }
  peer_.start();
  faults_.begin();
}

void World::run() {
  start();
  time_.run_until(now() + plan_.length);
  calm_ = true;
  tell("world", "the faults are over");
  faults_.end();
  settle();
}

void World::produce(NodeId node, std::uint32_t tunnel) {
  if (calm_) return;
  after(random(2 * plan_.burst_every), [this, node, tunnel] { produce(node, tunnel); });
  host(node).input([this, node, tunnel] {
    host(node).produce(tunnel, 1 + static_cast<std::uint32_t>(random(plan_.burst_most)));
  });
}

/// Without faults, everything that waits gets its number, and each flow comes through again.
void World::settle() {
  Time end = now();
  for (const auto& host : hosts_) end = std::max(end, host->paused_until());
  end += kSettleMost;
  peer_.begin_last_words();
  while (now() < end && !unsettled().empty() && judge_.violations().empty()) time_.run_until(now() + 5ms);
  if (const std::string what = unsettled(); !what.empty()) judge_.fail(what);
  if (plan_.peaceful()) {
    time_.run_until(now() + 1s);
    peer_.must_have_all_arrived();
  }
}

std::string World::unsettled() {
  for (const auto& host : hosts_) {
    if (host->held() != 0) return fmt::format("{}: {} packets still wait for numbers", host->name(), host->held());
  }
  return peer_.unheard();
}

// ---- XCF ----

void World::send(NodeId from, NodeId to, std::function<void(Host&)> arrive) {
  if (to == NodeId()) return;
  const bool local = from == to;
  const bool faulty = !local && !calm_;
  if (faulty && chance(plan_.loss)) return;
  const int copies = faulty && chance(plan_.duplication) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const bool late = faulty && chance(plan_.late);
    const Duration delay = local ? Duration(1us) : kXcfDelay + random(late ? kLateMost - kXcfDelay : kXcfJitter);
    after(delay, [this, to, arrive] { host(to).input([this, to, arrive] { arrive(host(to)); }); });
  }
}

void World::observe(const Host& from, NodeId to, const wire::FastMessage& message) {
  const wire::FastHeader& header = message.header();
  if (header.type != wire::FastType::kLeaseGrant) return;
  for (std::size_t i = 0; i < message.count(); ++i) {
    const auto grant = message.entry<wire::LeaseGrant>(i);
    tell(from.name(), "grants {} of SA {} from {} to host {}.{} as {}{}", grant.count, grant.sa.value(),
         grant.first.value(), to.value(), header.incarnation, grant.id, grant.shared ? ", shared" : "");
    judge_.granted(grant, header.epoch, header.incarnation, register_.ceiling(grant.sa));
  }
}

// ---- the outside ----

void World::to_peer(const Host& from, SaId sa, const sequence::Numbers& numbers) {
  tell(from.name(), "sends {} to {} on SA {}", numbers.first.value(), numbers.last().value(), sa.value());
  const Duration guard = plan_.sequencer.skew_guard;
  const Duration jitter = plan_.path_within_guard ? guard - guard / 10 : Duration(2ms);
  Time& last = paths_[{from.id(), sa}];
  for (std::uint64_t n = numbers.first.value(); n <= numbers.last().value(); ++n) {
    judge_.sent(sa, SeqNo(n), register_.ceiling(sa));
    last = std::max(last, now() + kPathDelay + random(jitter));
    at(last, [this, sa, n] { judge_.reaches_peer(sa, SeqNo(n)); });
  }
}

void World::to_dvipa(const EspPacket& packet) {
  if (!calm_ && chance(plan_.peer_loss)) return;
  const bool late = !calm_ && chance(plan_.peer_late);
  after(kPathDelay + (late ? random(3ms) : random(5us)), [this, packet] { to_host(dvipa_at_, packet); });
}

void World::to_host(NodeId node, const EspPacket& packet) {
  if (node == NodeId()) return;
  Host& at = host(node);
  at.input([&at, packet] {
    if (at.owner() != nullptr) at.owner()->on_packet(packet);
  });
}

void World::moves_dvipa_to(NodeId node, Epoch epoch) {
  after(random(5ms), [this, node, epoch] {
    if (epoch < announced_) return;
    announced_ = epoch;
    dvipa_at_ = node;
  });
}

void World::accepted(const EspPacket& packet, SeqNo number, const Host& host, Epoch epoch) {
  tell(host.name(), "accepts {} of SA {}, flow {}", number.value(), packet.sa.value(), packet.flow);
  judge_.accepted(packet.sa, number, packet.genuine, host.name());
  // A target or an owner that was stopped may accept late what it was given, if the owner of today knows.
  for (const auto& other : hosts_) {
    if (other->owner() == nullptr || other->owner()->epoch() <= epoch) continue;
    if (!other->owner()->would_accept(packet.sa, number)) continue;
    judge_.fail(fmt::format("SA {}: {} is accepted by {} under epoch {}, and epoch {} would accept it again",
                            packet.sa.value(), number.value(), host.name(), epoch.value(),
                            other->owner()->epoch().value()));
  }
  peer_.heard(packet);
}

// ---- the facility and control ----

void World::reserve(const Host& host, Epoch epoch, SaId sa, SeqNo last, std::function<void()> granted) {
  const NodeId node = host.id();
  if (!faults_.reaches_facility(node)) return;
  after(kFacilityDelay + random(kFacilityJitter), [this, node, epoch, sa, last, granted = std::move(granted)] {
    if (!register_.reserve(epoch, sa, last)) return;  // a later owner's by now
    tell("facility", "ceiling {} for SA {}", last.value(), sa.value());
    if (!faults_.reaches_facility(node)) return;
    after(random(kFacilityJitter), [this, node, epoch, granted] {
      if (owner_role(node, epoch) != nullptr)
        this->host(node).input([this, node, epoch, granted] {
          if (owner_role(node, epoch) != nullptr) granted();
        });
    });
  });
}

void World::store(const Host& asking, Epoch epoch, std::uint64_t version,
                  const distributor::ReplayWitnesses& witnesses, std::function<void(bool)> answer) {
  const NodeId node = asking.id();
  const auto back = [this, node, life = asking.life(), answer = std::move(answer)](bool answered) {
    after(random(kFacilityJitter) + (answered ? Duration() : kFacilityTimeout),
          [this, node, life, answer, answered] {
            if (host(node).life() == life) host(node).input([answer, answered] { answer(answered); });
          });
  };
  if (!faults_.reaches_facility(node)) return back(false);
  after(kFacilityDelay + random(kFacilityJitter), [this, node, epoch, version, witnesses, back] {
    if (register_.store(epoch, version, witnesses)) {
      tell("facility", "witnesses of epoch {}: keeper host {}, {} targets", epoch.value(), witnesses.keeper.value(),
           witnesses.targets.size());
    }
    back(faults_.reaches_facility(node) && !chance(calm_ ? 0 : plan_.loss / 4));
  });
}

void World::session_over(NodeId node) {
  if (register_.owner() != node) return;
  tell("facility", "the session of host {} is over", node.value());
  register_.session_over(node);
  elect();
}

/// Who may own it and is there tries, the higher in rank the earlier.
void World::elect() {
  if (register_.owner() != NodeId()) return;
  for (std::uint32_t rank = 0; rank <= plan_.backups; ++rank) {
    const NodeId node = nodes_[rank];
    after(kWatchDelay * rank + random(kWatchDelay), [this, node, seen = register_.epoch()] {
      if (register_.owner() == NodeId()) tries_to_take(node, seen);
    });
  }
  after(100ms, [this] { elect(); });
}

void World::tries_to_take(NodeId node, Epoch seen) {
  if (!host(node).up() || !faults_.reaches_facility(node)) return;
  const auto epoch = register_.take(node, seen);
  if (!epoch) return;
  tell("facility", "host {} takes the DVIPA, epoch {}", node.value(), epoch->value());
  after(random(kFacilityJitter),
        [this, node, e = *epoch] { host(node).input([this, node, e] { host(node).becomes_owner(e); }); });
  for (NodeId other : nodes_) {
    if (other != node) after(random(kWatchDelay), [this, other] { catches_up(other); });
  }
}

void World::catches_up(NodeId node) {
  if (!faults_.reaches_facility(node)) return;
  if (register_.owner() == node) return;  // the answer to its taking tells
  host(node).input(
      [this, node, epoch = register_.epoch(), owner = register_.owner()] { host(node).reads(epoch, owner); });
}

void World::replace(std::uint32_t tunnel) {
  if (tunnels_[tunnel].replacing) return;
  tunnels_[tunnel].replacing = true;
  after(1ms + random(10ms), [this, tunnel] { replaced(tunnel); });
}

/// The peer and the owner of the moment have agreed; else control tries again.
void World::replaced(std::uint32_t tunnel) {
  Owner* owner = register_.owner() == NodeId() ? nullptr : owner_role(register_.owner(), register_.epoch());
  if (owner == nullptr || !owner->active() || !host(register_.owner()).up())
    return after(20ms, [this, tunnel] { replaced(tunnel); });
  Tunnel& t = tunnels_[tunnel];
  for (const NodeId node : nodes_) {
    send(register_.owner(), node, [sa = t.inbound](Host& host) { host.forget_sa(sa); });
  }
  t.replacing = false;
  t.inbound = SaId(1000 + ++sas_);
  tell("control", "tunnel {} has the new inbound SA {}", tunnel, t.inbound.value());
  owner->add_inbound(tunnel);
  peer_.uses(tunnel);
}

}  // namespace testudo::sim::protocol
