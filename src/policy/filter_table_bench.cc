// SPDX-License-Identifier: Apache-2.0
// Look-ups among many filters, and what it takes to put them there one at a time. Argument: filters.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "policy/filter_set.h"
#include "policy/flow_cache.h"

namespace testudo::policy {
namespace {

using Random = std::minstd_rand;

const IpAddress kDvipa(0xc0000264);
constexpr std::size_t kFlows = 1 << 16;
const std::string kTunnel = "t";

IpAddress peer(std::uint32_t n, bool v4) {
  if (v4) return IpAddress(0x0a000000 + n * 7);
  std::array<std::uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8};
  for (unsigned i = 0; i < 4; ++i) bytes[4 + i] = static_cast<std::uint8_t>(n >> (24 - 8 * i));
  bytes[15] = 1;
  return IpAddress(std::span<const std::uint8_t, 16>(bytes));
}

IpAddress dvipa(bool v4) { return v4 ? kDvipa : peer(0xffffff, false); }

Filter filter(std::uint64_t id, AddressRange remote, bool v4, std::uint32_t priority = 100) {
  Filter f;
  f.id = id;
  f.priority = priority;
  f.action = Action::kProtect;
  f.tunnel = kTunnel;
  f.source = remote;
  f.destination = AddressRange(dvipa(v4));
  return f;
}

Flow flow(IpAddress from, Random& random, bool v4) {
  const auto port = static_cast<std::uint16_t>(random());
  return {from, dvipa(v4), wire::kProtocolTcp, true, port, static_cast<std::uint16_t>(random())};
}

/// Some hundred rules with ranges, behind those of peers, as an operator writes them.
void add_static(FilterSet& set, bool v4) {
  for (std::uint32_t i = 0; i < 300; ++i) {
    Filter f =
        filter(1'000'000 + i, AddressRange(peer(i * 311, v4), peer(i * 311 + 1000, v4)), v4, 1'000'000 + i % 5);
    if (i % 3 == 0) f.source = AddressRange::all(dvipa(v4));
    f.protocol = wire::kProtocolTcp;
    f.destination_ports = {static_cast<std::uint16_t>(i * 200), static_cast<std::uint16_t>(i * 200 + 99)};
    set.put(kDvipa, f);
  }
}

struct World {
  ipsec::TunnelNames names;
  FilterSet set{names};
  Random random{1};
  std::vector<Flow> flows;
};

std::uint32_t count_of(const benchmark::State& state) { return static_cast<std::uint32_t>(state.range(0)); }

void look_up(benchmark::State& state, World& w, bool all_match) {
  const auto table = w.set.snapshot();
  std::size_t i = 0;
  for (auto _ : state) {
    const Rule* rule = table->find(Direction::kInbound, w.flows[i++ % w.flows.size()]);
    benchmark::DoNotOptimize(rule);
    if (all_match && rule == nullptr) state.SkipWithError("not found");
  }
}

/// One or two rules for each peer, and the operator's. How many peers those are.
std::uint32_t add_peers(FilterSet& set, std::uint32_t filters, bool v4) {
  add_static(set, v4);
  const std::uint32_t each = filters * 2 / 3;
  for (std::uint32_t n = 0, id = 1; n < each; ++n) {
    set.put(kDvipa, filter(id++, AddressRange(peer(n, v4)), v4));
    if (n % 2 == 0) set.put(kDvipa, filter(id++, AddressRange(peer(n, v4)), v4, 200));
  }
  return each;
}

/// Peers in random order.
void peers(benchmark::State& state, bool v4) {
  World w;
  const std::uint32_t each = add_peers(w.set, count_of(state), v4);
  for (std::size_t i = 0; i < kFlows; ++i)
    w.flows.push_back(flow(peer(static_cast<std::uint32_t>(w.random()) % each, v4), w.random, v4));
  look_up(state, w, true);
}
void peers_ipv4(benchmark::State& state) { peers(state, true); }
void peers_ipv6(benchmark::State& state) { peers(state, false); }
BENCHMARK(peers_ipv4)->Arg(100)->Arg(10'000)->Arg(100'000);
BENCHMARK(peers_ipv6)->Arg(100)->Arg(10'000)->Arg(100'000);

/// What a packet asks: its flow is one of four thousand that are on their way, each with another peer where there
/// are enough of them.
void packets_of_flows(benchmark::State& state, bool v4) {
  constexpr std::uint32_t kOnTheirWay = 4096;
  World w;
  const std::uint32_t each = add_peers(w.set, count_of(state), v4);
  const auto table = w.set.snapshot();
  FlowLog log;
  FlowCache cache({}, log);
  const ipsec::TunnelId tunnel = w.names.intern(kTunnel);
  std::vector<FlowKey> keys;
  for (std::uint32_t i = 0; i < kOnTheirWay; ++i)
    keys.push_back({flow(peer(i * (each / std::min(each, kOnTheirWay)) % each, v4), w.random, v4), tunnel,
                    Direction::kInbound});
  std::ranges::shuffle(keys, w.random);
  bool dropped = false;
  std::size_t i = 0;
  for (auto _ : state) {
    const FlowKey& key = keys[i++ % keys.size()];
    dropped |=
        cache.decide(key, {.bytes = 100}, *table, Time{}, [&] { return judge_selected(*table, key.flow, tunnel); })
            .drop.has_value();
  }
  if (dropped) state.SkipWithError("dropped");
}
void packets_of_flows_ipv4(benchmark::State& state) { packets_of_flows(state, true); }
void packets_of_flows_ipv6(benchmark::State& state) { packets_of_flows(state, false); }
BENCHMARK(packets_of_flows_ipv4)->Arg(100)->Arg(10'000)->Arg(100'000);
BENCHMARK(packets_of_flows_ipv6)->Arg(100)->Arg(10'000)->Arg(100'000);

/// What one access to memory costs, in as much of it as so many rules take: no look-up can do without.
void one_memory_access(benchmark::State& state) {
  struct alignas(64) Place {
    std::uint32_t next = 0;
    Rule rule;
  };
  std::vector<Place> places(count_of(state));
  std::vector<std::uint32_t> order(places.size());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), Random(1));
  for (std::size_t i = 0; i < order.size(); ++i) places[order[i]].next = order[(i + 1) % order.size()];
  std::uint32_t at = 0;
  for (std::size_t i = 0; i < order.size(); ++i) at = places[at].next;
  for (auto _ : state) benchmark::DoNotOptimize(at = places[at].next);
}
BENCHMARK(one_memory_access)->Arg(100)->Arg(10'000)->Arg(100'000);

