// SPDX-License-Identifier: Apache-2.0
// Uneven load: SAs with hard and soft limits of bytes and packets, most of whose traffic goes by one target, then
// by another. Reports begin with a threshold that is too high for that: SAs run out before the owner knows that
// their soft limit is reached. The threshold goes down until refreshes are in time; with one that never changes
// they stay late, and the scenario fails. In the end the IKE daemon is slow: SAs are used to their hard limit, and
// no further.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "sim/scenarios/scenario.h"
#include "sim/scenarios/scenario_run.h"

namespace testudo::sim {
namespace {

constexpr Endpoint kService{kDvipa, kPort};
constexpr std::uint64_t kRefreshes = 30;
constexpr std::uint64_t kEarly = 15;     // in which late ones are expected
constexpr std::uint64_t kLateMost = 2;   // of those after them: a level that failed is tried again, rarely
constexpr std::uint64_t kBusyMost = 60;  // SAs of which one target sends at least this percentage

ipsec::LifesizeLimits limits_of(std::uint64_t kind) {
  constexpr std::uint64_t kBytes = 3'000'000, kPackets = 2'000;
  constexpr std::uint64_t kSoft = 80;  // %
  ipsec::LifesizeLimits limits;
  if (kind != 0) limits.hard_bytes = kBytes;
  if (kind != 1) limits.hard_packets = kPackets;
  limits.soft_bytes = limits.hard_bytes / 100 * kSoft;
  limits.soft_packets = limits.hard_packets / 100 * kSoft;
  return limits;
}

Cluster::Options options_of(std::uint64_t seed, bool adapts) {
  SeededRng rng(seed ^ 0x6c6966657369'7a65);
  const auto pick = [&rng](auto... values) {
    const std::array all{values...};
    return all[rng.next() % all.size()];
  };
  Cluster::Options o;
  o.network.to_client = {.delay = 200us, .jitter = 35us, .loss = pick(0.0, 0.002), .in_order = true};
  o.network.to_dvipa = {.delay = 200us, .jitter = 100us, .loss = pick(0.0, 0.002)};
  o.network.to_dvipa.duplication = pick(0.0, 0.01);
  o.network.xcf = {.delay = 40us, .jitter = 30us, .loss = pick(0.0, 0.002)};
  o.child.seed = seed;
  o.child.suite = pick(crypto::Suite::kAesGcm128Icv16, crypto::Suite::kAesCbc128HmacSha256);
  o.child.udp_encapsulation = pick(false, true);
  o.child.limits = limits_of(rng.next() % 3);
  o.child.rekey_takes = pick(1ms, 5ms, 20ms);
  o.connections = 1 << 14;
  o.lifesize = {.report_percent = 20,
                .report_percent_min = adapts ? 1U : 20U,
                .report_percent_max = 20,
                .report_interval = pick(200ms, 1000ms)};
  return o;
}

class UnevenLoad : ScenarioRun {
 public:
  UnevenLoad(std::uint64_t seed, bool verbose, bool adapts)
      : ScenarioRun(seed, seed * 37 + 11, options_of(seed, adapts), verbose) {}

  Outcome run(const char* name);

 private:
  bool carry_on();
  bool late_ones_have_died_out();
  bool slow_daemon();
  bool all_done();
  bool load_was_uneven();

  void shift();
  bool fetch_some();
  [[nodiscard]] const ike::ReportThresholds::Counts& refreshes() {
    return cluster_.owner().node().owner_role()->thresholds().counts();
  }
  [[nodiscard]] std::uint64_t all_refreshes() { return refreshes().timely + refreshes().late; }

  std::size_t busy_ = 0;          // the target that gets new connections
  bool quiet_ = false;            // no new connections: it is not known everywhere yet who listens
  std::uint64_t late_early_ = 0;  // refreshes
};

/// Another target takes the load: for a moment all of them do.
void UnevenLoad::shift() {
  for (std::size_t i = 0; i < cluster_.targets(); ++i) cluster_.target(i).listen({IpAddress(0), kPort});
  busy_ = (busy_ + 1) % cluster_.targets();
  attacker_.run_after(400ms, [this] { quiet_ = true; });
  attacker_.run_after(450ms, [this] {
    for (std::size_t i = 0; i < cluster_.targets(); ++i) {
      if (i != busy_) cluster_.target(i).stop_listening({IpAddress(0), kPort});
    }
  });
  attacker_.run_after(700ms, [this] { quiet_ = false; });
  attacker_.run_after(1s + cluster_.network().up_to(1500ms), [this] { shift(); });
}

bool UnevenLoad::fetch_some() {
  if (!quiet_) client_.fetch(kService, 4'000 + random(20'000));
  return cluster_.run_for(4ms + cluster_.network().up_to(8ms));
}

bool UnevenLoad::all_done() {
  return require(cluster_.run_until([this] { return client_.all_done(); }, 60s),
                 "not all connections have got what they wanted");
}

bool UnevenLoad::carry_on() {
  const Time end = cluster_.time().now() + 240s;
  while (all_refreshes() < kRefreshes && cluster_.time().now() < end) {
    if (all_refreshes() <= kEarly) late_early_ = refreshes().late;
    if (!fetch_some()) return false;
  }
  return require(all_refreshes() >= kRefreshes, fmt::format("only {} SAs were refreshed", all_refreshes())) &&
         all_done() &&
         require(client_.failures().empty(), fmt::format("{} connections broke", client_.failures().size()));
}

bool UnevenLoad::late_ones_have_died_out() {
  const std::uint64_t late = refreshes().late - late_early_;
  return require(late_early_ > 0, "no refresh was late: the threshold was not too high") &&
         require(late <= kLateMost, fmt::format("{} of {} refreshes were late, {} of them among the last {}",
                                                refreshes().late, all_refreshes(), late, kRefreshes - kEarly));
}

// Each node stops where its share ends, until there is another SA.
bool UnevenLoad::slow_daemon() {
  SimIkeDaemon& ike = *cluster_.owner().ike();
  const std::uint64_t before = ike.hard_expiries();
  ike.set_rekey_takes(3s);
  const Time end = cluster_.time().now() + 30s;
  while (ike.hard_expiries() == before && cluster_.time().now() < end) {
    if (!fetch_some()) return false;
  }
  if (!require(ike.hard_expiries() > before, "no SA has reached its hard limit")) return false;
  ike.set_rekey_takes(1ms);
  return all_done();
}

bool UnevenLoad::load_was_uneven() {
  std::size_t uneven = 0;
  for (const auto& [spi, senders] : cluster_.invariants().senders()) {
    std::uint64_t sum = 0, most = 0;
    for (const auto& [node, packets] : senders) {
      sum += packets;
      most = std::max(most, packets);
    }
    uneven += senders.size() > 1 && most * 100 >= sum * kBusyMost;
  }
  return require(uneven >= 5,
                 fmt::format("only {} SAs had several senders, one of them with most packets", uneven));
}

Outcome UnevenLoad::run(const char* name) {
  attack();
  const bool done =
      join() && (shift(), carry_on()) && late_ones_have_died_out() && load_was_uneven() && slow_daemon();
  attacker_.stop();
  if (!done) explain(cluster_, seed_, name);
  const ClientCounters& c = client_.counters();
  std::uint64_t refused = 0;
  for (const auto& node : cluster_.nodes()) refused += node->counters()->drops->value(Drop::kLifesize);
  return {
      .violations = cluster_.invariants().violations(),
      .transcript_hash = cluster_.transcript().hash(),
      .summary = fmt::format("{} events, {} ms, {} packets out, {} in, {} refreshes, {} late, {} of them early, "
                             "{} dropped beyond shares, {} hard expiries",
                             cluster_.time().events_run(), cluster_.time().now().time_since_epoch() / 1ms,
                             c.packets_out, c.packets_in, all_refreshes(), refreshes().late, late_early_, refused,
                             cluster_.owner().ike()->hard_expiries())};
}

}  // namespace

Outcome uneven_load(std::uint64_t seed, bool verbose) { return UnevenLoad(seed, verbose, true).run("uneven_load"); }

Outcome uneven_load_static(std::uint64_t seed, bool verbose) {
  return UnevenLoad(seed, verbose, false).run("uneven_load_static");
}

}  // namespace testudo::sim
