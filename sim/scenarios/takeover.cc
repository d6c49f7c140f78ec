// SPDX-License-Identifier: Apache-2.0
// Takeover: the owner dies in the middle of downloads, by a crash or by a loss of power, its backup goes on with
// its SAs, its numbers and its connections; the former owner comes back, and then the backup dies. All the while
// packets are lost and doubled, and an attacker replays what was accepted under the former owner.
#include <fmt/format.h>

#include <array>
#include <vector>

#include "sim/scenarios/scenario.h"
#include "sim/scenarios/scenario_run.h"

namespace testudo::sim {
namespace {

constexpr std::uint64_t kStream = 1'500'000;  // bytes of a bulk answer
constexpr Duration kGapMost = 500ms;  // heartbeats find out who is dead, long before sessions and keepalives do
constexpr Endpoint kService{kDvipa, kPort};
constexpr Endpoint kPlainService{kPlainDvipa, kPort};

Cluster::Options options_of(std::uint64_t seed) {
  SeededRng rng(seed ^ 0x74616b656f766572);
  const auto pick = [&rng](auto... values) {
    const std::array all{values...};
    return all[rng.next() % all.size()];
  };
  Cluster::Options o;
  o.network.to_client = {.delay = 200us, .jitter = 35us, .loss = pick(0.0, 0.0, 0.002), .in_order = true};
  o.network.to_dvipa = {.delay = 200us, .jitter = 100us, .loss = pick(0.0, 0.0, 0.002)};
  o.network.to_dvipa.duplication = pick(0.0, 0.02);
  o.network.to_dvipa.reordering = pick(0.0, 0.05);
  o.network.xcf = {.delay = 40us, .jitter = 30us, .loss = pick(0.0, 0.0, 0.002)};
  o.network.xcf.duplication = pick(0.0, 0.02);
  o.network.xcf.reordering = pick(0.0, 0.05);
  o.scheduling = {.wake_most = 20us, .preemption = pick(0.0, 0.0005), .preempted_most = 20ms};
  o.child.seed = seed;
  o.child.suite = pick(crypto::Suite::kAesGcm128Icv16, crypto::Suite::kAesCbc128HmacSha256);
  o.child.esn = pick(false, true);
  o.child.udp_encapsulation = pick(false, true);
  o.ceiling_step = pick(std::uint64_t{4096}, std::uint64_t{1} << 20);
  o.offers = pick(false, true);
  return o;
}

class TakeoverRun : ScenarioRun {
 public:
  TakeoverRun(std::uint64_t seed, bool verbose) : ScenarioRun(seed, seed * 37 + 5, options_of(seed), verbose) {}

  Outcome run();

 private:
  /// Downloads are under way when `from` dies; `to` goes on, and none of them notices.
  bool die(SimNode& from, SimNode& to);
  /// The client negotiates with the new owner.
  bool negotiate();
  /// Downloads are under way when it is back, and takes over again as planned.
  bool come_back(SimNode& node);
  bool begin_downloads();
  bool serves(SimNode& node) const;
  bool fetch_some(std::size_t count);
  bool all_done(const char* what);
  void phase(const std::string& name) { cluster_.transcript().line("scenario", name); }

  std::vector<Duration> gaps_;
};

bool TakeoverRun::all_done(const char* what) {
  return require(cluster_.run_until([this] { return client_.all_done(); }, 60s),
                 fmt::format("{}: not all connections have got what they wanted", what)) &&
         require(client_.failures().empty(),
                 fmt::format("{}: {} connections broke", what, client_.failures().size()));
}

bool TakeoverRun::fetch_some(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    client_.fetch(kService, 1 + random(20'000));
    if (i % 4 == 0) client_.fetch_clear(kPlainService, 1 + random(20'000));
    if (!cluster_.run_for(cluster_.network().up_to(10ms))) return false;
  }
  return true;
}

bool TakeoverRun::begin_downloads() {
  std::vector<std::size_t> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(client_.fetch(kService, kStream));
  streams.push_back(client_.fetch_clear(kPlainService, kStream));
  const auto under_way = [&] {
    for (const std::size_t stream : streams) {
      if (client_.job(stream).received() < 20'000) return false;
    }
    return true;
  };
  return require(cluster_.run_until(under_way, 60s), "the downloads do not begin");
}

bool TakeoverRun::serves(SimNode& node) const {
  const node::OwnerRole* owner = node.node().owner_role();
  return owner != nullptr && owner->serves(kDvipa) && owner->serves(kPlainDvipa);
}

bool TakeoverRun::die(SimNode& from, SimNode& to) {
  phase(from.name() + " dies");
  if (!begin_downloads()) return false;
  const Time died = cluster_.time().now();
  random(2) == 0 ? from.crash() : from.vanish();
  if (!require(cluster_.run_until([&] { return serves(to); }, kGapMost), to.name() + " does not take over in time"))
    return false;
  gaps_.push_back(cluster_.time().now() - died);
  return fetch_some(12) && all_done("after a takeover");
}

bool TakeoverRun::negotiate() {
  phase("the client negotiates anew");
  const Spi before = client_.newest();
  client_.connect(kDvipa);
  return require(cluster_.run_until([&] { return client_.newest() != before; }, 10s),
                 "the new owner's IKE daemon does not answer") &&
         cluster_.run_for(2s) && fetch_some(12) && all_done("after a negotiation");
}

bool TakeoverRun::come_back(SimNode& node) {
  phase(node.name() + " comes back");
  node.start();
  const auto member = [&] { return node.node().identity().has_value(); };
  if (!require(cluster_.run_until(member, 30s), node.name() + " does not come back")) return false;
  while (!serves(node)) {
    if (!begin_downloads() || !cluster_.run_for(50ms)) return false;
    if (!require(client_.jobs() < 2000, node.name() + " does not get its addresses back")) return false;
  }
  return fetch_some(6) && all_done("after a return");
}

Outcome TakeoverRun::run() {
  attack();
  const bool done = join() && fetch_some(20) && all_done("at first") && die(cluster_.owner(), cluster_.backup()) &&
                    negotiate() && come_back(cluster_.owner()) && negotiate() &&
                    die(cluster_.owner(), cluster_.backup()) && negotiate();
  if (!done) explain(cluster_, seed_, "takeover");
  std::string gaps;
  for (const Duration gap : gaps_) gaps += fmt::format(" {}", gap / 1ms);
  const ClientCounters& c = client_.counters();
  return {.violations = cluster_.invariants().violations(),
          .transcript_hash = cluster_.transcript().hash(),
          .summary = fmt::format("{} events, {} ms, {} packets out, {} in, {} replayed, gaps of{} ms",
                                 cluster_.time().events_run(), cluster_.time().now().time_since_epoch() / 1ms,
                                 c.packets_out, c.packets_in, c.replayed, gaps)};
}

}  // namespace

Outcome takeover(std::uint64_t seed, bool verbose) { return TakeoverRun(seed, verbose).run(); }

}  // namespace testudo::sim
