// SPDX-License-Identifier: Apache-2.0
// Once the engine and the cache are there, no packet takes memory: neither from operator new, nor from OpenSSL's
// heap. Every key is expanded anew in each round.
#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <array>
#include <cstdlib>
#include <new>
#include <vector>

#include "crypto/context_cache.h"
#include "crypto/frame_for_test.h"

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

[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace testudo::crypto {
namespace {

constexpr std::size_t kText = 1008;  // bytes

class Allocation : public testing::TestWithParam<Backend> {
 protected:
  Allocation() {
    auto cache = make_context_cache(*engine_, 1);
    CHECK(cache.has_value());
    cache_ = std::move(*cache);
    for (const Suite suite : all_suites()) {
      auto key = CipherKey::make(suite, Secret(random_bytes(rng_, sizes(suite).key)), Esn::kYes);
      CHECK(key.has_value());
      keys_.push_back(std::move(*key));
    }
  }

  bool esp(CipherKey& key) {
    const SuiteSizes& s = sizes(key.suite());
    const Frame frame{&cache_->get(key), buffer_.data(), static_cast<std::uint32_t>(8 + s.iv + kText + s.icv), 1};
    const PeekRequest request{frame.context, frame.data, 80, peeked_.data()};
    engine_->seal({&frame, 1});
    engine_->peek({&request, 1});
    return engine_->open({&frame, 1}) == 1;
  }

  bool ah(CipherKey& key) {
    const AuthFrame frame{&cache_->get(key), buffer_.data(), kText, 1, iv_.data(), icv_.data()};
    engine_->sign({&frame, 1});
    return engine_->verify({&frame, 1}) == 1;
  }

  SeededRng rng_{1};
  std::unique_ptr<Engine> engine_ = engine_of(GetParam());
  std::unique_ptr<ContextCache> cache_;
  std::vector<CipherKey> keys_;
  std::array<std::uint8_t, 2000> buffer_{};
  std::array<std::uint8_t, 80> peeked_;
  std::array<std::uint8_t, 8> iv_{};
  std::array<std::uint8_t, kIcvMax> icv_;
};

INSTANTIATE_TEST_SUITE_P(Backends, Allocation, testing::Values(Backend::kIpsecMb, Backend::kOpenssl),
                         [](const auto& p) { return p.param == Backend::kIpsecMb ? "IpsecMb" : "Openssl"; });

TEST_P(Allocation, NoneOnThePacketPath) {
  ASSERT_EQ(openssl_is_counted, 1);
  ASSERT_GT(allocations, 0u);  // the counter counts
  for (CipherKey& key : keys_) {
    const std::uint64_t before = allocations;
    for (int i = 0; i < 20; ++i) {
      cache_->begin_burst();
      ASSERT_TRUE(is_ah(key.suite()) ? ah(key) : esp(key)) << sizes(key.suite()).name;
      cache_->forget(key);
    }
    EXPECT_EQ(allocations, before) << sizes(key.suite()).name;
  }
}

}  // namespace
}  // namespace testudo::crypto
