// SPDX-License-Identifier: Apache-2.0
// Once SAs and engine are there, no packet takes memory: neither from operator new, nor from OpenSSL's heap.
#include <gtest/gtest.h>
#include <malloc.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "ipsec/sa_for_test.h"
#include "ipsec/sad.h"

namespace {

std::uint64_t allocations = 0;
std::int64_t heap_bytes = 0;  // taken and not given back, with what malloc needs for itself

constexpr std::int64_t kChunkHeader = 8;  // bytes: glibc's, per block

void* counted(void* memory) {
  ++allocations;
  if (memory == nullptr) throw std::bad_alloc();
  heap_bytes += static_cast<std::int64_t>(malloc_usable_size(memory)) + kChunkHeader;
  return memory;
}
void uncounted(void* memory) {
  if (memory != nullptr) heap_bytes -= static_cast<std::int64_t>(malloc_usable_size(memory)) + kChunkHeader;
  std::free(memory);
}

void* counted_malloc(std::size_t size, const char*, int) {
  ++allocations;
  return std::malloc(size);
}
void* counted_realloc(void* memory, std::size_t size, const char*, int) {
  ++allocations;
  return std::realloc(memory, size);
}
void counted_free(void* memory, const char*, int) { std::free(memory); }

// Before OpenSSL takes any.
const int openssl_is_counted = CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free);

}  // namespace