/// Networks of one odd size each, next to one another: nothing for the trie.
void ranges(benchmark::State& state) {
  World w;
  for (std::uint32_t n = 0; n < count_of(state); ++n) {
    const std::uint32_t first = 0x0a000000 + n * 10;
    w.set.put(kDvipa, filter(n + 1, AddressRange(IpAddress(first + 1), IpAddress(first + 9)), true));
  }
  for (std::size_t i = 0; i < kFlows; ++i)
    w.flows.push_back(flow(IpAddress(0x0a000005 + static_cast<std::uint32_t>(w.random()) % count_of(state) * 10),
                           w.random, true));
  look_up(state, w, true);
}
BENCHMARK(ranges)->Arg(100)->Arg(10'000)->Arg(100'000);

/// One peer with a rule for every few ports.
void ports_of_one_peer(benchmark::State& state) {
  World w;
  const std::uint32_t step = 65'536 / std::min<std::uint32_t>(count_of(state), 32'768);
  for (std::uint32_t n = 0; n < count_of(state); ++n) {
    Filter f = filter(n + 1, AddressRange(peer(n / 32'768, true)), true);
    f.protocol = wire::kProtocolTcp;
    f.destination_ports = {static_cast<std::uint16_t>(n * step), static_cast<std::uint16_t>(n * step + step - 1)};
    w.set.put(kDvipa, f);
  }
  for (std::size_t i = 0; i < kFlows; ++i) w.flows.push_back(flow(peer(0, true), w.random, true));
  look_up(state, w, false);
}
BENCHMARK(ports_of_one_peer)->Arg(100)->Arg(10'000)->Arg(100'000);

/// Around each of many hosts, prefixes of all lengths from 16 to 32 inside one another, the longest first.
void nested_prefixes(benchmark::State& state) {
  World w;
  const std::uint32_t hosts = std::max(count_of(state) / 17, 1u);
  for (std::uint32_t n = 0; n < hosts * 17; ++n) {
    const unsigned length = 16 + n % 17;
    const IpPrefix prefix{IpAddress(0x0a001234 + n / 17 * 65'536).masked(length),
                          static_cast<std::uint8_t>(length)};
    w.set.put(kDvipa, filter(n + 1, prefix, true, 1000 - length));
  }
  for (std::size_t i = 0; i < kFlows; ++i) {
    const std::uint32_t host = static_cast<std::uint32_t>(w.random()) % hosts;
    const std::uint32_t near = 0x1234 ^ static_cast<std::uint32_t>(w.random()) >> (16 + i % 16);
    w.flows.push_back(flow(IpAddress(0x0a000000 + host * 65'536 + near % 65'536), w.random, true));
  }
  look_up(state, w, true);
}
BENCHMARK(nested_prefixes)->Arg(100)->Arg(10'000)->Arg(100'000);

/// Every packet is in half of all rules, since thousands of prefixes are alike: the longest and oldest is wanted.
void half_of_all_match(benchmark::State& state) {
  World w;
  for (std::uint32_t n = 0; n < count_of(state); ++n) {
    const unsigned length = 8 + n % 25;
    const IpAddress address(0x0a000000 + n / 25 * 4096 + n % 4096);
    Filter f = filter(n + 1, AddressRange(IpPrefix{address.masked(length), static_cast<std::uint8_t>(length)}),
                      true, 1000 - length);
    w.set.put(kDvipa, f);
  }
  for (std::size_t i = 0; i < kFlows; ++i)
    w.flows.push_back(
        flow(IpAddress(0x0a000000 + static_cast<std::uint32_t>(w.random()) % (count_of(state) / 25 * 4096)),
             w.random, true));
  look_up(state, w, true);
}
BENCHMARK(half_of_all_match)->Arg(100)->Arg(10'000)->Arg(100'000);

/// Ranges that overlap a thousand others, in no order.
void overlapping_ranges(benchmark::State& state) {
  World w;
  for (std::uint32_t n = 0; n < count_of(state); ++n) {
    const std::uint32_t first = 0x0a000000 + static_cast<std::uint32_t>(w.random()) % (count_of(state) * 16);
    w.set.put(kDvipa, filter(n + 1, AddressRange(IpAddress(first), IpAddress(first + 16'000)), true,
                             static_cast<std::uint32_t>(w.random())));
  }
  for (std::size_t i = 0; i < kFlows; ++i)
    w.flows.push_back(flow(IpAddress(0x0a000000 + static_cast<std::uint32_t>(w.random()) % (count_of(state) * 16)),
                           w.random, true));
  look_up(state, w, false);
}
BENCHMARK(overlapping_ranges)->Arg(100)->Arg(10'000)->Arg(100'000);

/// Putting filters in one at a time, with a snapshot for each as if a worker got it.
void install_one_by_one(benchmark::State& state) {
  for (auto _ : state) {
    World w;
    std::shared_ptr<const FilterTable> out;
    for (std::uint32_t n = 0; n < count_of(state); ++n) {
      Filter f = filter(n + 1, AddressRange(peer(n, true)), true);
      if (n % 10 == 0) f.source.last = peer(n + 1, true);
      w.set.put(kDvipa, f);
      out = w.set.snapshot();
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(install_one_by_one)->Arg(100)->Arg(10'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace testudo::policy
