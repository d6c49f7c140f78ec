// SPDX-License-Identifier: Apache-2.0
// The main job: one client's connections spread over three targets under one pair of SAs, with everything going
// wrong that may: loss, detours, preemption, rekeys from both ends and by volume, a listener that stops, a target
// that crashes, a coupling facility out of reach, and an attacker who replays and forges all the while.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "sim/scenarios/scenario.h"
#include "sim/scenarios/scenario_run.h"

namespace testudo::sim {
namespace {

constexpr std::uint64_t kStream = 1'500'000;  // bytes of a bulk answer
constexpr std::size_t kConnections = 60;
constexpr std::uint64_t kLeastPerTarget = 12;
constexpr Endpoint kService{kDvipa, kPort};
constexpr Endpoint kPlainService{kPlainDvipa, kPort};

Cluster::Options options_of(std::uint64_t seed) {
  SeededRng rng(seed ^ 0x6d61696e5f6a6f62);
  const auto pick = [&rng](auto... values) {
    const std::array all{values...};
    return all[rng.next() % all.size()];
  };
  Cluster::Options o;
  o.network.to_client = {.delay = 200us, .jitter = 35us, .loss = pick(0.0, 0.0, 0.002, 0.01), .in_order = true};
  o.network.to_client.duplication = pick(0.0, 0.01);
  o.network.to_dvipa = {.delay = 200us, .jitter = 100us, .loss = pick(0.0, 0.0, 0.002, 0.01)};
  o.network.to_dvipa.duplication = pick(0.0, 0.02);
  o.network.to_dvipa.reordering = pick(0.0, 0.05);
  o.network.xcf = {.delay = 40us, .jitter = 30us, .loss = pick(0.0, 0.0, 0.002, 0.02)};
  o.network.xcf.duplication = pick(0.0, 0.02);
  o.network.xcf.reordering = pick(0.0, 0.05);
  o.scheduling = {.wake_most = 20us, .preemption = pick(0.0, 0.0005), .preempted_most = 20ms};
  o.child.seed = seed;
  o.child.suite = pick(crypto::Suite::kAesGcm128Icv16, crypto::Suite::kAesGcm256Icv16,
                       crypto::Suite::kAesCbc128HmacSha256, crypto::Suite::kAesCbc256HmacSha256);
  o.child.esn = pick(false, true);
  o.child.udp_encapsulation = pick(false, true);
  o.child.limits.soft_bytes = 1'200'000;
  o.ceiling_step = pick(std::uint64_t{4096}, std::uint64_t{1} << 20);
  o.offers = pick(false, true);
  return o;
}

class MainJob : ScenarioRun {
 public:
  MainJob(std::uint64_t seed, bool verbose) : ScenarioRun(seed, seed * 31 + 7, options_of(seed), verbose) {}

  Outcome run();

 private:
  bool join();
  bool spread_connections();
  bool rekey_from(bool client);
  bool rekey_under_load();
  bool stop_a_listener();
  bool crash_a_target();
  bool lose_the_facility();
  bool settle();

  std::vector<std::size_t> start_streams();
  /// Waits until the streams together have received so many bytes, and each of them some.
  bool received(const std::vector<std::size_t>& streams, std::uint64_t bytes);
  bool fetch_some(std::size_t count, std::uint64_t most, Duration apart);
  bool all_done(const char* what, Duration limit = 60s);
  bool no_failures(const char* when);
  void phase(const char* name) { cluster_.transcript().line("scenario", name); }

