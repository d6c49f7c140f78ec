// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "base/rng.h"

namespace testudo::sim::protocol {
namespace {

/// Draws from short lists: extremes and the usual come equally often.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : rng_(seed * 0x9e3779b97f4a7c15 + 0x706c616e) {}
  std::uint64_t up_to(std::uint64_t most) { return rng_.next() % (most + 1); }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[up_to(values.size() - 1)];
  }
  /// A fault that comes `times` times in the run, or never.
  Every fault(Duration length, double times) {
    return up_to(2) == 0 ? Every{} : Every(static_cast<Duration::rep>(static_cast<double>(length.count()) / times));
  }

 private:
  SeededRng rng_;
};

void draw_cluster(Draw& draw, Plan& plan) {
  plan.hosts = static_cast<std::uint32_t>(2 + draw.up_to(draw.one_of({2u, 6u, 14u})));
  plan.backups = std::min(plan.hosts - 1, static_cast<std::uint32_t>(1 + draw.up_to(3)));
  plan.tunnels = static_cast<std::uint32_t>(1 + draw.up_to(2));
  plan.flows = static_cast<std::uint32_t>(2 + draw.up_to(4));
  plan.peer_window = draw.one_of({32u, 64u, 128u});
  plan.our_window = draw.one_of({32u, 64u, 128u});
  plan.ledger = draw.one_of({256u, 1024u});
  plan.esn = draw.up_to(2) == 0;
  // Around the wrap of the low half; or with a high half. A peer begins with a high half of 0.
  if (plan.esn) {
    plan.outbound_first = draw.one_of<std::uint64_t>({1, 0xffff'ff80, 0x7'ffff'ff00});
    plan.inbound_first = draw.one_of<std::uint64_t>({1, 0xffff'ff80});
  }
  if (!plan.esn && draw.up_to(20) == 0) plan.outbound_first = 0xffff'fc00;
}

void draw_traffic(Draw& draw, Plan& plan) {
  plan.length = draw.one_of<Duration>({150ms, 600ms, 3s, 14s});
  plan.burst_most = draw.one_of({1u, 8u, 44u});
  // A bounded number of events, however long it takes.
  const auto spread = [&](std::uint64_t events) { return plan.length / static_cast<Duration::rep>(events); };
  plan.burst_every = spread(500 + draw.up_to(400)) * plan.hosts * plan.tunnels;
  plan.packet_every = spread(800 + draw.up_to(1200)) * plan.tunnels;
  if (draw.up_to(5) != 0) plan.attack_every = spread(300 + draw.up_to(1200));
}

void draw_network(Draw& draw, Plan& plan) {
  plan.loss = draw.one_of({0.0, 0.02, 0.2});
  plan.duplication = draw.one_of({0.0, 0.02, 0.2});
  plan.late = draw.one_of({0.0, 0.01, 0.1});
  plan.peer_loss = draw.one_of({0.0, 0.02, 0.1});
  plan.peer_late = draw.one_of({0.0, 0.02, 0.2});
  plan.path_within_guard = draw.up_to(5) != 0;
}

void draw_faults(Draw& draw, Plan& plan) {
  const Duration length = plan.length;
  plan.target_crash = draw.fault(length, 4);
  plan.owner_crash = draw.fault(length, 2);
  plan.both_crash = draw.fault(length, 1);
  plan.target_pause = draw.fault(length, 5);
  plan.owner_pause = draw.fault(length, 2);
  plan.pause_most = std::min<Duration>(10s, length);
  plan.preemption = draw.one_of({0.0, 0.0, 0.005, 0.03});
  plan.drift = draw.up_to(1) == 0;
  plan.clock_jump = draw.fault(length, 3);
  plan.facility_away = draw.fault(length, 2);
  plan.false_alarm = draw.fault(length, 1.5);
  plan.reassign = draw.fault(length, draw.one_of({5.0, 100.0}));
}

void draw_timing(Draw& draw, Plan& plan) {
  plan.session_ttl = draw.one_of<Duration>({60ms, 300ms, 1s});
  plan.detection = draw.one_of<Duration>({20ms, 150ms});
  plan.sequencer.ceiling_step = draw.one_of<std::uint64_t>({300, 2000, 20000});
  plan.sequencer.ceiling_retry = 100ms;
  plan.sequencer.sharing_time = draw.one_of<Duration>({1ms, 20ms, 100ms});
  plan.sequencer.sas_max = plan.lessee.sas_max = 8;
}

/// One seed in eight is without any fault but reordering that the windows cover, so that what is refused needlessly
/// comes out.
void make_peaceful(Plan& plan) {
  plan.loss = plan.duplication = plan.late = plan.peer_loss = plan.peer_late = plan.preemption = 0;
  plan.target_crash = plan.owner_crash = plan.both_crash = plan.target_pause = plan.owner_pause = {};
  plan.clock_jump = plan.facility_away = plan.false_alarm = plan.reassign = {};
  plan.drift = false;
}

}  // namespace

bool Plan::peaceful() const {
  const Every none{};
  const bool calm_network = loss + duplication + late + peer_loss + peer_late + preemption == 0;
  return calm_network && target_crash == none && owner_crash == none && both_crash == none &&
         target_pause == none && owner_pause == none && clock_jump == none && facility_away == none &&
         false_alarm == none && reassign == none;
}

std::string Plan::text() const {
  const auto ms = [](Duration d) { return d / 1ms; };
  return fmt::format(
      "{} hosts, {} backups, {} tunnels, {} flows, windows {} and {}, ledger {}{}, room for {}, {} ms; loss {}, "
      "doubled {}, "
      "late {}, "
      "preempted {}; every ms: target crash {}, owner crash {}, both {}, target pause {}, owner pause {}, jump {}, "
      "facility {}, false alarm {}, reassign {}, attack every {} us{}{}",
      hosts, backups, tunnels, flows, peer_window, our_window, ledger, esn ? ", ESN" : "", pending_groups,
      ms(length), loss, duplication, late, preemption, ms(target_crash), ms(owner_crash), ms(both_crash),
      ms(target_pause), ms(owner_pause), ms(clock_jump), ms(facility_away), ms(false_alarm), ms(reassign),
      attack_every / 1us, drift ? ", drift" : "", path_within_guard ? "" : ", paths beyond the guard");
}

Plan plan_of(std::uint64_t seed) {
  Draw draw(seed);
  Plan plan;
  draw_cluster(draw, plan);
  draw_traffic(draw, plan);
  draw_network(draw, plan);
  draw_faults(draw, plan);
  draw_timing(draw, plan);
  plan.pending_groups = draw.one_of({4096u, 4096u, 6u});
  if (seed % 8 == 0) make_peaceful(plan);
  return plan;
}

}  // namespace testudo::sim::protocol
