// SPDX-License-Identifier: Apache-2.0
#include "crypto/context_cache.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "crypto/frame_for_test.h"

namespace testudo::crypto {
namespace {

CipherKey key_of(Rng& rng, Suite suite = Suite::kAesGcm128Icv16, Esn esn = Esn::kNo) {
  auto key = CipherKey::make(suite, Secret(random_bytes(rng, sizes(suite).key)), esn);
  CHECK(key.has_value());
  return std::move(*key);
}

class Cache : public testing::TestWithParam<Backend> {
 protected:
  static std::unique_ptr<ContextCache> make(Engine& engine) {
    auto cache = make_context_cache(engine, 1);
    CHECK(cache.has_value());
    return std::move(*cache);
  }
  std::vector<CipherKey> keys(std::size_t n) {
    std::vector<CipherKey> made;
    for (std::size_t i = 0; i < n; ++i) made.push_back(key_of(rng_));
    return made;
  }
  /// Whether a context is the expanded form of this key: it opens what one that was made the other way sealed.
  bool belongs(const CipherContext& context, const CipherKey& key) {
    const auto own = context_of(*engine_, key.suite(), key.secret().bytes(), key.esn());
    Bytes bytes = random_bytes(rng_, 8 + sizes(key.suite()).iv + 48 + sizes(key.suite()).icv);
    const Frame sealed = frame_of(*own, bytes, 1);
    engine_->seal({&sealed, 1});
    const Frame frame = frame_of(context, bytes, 1);
    return engine_->open({&frame, 1}) == 1;
  }

  SeededRng rng_{1};
  std::unique_ptr<Engine> engine_ = engine_of(GetParam());
  std::unique_ptr<ContextCache> cache_ = make(*engine_);
};

INSTANTIATE_TEST_SUITE_P(Backends, Cache, testing::Values(Backend::kIpsecMb, Backend::kOpenssl),
                         [](const auto& p) { return p.param == Backend::kIpsecMb ? "IpsecMb" : "Openssl"; });

TEST_P(Cache, ExpandsAKeyOnceAndFindsItAgain) {
  CipherKey key = key_of(rng_);
  const CipherContext& first = cache_->get(key);
  EXPECT_TRUE(belongs(first, key));
  for (int i = 0; i < 10; ++i) {
    cache_->begin_burst();
    EXPECT_EQ(&cache_->get(key), &first);
  }
  EXPECT_EQ(cache_->expansions(), 1u);
}

TEST_P(Cache, ServesEverySuite) {
  for (const Suite suite : kEspSuites) {
    for (const Esn esn : {Esn::kNo, Esn::kYes}) {
      CipherKey key = key_of(rng_, suite, esn);
      EXPECT_TRUE(belongs(cache_->get(key), key)) << sizes(suite).name;
      cache_->begin_burst();
    }
  }
}

TEST_P(Cache, ServesMoreKeysThanItHolds) {
  auto many = keys(3 * cache_->capacity());
  for (int round = 0; round < 3; ++round) {
    for (CipherKey& key : many) {
      cache_->begin_burst();
      ASSERT_TRUE(belongs(cache_->get(key), key));
    }
  }
  EXPECT_GE(cache_->expansions(), many.size());
}

// However many keys a burst has, up to the limit, none takes the place of another.
TEST_P(Cache, KeepsWhatABurstUses) {
  auto many = keys(3 * cache_->capacity());
  for (int round = 0; round < 20; ++round) {
    cache_->begin_burst();
    std::vector<std::pair<const CipherContext*, CipherKey*>> used;
    std::set<const CipherContext*> different;
    std::set<CipherKey*> chosen;
    while (chosen.size() < ContextCache::kPinnedMax) chosen.insert(&many[rng_.next() % many.size()]);
    for (CipherKey* key : chosen) {
      used.emplace_back(&cache_->get(*key), key);
      different.insert(used.back().first);
    }
    ASSERT_EQ(different.size(), chosen.size());
    for (const auto& [context, key] : used) ASSERT_TRUE(belongs(*context, *key));
  }
}

// A key in constant use is not expanded anew because others come and go; but once, perhaps, when the hand has found
// nothing to take for all of its steps.
TEST_P(Cache, KeepsWhatIsUsedOften) {
  CipherKey hot = key_of(rng_);
  auto cold = keys(10 * cache_->capacity());
  for (CipherKey& key : cold) {
    cache_->begin_burst();
    (void)cache_->get(hot);
    cache_->begin_burst();
    (void)cache_->get(key);
  }
  EXPECT_LE(cache_->expansions(), cold.size() + 2);
}

TEST_P(Cache, ForgottenKeysLeaveNothing) {
  CipherKey key = key_of(rng_);
  const CipherContext& context = cache_->get(key);
  cache_->begin_burst();
  cache_->forget(key);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&context);
  for (std::size_t i = 0; i < sizeof context; ++i) ASSERT_EQ(bytes[i], 0) << i;
  EXPECT_TRUE(belongs(cache_->get(key), key));
  EXPECT_EQ(cache_->expansions(), 2u);
  cache_->forget(key_of(rng_));  // one that it never had
  EXPECT_TRUE(belongs(cache_->get(key), key));
}

TEST_P(Cache, TellsKeysApartThatLieInTheSamePlace) {
  std::vector<CipherKey> place = keys(1);
  (void)cache_->get(place[0]);
  place[0] = key_of(rng_);
  EXPECT_TRUE(belongs(cache_->get(place[0]), place[0]));
}

TEST_P(Cache, MovedKeysAreFoundAgain) {
  CipherKey key = key_of(rng_);
  const CipherContext& context = cache_->get(key);
  CipherKey moved = std::move(key);
  EXPECT_EQ(&cache_->get(moved), &context);
}

TEST_P(Cache, TwoCachesOfOneKeyDoNotMixUp) {
  const auto other = make(*engine_);
  auto some = keys(8);
  CipherKey key = key_of(rng_);
  (void)cache_->get(key);
  for (CipherKey& each : some) (void)other->get(each);
  EXPECT_TRUE(belongs(other->get(key), key));
  EXPECT_TRUE(belongs(cache_->get(key), key));
}

TEST(CipherKey, RefusesKeysOfAnotherSize) {
  const auto key = CipherKey::make(Suite::kAesGcm128Icv16, Secret(16), Esn::kNo);
  ASSERT_FALSE(key.has_value());
  EXPECT_EQ(key.error().message, "a key of 16 bytes for AES-GCM-128, which takes 20");
  EXPECT_FALSE(CipherKey::make(Suite{}, Secret(std::size_t{0}), Esn::kNo).has_value());
  EXPECT_FALSE(CipherKey::make({Cipher::kAesCbc128, Integrity::kNone}, Secret(16), Esn::kNo).has_value());
}

}  // namespace
}  // namespace testudo::crypto
