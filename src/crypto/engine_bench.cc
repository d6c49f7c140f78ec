// SPDX-License-Identifier: Apache-2.0
// Cost of the engine alone: bursts of 32 packets of one SA, or of one SA each. The counter "packet" is the time of
// one.
//
//   crypto_bench --benchmark_filter='seal/AES-GCM-128/'            size: of the text, in bytes
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "crypto/context_cache.h"
#include "crypto/frame_for_test.h"

namespace testudo::crypto {
namespace {

constexpr std::size_t kBurst = 32;

std::size_t rounded(std::size_t size, std::size_t block) { return (size + block - 1) / block * block; }

/// A burst of packets under one key, sealed.
class Load {
 public:
  Load(Backend backend, Suite suite, std::size_t text) : engine(engine_of(backend)) {
    SeededRng rng(1);
    context = context_of(*engine, suite, random_bytes(rng, sizes(suite).key));
    const SuiteSizes& s = sizes(suite);
    const std::size_t size = is_ah(suite) ? text : 8 + s.iv + rounded(text, s.block) + s.icv;
    for (std::size_t i = 0; i < kBurst; ++i) {
      packets.push_back(random_bytes(rng, size + 64));
      Bytes& bytes = packets.back();
      frames[i] = {context.get(), bytes.data(), static_cast<std::uint32_t>(size), 0};
      auth[i] = {context.get(), bytes.data(), static_cast<std::uint32_t>(size), 0, iv.data(), icvs[i].data()};
      peeks[i] = {context.get(), bytes.data(), 64, out[i].data()};
    }
  }
  std::unique_ptr<Engine> engine;
  OwnedContext context;
  std::vector<Bytes> packets;
  std::array<Frame, kBurst> frames;
  std::array<AuthFrame, kBurst> auth;
  std::array<PeekRequest, kBurst> peeks;
  std::array<std::array<std::uint8_t, 64>, kBurst> out;
  std::array<std::array<std::uint8_t, kIcvMax>, kBurst> icvs{};
  std::array<std::uint8_t, 8> iv{};
};

void per_packet(benchmark::State& state) {
  state.counters["packet"] = benchmark::Counter(static_cast<double>(state.iterations() * kBurst),
                                                benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

std::size_t text_of(const benchmark::State& state) { return static_cast<std::size_t>(state.range(0)); }

void seal(benchmark::State& state, Backend backend, Suite suite) {
  Load load(backend, suite, text_of(state));
  for (auto _ : state) is_ah(suite) ? load.engine->sign(load.auth) : load.engine->seal(load.frames);
  per_packet(state);
}

// What was opened once is not authentic the next time; it costs the same with ipsec-mb.
void open(benchmark::State& state, Backend backend, Suite suite) {
  Load load(backend, suite, text_of(state));
  for (auto _ : state) {
    benchmark::DoNotOptimize(is_ah(suite) ? load.engine->verify(load.auth) : load.engine->open(load.frames));
  }
  per_packet(state);
}

void peek(benchmark::State& state, Backend backend, Suite suite) {
  Load load(backend, suite, 1400);
  for (auto _ : state) load.engine->peek(load.peeks);
  per_packet(state);
}

/// Bursts whose packets are each of another SA, in random order, all from one cache: range(0) SAs.
void many(benchmark::State& state, std::size_t text) {
  constexpr Suite kSuite = Suite::kAesGcm128Icv16;
  Load load(Backend::kBest, kSuite, text);
  auto cache = std::move(*make_context_cache(*load.engine));
  SeededRng rng(2);
  std::vector<CipherKey> keys;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    keys.push_back(std::move(*CipherKey::make(kSuite, Secret(random_bytes(rng, sizes(kSuite).key)), Esn::kNo)));
  }
  std::vector<std::uint32_t> order(1 << 16);
  for (std::uint32_t& at : order) at = static_cast<std::uint32_t>(rng.next() % keys.size());
  std::size_t next = 0;
  for (auto _ : state) {
    cache->begin_burst();
    for (std::size_t i = 0; i < kBurst; ++i) cache->prefetch(keys[order[next + i]]);
    for (std::size_t i = 0; i < kBurst; ++i) load.frames[i].context = &cache->get(keys[order[next + i]]);
    load.engine->seal(load.frames);
    next = (next + kBurst) % order.size();
  }
  per_packet(state);
}

void expand(benchmark::State& state, Suite suite) {
  const auto engine = engine_of(Backend::kBest);
  auto cache = std::move(*make_context_cache(*engine, 1));
  auto key = std::move(*CipherKey::make(suite, Secret(sizes(suite).key), Esn::kNo));
  for (auto _ : state) {
    benchmark::DoNotOptimize(&cache->get(key));
    cache->forget(key);
  }
}

void add(const std::string& backend_name, Backend backend, Suite suite) {
  const std::string name = std::string(sizes(suite).name) + backend_name;
  benchmark::RegisterBenchmark(("seal/" + name).c_str(), seal, backend, suite)->Arg(64)->Arg(1400);
  benchmark::RegisterBenchmark(("open/" + name).c_str(), open, backend, suite)->Arg(64)->Arg(1400);
  if (!is_ah(suite)) benchmark::RegisterBenchmark(("peek/" + name).c_str(), peek, backend, suite);
}

const bool added = [] {
  for (const Suite suite : all_suites()) add("", Backend::kBest, suite);
  for (const Suite suite : {Suite::kAesGcm128Icv16, Suite::kAesCbc128HmacSha256, Suite::kChacha20Poly1305}) {
    add("/openssl", Backend::kOpenssl, suite);
    benchmark::RegisterBenchmark(("expand/" + std::string(sizes(suite).name)).c_str(), expand, suite);
  }
  benchmark::RegisterBenchmark("many/64", many, std::size_t{64})->Arg(1)->Arg(1000)->Arg(10'000)->Arg(100'000);
  benchmark::RegisterBenchmark("many/1400", many, std::size_t{1400})->Arg(1)->Arg(1000)->Arg(10'000)->Arg(100'000);
  return true;
}();

}  // namespace
}  // namespace testudo::crypto