void* operator new(std::size_t size) { return counted(std::malloc(size)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}
void operator delete(void* memory) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { uncounted(memory); }

namespace testudo::ipsec {
namespace {

constexpr std::size_t kBurst = 32;

/// Everything that happens to a burst: encapsulation, peek, replay check, both kinds of decapsulation.
class Round {
 public:
  Round(crypto::Suite suite, Mode mode, crypto::Backend backend) : transforms_(transforms_for_test(rng_, backend)) {
    SaParameters p = parameters_for_test(Direction::kOutbound, suite);
    p.protocol = crypto::is_ah(suite) ? Protocol::kAh : Protocol::kEsp;
    p.mode = mode;
    p.esn = true;
    out_ = std::move(*factory_.create(p));
    p.direction = Direction::kInbound;
    std::swap(p.local, p.remote);
    in_ = std::move(*factory_.create(p));
    inner_ = tcp_packet(out_->local(), out_->remote(), 1000);
    size_ = encap_size(*out_, inner_, inner_.size());
    train_.resize(size_ * kBurst + kEsnTailroom);
    scratch_.resize(size_ + kEsnTailroom);
  }

  bool run() { return protect() && look() && open(); }

 private:
  bool protect() {
    std::array<EncapRequest, kBurst> burst;
    for (std::size_t i = 0; i < kBurst; ++i) {
      burst[i] = {.sa = out_.get(),
                  .seq = SeqNo(first_ + i),
                  .header = std::span(inner_).first(40),
                  .payload = std::span(inner_).subspan(40),
                  .out = train_.data() + i * size_};
    }
    transforms_->encap(burst);
    for (const EncapRequest& request : burst) {
      if (request.drop) return false;
    }
    return true;
  }

  bool look() {
    std::array<PeekRequest, kBurst> burst;
    std::array<Peeked, kBurst> peeked;
    for (std::size_t i = 0; i < kBurst; ++i) {
      burst[i] = {.sa = in_.get(), .packet = std::span(train_).subspan(i * size_, size_), .offset = 20};
    }
    transforms_->peek(burst, peeked);
    return peeked[kBurst - 1].kind == Peeked::Kind::kTcp;
  }

  bool open() {
    std::array<DecapRequest, kBurst> burst;
    for (std::size_t i = 0; i < kBurst; ++i) {
      burst[i].sa = in_.get();
      burst[i].seq = in_->full_sequence(static_cast<std::uint32_t>(first_ + i));
      burst[i].data = train_.data() + i * size_;
      burst[i].size = static_cast<std::uint32_t>(size_);
      burst[i].offset = 20;
      if (i == 0) burst[i].out = scratch_.data();
      if (in_->replay().check(burst[i].seq)) return false;
    }
    transforms_->decap(burst);
    for (const DecapRequest& request : burst) {
      if (request.drop) return false;
      in_->replay().commit(request.seq);
    }
    first_ += kBurst;
    return true;
  }

  SeededRng rng_{1};
  std::unique_ptr<Transforms> transforms_;
  SaFactory factory_{1};
  std::unique_ptr<Sa> out_, in_;
  Bytes inner_, train_, scratch_;
  std::size_t size_ = 0;
  std::uint64_t first_ = 1;
};

TEST(Allocation, NoneOnThePacketPath) {
  ASSERT_EQ(openssl_is_counted, 1);
  for (const auto backend : {crypto::Backend::kIpsecMb, crypto::Backend::kOpenssl}) {
    for (const crypto::Suite suite : crypto::all_suites()) {
      for (const Mode mode : {Mode::kTunnel, Mode::kTransport}) {
        const std::uint64_t at_start = allocations;
        Round round(suite, mode, backend);
        ASSERT_GT(allocations, at_start);  // the counters count
        const std::uint64_t before = allocations;
        for (int i = 0; i < 3; ++i) ASSERT_TRUE(round.run()) << crypto::sizes(suite).name;
        EXPECT_EQ(allocations, before) << crypto::sizes(suite).name << ", backend " << static_cast<int>(backend);
      }
    }
  }
}

double locked_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmLck:")) return 1024.0 * std::stod(line.substr(6));
  }
  return 0;
}

// An idle SA in a shadow cache, with everything that control and worker keep of it: object, keys, index, IV
// counter, tunnel name. The number of SAs is the worst for hash sets: just after they have grown.
TEST(Memory, OfAnIdleSa) {
  constexpr std::uint32_t kCount = 120'000;
  std::deque<SaFactory> factories;  // all stay: what is given back would be taken again, and not counted as locked
  std::deque<Sad> sads;
  for (const crypto::Suite suite : {crypto::Suite::kAesGcm256Icv16, crypto::Suite::kAesCbc128HmacSha256}) {
    for (const auto direction : {Direction::kInbound, Direction::kOutbound}) {
      const double heap = static_cast<double>(heap_bytes);
      const double locked = locked_bytes();
      SaFactory& factory = factories.emplace_back(1);
      Sad& sad = sads.emplace_back();
      for (std::uint32_t i = 1; i <= kCount; ++i) {
        SaParameters p = parameters_for_test(direction, suite, i);
        p.spi = Spi(1000 + i);
        p.tunnel = "peer/" + std::to_string(i);
        auto sa = factory.create(std::move(p));
        ASSERT_TRUE(sa.has_value());
        ASSERT_EQ(sad.install(std::move(*sa)), nullptr);
      }
      const double per_sa = (static_cast<double>(heap_bytes) - heap + locked_bytes() - locked) / kCount;
      std::printf("%s %s: %.0f bytes\n", std::string(crypto::sizes(suite).name).c_str(),
                  direction == Direction::kInbound ? "in" : "out", per_sa);
      EXPECT_LE(per_sa, 512);
      EXPECT_GE(per_sa, sizeof(Sa));  // it is measured
    }
  }
}

// Removal takes no look at the others.
TEST(Memory, RemovalGivesAllBack) {
  SaFactory factory(1);
  const std::int64_t before = heap_bytes;
  {
    Sad sad;
    for (std::uint32_t i = 1; i <= 1000; ++i) {
      SaParameters p = parameters_for_test(Direction::kInbound, crypto::Suite::kAesGcm128Icv16, i);
      p.spi = Spi(1000 + i);
      (void)sad.install(std::move(*factory.create(std::move(p))));
    }
    for (std::uint32_t i = 1; i <= 1000; i += 2) EXPECT_NE(sad.remove(SaId(i)), nullptr);
    EXPECT_EQ(sad.size(), 500u);
  }
  EXPECT_LE(heap_bytes - before, 256);  // the tunnel's name
}

TEST(Allocation, NoneInLookups) {
  SaPair pair(crypto::Suite::kAesGcm128Icv16);
  const TunnelId tunnel = pair.out->tunnel();
  Sad sad;
  (void)sad.install(std::move(pair.out));
  const std::uint64_t before = allocations;
  for (int i = 0; i < 100; ++i) {
    ASSERT_NE(sad.find_outbound(tunnel), nullptr);
    ASSERT_EQ(sad.find_inbound(Spi(1000), Protocol::kEsp, IpAddress(1), IpAddress(2)), nullptr);
    ASSERT_NE(sad.find(SaId(1)), nullptr);
  }
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace testudo::ipsec