  std::size_t failures_ = 0;  // that were allowed
};

bool MainJob::all_done(const char* what, Duration limit) {
  return require(cluster_.run_until([this] { return client_.all_done(); }, limit),
                 fmt::format("{}: not all connections have got what they wanted", what));
}

bool MainJob::no_failures(const char* when) {
  return require(client_.failures().size() == failures_,
                 fmt::format("{}: {} connections broke", when, client_.failures().size() - failures_));
}

std::vector<std::size_t> MainJob::start_streams() {
  std::vector<std::size_t> streams;
  for (int i = 0; i < 3; ++i) streams.push_back(client_.fetch(kService, kStream));
  return streams;
}

bool MainJob::received(const std::vector<std::size_t>& streams, std::uint64_t bytes) {
  const auto enough = [&] {
    std::uint64_t sum = 0;
    for (const std::size_t stream : streams) {
      if (client_.job(stream).received() == 0) return false;  // it has not even found its target
      sum += client_.job(stream).received();
    }
    return sum >= bytes;
  };
  return require(cluster_.run_until(enough, 60s), fmt::format("the streams do not reach {} bytes", bytes));
}

bool MainJob::fetch_some(std::size_t count, std::uint64_t most, Duration apart) {
  for (std::size_t i = 0; i < count; ++i) {
    client_.fetch(kService, 1 + random(most));
    if (!cluster_.run_for(cluster_.network().up_to(apart))) return false;
  }
  return true;
}

bool MainJob::join() {
  phase("the nodes start");
  return ScenarioRun::join();
}

bool MainJob::spread_connections() {
  phase("connections are spread");
  for (int i = 0; i < 6; ++i) client_.fetch_clear(kPlainService, 1 + random(20'000));
  if (!fetch_some(kConnections, 20'000, 4ms) || !all_done("spreading") || !no_failures("spreading")) return false;
  for (std::size_t i = 0; i < cluster_.targets(); ++i) {
    if (!require(cluster_.target(i).server().accepted() >= kLeastPerTarget,
                 fmt::format("{} got {} connections only", cluster_.target(i).name(),
                             cluster_.target(i).server().accepted())))
      return false;
  }
  return true;
}

// The other side's rekey, for the lifesize is used up, may cross this one and win: then once more.
bool MainJob::rekey_from(bool client) {
  SimIkeDaemon& ike = *cluster_.owner().ike();
  const auto rekeys = [&] { return client ? client_.rekeys() : ike.rekeys(); };
  const std::uint64_t before = rekeys();
  for (int tries = 0; tries < 5 && rekeys() == before; ++tries) {
    client ? client_.rekey() : ike.rekey(kClientAddress);
    cluster_.run_until([&] { return rekeys() != before; }, 2s);
  }
  return require(rekeys() != before, "a rekey did not come to an end");
}

bool MainJob::rekey_under_load() {
  phase("rekeys under load");
  const auto streams = start_streams();
  const bool client_first = random(2) == 0;
  if (!received(streams, 100'000) || !rekey_from(client_first)) return false;
  if (!received(streams, 600'000) || !rekey_from(!client_first)) return false;
  return all_done("rekeying") && no_failures("rekeying") &&
         require(
             cluster_.run_until([&] { return client_.rekeys() >= 1 && cluster_.owner().ike()->rekeys() >= 2; }, 5s),
             "there were too few rekeys") &&
         require(client_.counters().unknown_spi == 0, "packets came on an SA that was deleted already");
}

bool MainJob::stop_a_listener() {
  phase("a listener stops");
  SimNode& target = cluster_.target(random(cluster_.targets()));
  const auto streams = start_streams();
  if (!received(streams, 100'000)) return false;
  target.stop_listening({IpAddress(0), kPort});
  if (!cluster_.run_for(500ms)) return false;
  const std::uint64_t before = target.server().accepted();
  if (!fetch_some(9, 20'000, 3ms) || !all_done("without a listener") || !no_failures("without a listener"))
    return false;
  if (!require(target.server().accepted() == before, target.name() + " got connections without a listener"))
    return false;
  target.listen({IpAddress(0), kPort});
  if (!cluster_.run_for(500ms) || !fetch_some(6, 20'000, 3ms) || !all_done("with a listener again")) return false;
  return no_failures("with a listener again") &&
         require(target.server().accepted() > before, target.name() + " gets no connections any more");
}

bool MainJob::crash_a_target() {
  phase("a target crashes");
  SimNode& target = cluster_.target(random(cluster_.targets()));
  const auto streams = start_streams();
  if (!received(streams, 100'000)) return false;
  target.crash();
  if (!fetch_some(12, 20'000, 200ms) || !all_done("after a crash", 120s)) return false;
  failures_ = client_.failures().size();
  phase("it starts again");
  target.start();
  if (!cluster_.run_for(100ms)) return false;
  if (!require(cluster_.run_until([this] { return cluster_.ready(); }, 30s), target.name() + " did not come back"))
    return false;
  if (!cluster_.run_for(5s) || !fetch_some(12, 20'000, 10ms) || !all_done("after the restart")) return false;
  return no_failures("after the restart") &&
         require(target.server().accepted() > 0, target.name() + " gets no connections after its restart");
}

bool MainJob::lose_the_facility() {
  phase("the coupling facility is out of reach");
  const Epoch epoch = cluster_.owner().node().owner_role()->owned().at(kDvipa).epoch;
  for (auto& node : cluster_.nodes()) cluster_.store().set_reachable(node->name(), false);
  start_streams();
  if (!fetch_some(6, 20'000, 100ms) || !cluster_.run_for(3s)) return false;
  for (auto& node : cluster_.nodes()) cluster_.store().set_reachable(node->name(), true);
  if (!all_done("with the facility away") || !no_failures("with the facility away")) return false;
  const node::OwnerRole& owner = *cluster_.owner().node().owner_role();
  return require(owner.owns(kDvipa) && owner.owned().at(kDvipa).epoch == epoch, "the owner has lost the DVIPA");
}

bool MainJob::settle() {
  phase("calm");
  cluster_.network().calm();
  if (!cluster_.run_for(3s)) return false;
  attacker_.stop();
  for (std::size_t i = 0; i < cluster_.targets(); ++i) {
    const bool used = std::any_of(cluster_.invariants().senders().begin(), cluster_.invariants().senders().end(),
                                  [&](const auto& s) { return s.second.contains(cluster_.target(i).name()); });
    if (!require(used, cluster_.target(i).name() + " has sent nothing")) return false;
  }
  if (!require(cluster_.owner().ike()->soft_expiries() >= 1, "no SA has reached its limit of bytes")) return false;
  const ClientCounters& c = client_.counters();
  return require(c.refused == 0,
                 fmt::format("the client's replay window has refused {} good packets", c.refused)) &&
         require(c.not_authentic == 0, fmt::format("{} packets to the client were not authentic", c.not_authentic));
}

Outcome MainJob::run() {
  attack();
  const bool done = join() && spread_connections() && rekey_under_load() && stop_a_listener() && crash_a_target() &&
                    lose_the_facility() && settle();
  if (!done) explain(cluster_, seed_, "main_job");
  const ClientCounters& c = client_.counters();
  return {.violations = cluster_.invariants().violations(),
          .transcript_hash = cluster_.transcript().hash(),
          .summary = fmt::format(
              "{} events, {} ms, {} packets out, {} in, {} refused, {} duplicates, {} replayed, {} broken",
              cluster_.time().events_run(), cluster_.time().now().time_since_epoch() / 1ms, c.packets_out,
              c.packets_in, c.refused, c.duplicates, c.replayed, client_.failures().size())};
}

}  // namespace

Outcome main_job(std::uint64_t seed, bool verbose) { return MainJob(seed, verbose).run(); }

}  // namespace testudo::sim
