// SPDX-License-Identifier: Apache-2.0
// Once SAs and engine are there, no packet takes memory: neither from operator new, nor from OpenSSL's heap.
#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <array>
#include <cstdlib>
#include <new>
#include <vector>

#include "ipsec/sa_for_test.h"
#include "ipsec/sad.h"

namespace {

std::uint64_t allocations = 0;

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

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace testudo::ipsec {
namespace {

constexpr std::size_t kBurst = 32;

/// Everything that happens to a burst: encapsulation, peek, replay check, both kinds of decapsulation.
class Round {
 public:
  Round(crypto::Suite suite, crypto::Backend backend)
      : pair_(suite, true, backend),
        inner_(inner_packet(1000)),
        size_(encap_size(*pair_.out, inner_, inner_.size())) {
    train_.resize(size_ * kBurst);
    scratch_.resize(size_);
  }

  bool run() { return protect() && look() && open(); }

 private:
  bool protect() {
    std::array<EncapRequest, kBurst> burst;
    for (std::size_t i = 0; i < kBurst; ++i) {
      burst[i] = {.sa = pair_.out.get(),
                  .seq = SeqNo(first_ + i),
                  .header = std::span(inner_).first(40),
                  .payload = std::span(inner_).subspan(40),
                  .out = train_.data() + i * size_};
    }
    pair_.transforms->encap(burst);
    for (const EncapRequest& request : burst) {
      if (request.drop) return false;
    }
    return true;
  }

  bool look() {
    std::array<PeekRequest, kBurst> burst;
    std::array<Peeked, kBurst> peeked;
    for (std::size_t i = 0; i < kBurst; ++i) {
      burst[i] = {.sa = pair_.in.get(), .packet = std::span(train_).subspan(i * size_, size_), .offset = 20};
    }
    pair_.transforms->peek(burst, peeked);
    return peeked[kBurst - 1].kind == Peeked::Kind::kTcp;
  }

  bool open() {
    std::array<DecapRequest, kBurst> burst;
    for (std::size_t i = 0; i < kBurst; ++i) {
      burst[i].sa = pair_.in.get();
      burst[i].seq = pair_.in->full_sequence(static_cast<std::uint32_t>(first_ + i));
      burst[i].data = train_.data() + i * size_;
      burst[i].size = static_cast<std::uint32_t>(size_);
      burst[i].offset = 20;
      if (i == 0) burst[i].out = scratch_.data();
      if (pair_.in->replay().check(burst[i].seq)) return false;
    }
    pair_.transforms->decap(burst);
    for (const DecapRequest& request : burst) {
      if (request.drop) return false;
      pair_.in->replay().commit(request.seq);
    }
    first_ += kBurst;
    return true;
  }

  SaPair pair_;
  Bytes inner_, train_, scratch_;
  std::size_t size_;
  std::uint64_t first_ = 1;
};

TEST(Allocation, NoneOnThePacketPath) {
  ASSERT_EQ(openssl_is_counted, 1);
  for (const auto backend : {crypto::Backend::kIpsecMb, crypto::Backend::kOpenssl}) {
    for (const crypto::Suite suite : kAllSuites) {
      const std::uint64_t at_start = allocations;
      Round round(suite, backend);
      ASSERT_GT(allocations, at_start);  // the counters count
      const std::uint64_t before = allocations;
      for (int i = 0; i < 100; ++i) ASSERT_TRUE(round.run());
      EXPECT_EQ(allocations, before) << crypto::sizes(suite).name << ", backend " << static_cast<int>(backend);
    }
  }
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
