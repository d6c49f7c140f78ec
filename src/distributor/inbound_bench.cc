// SPDX-License-Identifier: Apache-2.0
// The owner's inbound path, in bursts: packets of known connections, forwarded after a peek, against packets that
// it decrypts for itself. Arguments: connections, bytes of payload.
#include <benchmark/benchmark.h>

#include <algorithm>

#include "distributor/inbound_world_for_test.h"

namespace testudo::distributor {
namespace {

constexpr std::uint64_t kRing = 1024;  // packets made ready at a time

ConnectionKey key_of(std::uint32_t n) {
  return {.client = {kClients[0], static_cast<std::uint16_t>(n)}, .dvipa = {kDvipa, kHttps}};
}

Segment segment(benchmark::State& state, std::uint64_t n, std::uint8_t protocol) {
  return {.client_port = static_cast<std::uint16_t>(n % static_cast<std::uint64_t>(state.range(0))),
          .protocol = protocol,
          .payload = static_cast<std::size_t>(state.range(1))};
}

void run(benchmark::State& state, std::uint8_t protocol) {
  World w({.config = {.connections = {.capacity = 1 << 20}, .ledger = {.size = 4 * kRing}}});
  const auto connections = static_cast<std::uint32_t>(std::min<std::int64_t>(state.range(0), 60'000));
  std::uint64_t seq = 0;
  for (std::uint32_t n = 0; n < connections; ++n) {
    const ConnectionKey key = key_of(n);
    (void)w.udp_one(w.esp(syn(key.client.port), ++seq));
  }
  std::vector<Bytes> ring(kRing);
  std::vector<wire::Packet> packets(kRing);
  std::uint64_t position = kRing;
  for (auto _ : state) {
    if (position == kRing) {
      state.PauseTiming();
      for (std::uint64_t i = 0; i < kRing; ++i) {
        ring[i] = w.esp(packet_of(segment(state, seq * 7919, protocol)), seq + 1);
        ++seq;
        packets[i].data = ring[i].data();
        packets[i].size = static_cast<std::uint32_t>(ring[i].size());
        packets[i].source = {kPeers[0], 4500};
        packets[i].destination = {kDvipa, 4500};
      }
      for (std::uint64_t base = seq - 2 * kRing; seq > 2 * kRing && base <= seq - kRing; ++base)
        w.commit(kT1, base);
      position = 0;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(w.inbound->nat_t(std::span(packets).subspan(position, wire::kBurst), w.now).data());
    position += wire::kBurst;
  }
  const InboundCounters& counters = w.inbound->counters();
  const auto expected = static_cast<std::uint64_t>(state.iterations()) * wire::kBurst;
  const bool tcp = protocol == wire::kProtocolTcp;
  if ((tcp ? counters.forwarded : counters.local).value() < expected)
    state.SkipWithError("not what was to be measured");
  if (counters.established_full_decrypt.value() != 0) state.SkipWithError("known connections were decrypted");
  state.SetItemsProcessed(static_cast<std::int64_t>(expected));
}

void forward(benchmark::State& state) { run(state, wire::kProtocolTcp); }
void decrypt(benchmark::State& state) { run(state, wire::kProtocolIcmp); }

BENCHMARK(forward)->ArgsProduct({{1000, 10'000, 60'000}, {0, 1300}});
BENCHMARK(decrypt)->ArgsProduct({{1000}, {0, 1300}});

/// The table alone, for as many connections as it is meant for. Arguments: connections, whether IPv6.
void find(benchmark::State& state) {
  const auto count = static_cast<std::uint32_t>(state.range(0));
  const bool v6 = state.range(1) != 0;
  ConnectionTable table({.capacity = count}, SipKey{1, 2});
  const auto key = [v6](std::uint32_t n) {
    const IpAddress client = v6 ? IpAddress(0x2001'0db8'0000'0000, n >> 8) : IpAddress(n >> 8);
    const IpAddress dvipa = v6 ? IpAddress(0x2001'0db8'0000'0000, 0xffff'0000'0000) : kDvipa;
    return ConnectionKey{.client = {client, static_cast<std::uint16_t>(n & 0xff)}, .dvipa = {dvipa, kHttps}};
  };
  for (std::uint32_t n = 0; n < count; ++n) {
    (void)table.insert(key(n), table.hash(key(n)), kT1, ipsec::TunnelId(1), Time{});
  }
  std::uint32_t n = 0;
  for (auto _ : state) {
    std::array<std::uint64_t, wire::kBurst> hashes;
    std::array<ConnectionKey, wire::kBurst> keys;
    for (std::size_t i = 0; i < wire::kBurst; ++i) {
      keys[i] = key((n += 0x9e3779b1u) % count);
      hashes[i] = table.hash(keys[i]);
      table.prefetch(hashes[i]);
    }
    for (const std::uint64_t hash : hashes) table.prefetch_entry(hash);
    for (std::size_t i = 0; i < wire::kBurst; ++i) {
      table.note(*table.find(keys[i], hashes[i]), wire::kTcpAck, 100, Time{});
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * wire::kBurst));
}
BENCHMARK(find)->ArgsProduct({{1000, 10'000, 100'000, 1'000'000}, {0, 1}});

}  // namespace
}  // namespace testudo::distributor
