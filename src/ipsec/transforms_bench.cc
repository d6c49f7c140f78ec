// SPDX-License-Identifier: Apache-2.0
// ESP per packet, bursts of 32, one SA; beside it in the same run what intel-ipsec-mb alone takes for the
// cryptography.
//   ipsec_bench --benchmark_repetitions=5        items/s are packets/s
#include <benchmark/benchmark.h>
#include <intel-ipsec-mb.h>

#include <array>
#include <cstring>
#include <vector>

#include "ipsec/sa_for_test.h"

namespace testudo::ipsec {
namespace {

constexpr std::size_t kBurst = 32;
using crypto::Suite;

/// A burst that can be encapsulated again and again.
struct Load {
  Load(Suite suite, std::size_t inner_size)
      : pair(suite),
        inner(inner_packet(inner_size)),
        size(encap_size(*pair.out, inner, inner_size)),
        train(size * kBurst) {
    for (std::size_t i = 0; i < kBurst; ++i) {
      out[i] = {.sa = pair.out.get(),
                .seq = SeqNo(i + 1),
                .header = std::span(inner).first(40),
                .payload = std::span(inner).subspan(40),
                .out = train.data() + i * size};
    }
    pair.transforms->encap(out);
    sealed = train;
  }
  SaPair pair;
  Bytes inner;
  std::size_t size;
  Bytes train, sealed;
  std::array<EncapRequest, kBurst> out;
};

void per_packet(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kBurst));
}

void encapsulate(benchmark::State& state, Suite suite) {
  Load load(suite, static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    load.pair.transforms->encap(load.out);
    benchmark::ClobberMemory();
  }
  per_packet(state);
}

// Includes copying the burst back, since decapsulation works in place: see copy_only.
void decapsulate(benchmark::State& state, Suite suite) {
  Load load(suite, static_cast<std::size_t>(state.range(0)));
  std::array<DecapRequest, kBurst> in;
  for (std::size_t i = 0; i < kBurst; ++i) {
    in[i].sa = load.pair.in.get();
    in[i].seq = SeqNo(i + 1);
    in[i].data = load.train.data() + i * load.size;
    in[i].size = static_cast<std::uint32_t>(load.size);
    in[i].offset = 20;
  }
  for (auto _ : state) {
    std::memcpy(load.train.data(), load.sealed.data(), load.train.size());
    load.pair.transforms->decap(in);
    benchmark::ClobberMemory();
  }
  if (in[kBurst - 1].drop) state.SkipWithError("a packet was refused");
  per_packet(state);
}

void copy_only(benchmark::State& state) {
  Load load(Suite::kAesGcm128Icv16, static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    std::memcpy(load.train.data(), load.sealed.data(), load.train.size());
    benchmark::ClobberMemory();
  }
  per_packet(state);
}

void look(benchmark::State& state, Suite suite) {
  Load load(suite, static_cast<std::size_t>(state.range(0)));
  std::array<PeekRequest, kBurst> requests;
  std::array<Peeked, kBurst> peeked;
  for (std::size_t i = 0; i < kBurst; ++i) {
    requests[i] = {
        .sa = load.pair.in.get(), .packet = std::span(load.train).subspan(i * load.size, load.size), .offset = 20};
  }
  for (auto _ : state) {
    load.pair.transforms->peek(requests, peeked);
    benchmark::DoNotOptimize(peeked);
  }
  if (peeked[kBurst - 1].kind != Peeked::Kind::kTcp) state.SkipWithError("a peek failed");
  per_packet(state);
}

/// The library alone: AES-128-GCM by its direct API over the same texts.
void raw_gcm(benchmark::State& state, bool encrypt) {
  IMB_MGR* mgr = alloc_mb_mgr(0);
  init_mb_mgr_auto(mgr, nullptr);
  alignas(64) gcm_key_data key;
  gcm_context_data context;
  const std::array<std::uint8_t, 16> aes{}, iv{}, aad{};
  IMB_AES128_GCM_PRE(mgr, aes.data(), &key);
  Load load(Suite::kAesGcm128Icv16, static_cast<std::size_t>(state.range(0)));
  const auto crypt = encrypt ? mgr->gcm128_enc : mgr->gcm128_dec;
  std::array<std::uint8_t, 16> tag;
  for (auto _ : state) {
    for (std::size_t i = 0; i < kBurst; ++i) {
      std::uint8_t* text = load.train.data() + i * load.size + 36;
      crypt(&key, &context, text, text, load.size - 52, iv.data(), aad.data(), 8, tag.data(), tag.size());
    }
    benchmark::ClobberMemory();
  }
  per_packet(state);
  free_mb_mgr(mgr);
}

#define SIZES Arg(64)->Arg(1400)
BENCHMARK_CAPTURE(raw_gcm, encrypt, true)->SIZES;
BENCHMARK_CAPTURE(encapsulate, gcm128, Suite::kAesGcm128Icv16)->SIZES;
BENCHMARK_CAPTURE(encapsulate, gcm256, Suite::kAesGcm256Icv16)->SIZES;
BENCHMARK_CAPTURE(encapsulate, cbc128, Suite::kAesCbc128HmacSha256)->SIZES;
BENCHMARK_CAPTURE(raw_gcm, decrypt, false)->SIZES;
BENCHMARK(copy_only)->SIZES;
BENCHMARK_CAPTURE(decapsulate, gcm128, Suite::kAesGcm128Icv16)->SIZES;
BENCHMARK_CAPTURE(decapsulate, gcm256, Suite::kAesGcm256Icv16)->SIZES;
BENCHMARK_CAPTURE(decapsulate, cbc128, Suite::kAesCbc128HmacSha256)->SIZES;
BENCHMARK_CAPTURE(look, gcm128, Suite::kAesGcm128Icv16)->SIZES;
BENCHMARK_CAPTURE(look, cbc128, Suite::kAesCbc128HmacSha256)->SIZES;

}  // namespace
}  // namespace testudo::ipsec
