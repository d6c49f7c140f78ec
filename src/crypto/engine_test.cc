// SPDX-License-Identifier: Apache-2.0
// Both backends agree on every length, and refuse whatever was changed.
#include "crypto/engine.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "crypto/frame_for_test.h"
#include "crypto/random_stream.h"

namespace testudo::crypto {
namespace {

/// One SA on both backends.
struct Pair {
  Pair(Suite s, Esn esn, Rng& rng) : suite(s) {
    const Bytes key = random_bytes(rng, sizes(suite).key);
    mb_context = context_of(*mb, suite, key, esn);
    openssl_context = context_of(*openssl, suite, key, esn);
  }
  Suite suite;
  std::unique_ptr<Engine> mb = engine_of(Backend::kIpsecMb);
  std::unique_ptr<Engine> openssl = engine_of(Backend::kOpenssl);
  OwnedContext mb_context, openssl_context;
};

std::size_t fixed_size(Suite suite) { return 8 + sizes(suite).iv + sizes(suite).icv; }

TEST(Engine, BackendsAgreeOnEveryLength) {
  SeededRng rng(1);
  for (const Suite suite : kEspSuites) {
    for (const Esn esn : {Esn::kNo, Esn::kYes}) {
      Pair pair(suite, esn, rng);
      for (std::size_t text = sizes(suite).block; text <= 2000; text += sizes(suite).block) {
        const Bytes plain = random_bytes(rng, fixed_size(suite) + text);
        Bytes a = plain;
        Bytes b = plain;
        const Frame frame_a = frame_of(*pair.mb_context, a, 7);
        const Frame frame_b = frame_of(*pair.openssl_context, b, 7);
        pair.mb->seal({&frame_a, 1});
        pair.openssl->seal({&frame_b, 1});
        ASSERT_EQ(a, b) << sizes(suite).name << ' ' << text;
        ASSERT_EQ(pair.mb->open({&frame_a, 1}), 1u) << sizes(suite).name << ' ' << text;
        ASSERT_EQ(pair.openssl->open({&frame_b, 1}), 1u);
        const auto text_end = plain.end() - static_cast<std::ptrdiff_t>(sizes(suite).icv);
        ASSERT_TRUE(std::equal(plain.begin(), text_end, a.begin()));
        ASSERT_TRUE(std::equal(plain.begin(), text_end, b.begin()));
      }
    }
  }
}

TEST(Engine, PeeksOfBothBackendsArePartsOfTheText) {
  SeededRng rng(2);
  for (const Suite suite : kEspSuites) {
    Pair pair(suite, Esn::kNo, rng);
    for (std::size_t size = sizes(suite).block; size <= kPeekMax; size += sizes(suite).block) {
      const Bytes plain = random_bytes(rng, fixed_size(suite) + 208);
      Bytes sealed = plain;
      const Frame frame = frame_of(*pair.mb_context, sealed);
      pair.mb->seal({&frame, 1});
      for (std::size_t skip = 0; skip + size <= 208; skip += kPeekStep) {
        Bytes a(size);
        Bytes b(size);
        PeekRequest request{.context = pair.mb_context.get(),
                            .data = sealed.data(),
                            .size = static_cast<std::uint32_t>(size),
                            .out = a.data(),
                            .skip = static_cast<std::uint32_t>(skip)};
        pair.mb->peek({&request, 1});
        request.context = pair.openssl_context.get();
        request.out = b.data();
        pair.openssl->peek({&request, 1});
        const auto text = plain.begin() + 8 + static_cast<std::ptrdiff_t>(sizes(suite).iv + skip);
        const Bytes expected(text, text + static_cast<std::ptrdiff_t>(size));
        ASSERT_EQ(a, expected) << sizes(suite).name << ' ' << size << " behind " << skip;
        ASSERT_EQ(b, expected) << sizes(suite).name << ' ' << size << " behind " << skip;
      }
    }
  }
}

TEST(Engine, PeeksOfBothBackendsBehindWhatIsSkipped) {
  SeededRng rng(4);
  for (const Suite suite : kEspSuites) {
    Pair pair(suite, Esn::kNo, rng);
    for (const std::uint32_t skip : {0u, 64u, 128u, 1344u}) {
      const Bytes plain = random_bytes(rng, fixed_size(suite) + skip + 48);
      Bytes sealed = plain;
      const Frame frame = frame_of(*pair.mb_context, sealed);
      pair.mb->seal({&frame, 1});
      Bytes a(48);
      Bytes b(48);
      const PeekRequest request_a{pair.mb_context.get(), sealed.data(), 48, a.data(), skip};
      const PeekRequest request_b{pair.openssl_context.get(), sealed.data(), 48, b.data(), skip};
      pair.mb->peek({&request_a, 1});
      pair.openssl->peek({&request_b, 1});
      const auto from = plain.begin() + 8 + static_cast<std::ptrdiff_t>(sizes(suite).iv + skip);
      ASSERT_EQ(a, Bytes(from, from + 48)) << sizes(suite).name << ' ' << skip;
      ASSERT_EQ(b, Bytes(from, from + 48)) << sizes(suite).name << ' ' << skip;
    }
  }
}

class Refuses : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Backends, Refuses, testing::Values(Backend::kIpsecMb, Backend::kOpenssl),
                         [](const auto& p) { return p.param == Backend::kIpsecMb ? "IpsecMb" : "Openssl"; });

// SPI, sequence number, IV, text and ICV are all authenticated: every bit of the packet.
TEST_P(Refuses, EveryChangedBit) {
  SeededRng rng(3);
  const auto engine = engine_of(GetParam());
  for (const Suite suite : kEspSuites) {
    const auto context = context_of(*engine, suite, random_bytes(rng, sizes(suite).key));
    Bytes sealed = random_bytes(rng, fixed_size(suite) + 48);
    const Frame whole = frame_of(*context, sealed);
    engine->seal({&whole, 1});
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
      Bytes changed = sealed;
      changed[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      const Frame frame = frame_of(*context, changed);
      ASSERT_EQ(engine->open({&frame, 1}), 0u) << sizes(suite).name << " bit " << bit;
    }
  }
}

TEST_P(Refuses, AnotherHighHalfWithEsn) {
  SeededRng rng(4);
  const auto engine = engine_of(GetParam());
  for (const Suite suite : kEspSuites) {
    const auto context = context_of(*engine, suite, random_bytes(rng, sizes(suite).key), Esn::kYes);
    Bytes sealed = random_bytes(rng, fixed_size(suite) + 48);
    const Frame whole = frame_of(*context, sealed, 5);
    engine->seal({&whole, 1});
    for (const std::uint32_t high : {0u, 4u, 6u, 0x80000005u}) {
      Bytes copy = sealed;
      const Frame frame = frame_of(*context, copy, high);
      EXPECT_EQ(engine->open({&frame, 1}), 0u) << sizes(suite).name;
    }
    const Frame right = frame_of(*context, sealed, 5);
    EXPECT_EQ(engine->open({&right, 1}), 1u);
  }
}

// A burst of mixed suites and sizes, some of it forged: each bit speaks of its own frame.
TEST_P(Refuses, ForgedFramesAmongGoodOnes) {
  const auto engine = engine_of(GetParam());
  rc::check([&](std::uint64_t seed) {
    SeededRng rng(seed);
    std::vector<OwnedContext> contexts;
    std::vector<Bytes> packets;
    std::vector<Bytes> plains;
    std::vector<Frame> frames;
    const std::size_t n = *rc::gen::inRange<std::size_t>(0, kBurstMax + 1);
    for (std::size_t i = 0; i < n; ++i) {
      const Suite suite = kEspSuites[rng.next() % kEspSuites.size()];
      contexts.push_back(context_of(*engine, suite, random_bytes(rng, sizes(suite).key), Esn(rng.next() % 2 == 0)));
      const std::size_t text = sizes(suite).block * (1 + rng.next() % 90);
      packets.push_back(random_bytes(rng, fixed_size(suite) + text));
    }
    plains = packets;
    for (std::size_t i = 0; i < n; ++i) frames.push_back(frame_of(*contexts[i], packets[i], 1));
    engine->seal(frames);
    std::uint64_t expected = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (rng.next() % 3 == 0) {
        packets[i][rng.next() % packets[i].size()] ^= 0x10;
      } else {
        expected |= std::uint64_t{1} << i;
      }
    }
    RC_ASSERT(engine->open(frames) == expected);
    for (std::size_t i = 0; i < n; ++i) {
      if ((expected >> i & 1) == 0) continue;
      RC_ASSERT(std::equal(plains[i].begin(),
                           plains[i].end() - static_cast<std::ptrdiff_t>(contexts[i]->icv_size()),
                           packets[i].begin()));
    }
  });
}

// Whoever shares lanes, managers and scratch memory in a burst: each packet is what it is alone, on the other
// backend.
TEST(Engine, BackendsAgreeOnMixedBursts) {
  const auto mb = engine_of(Backend::kIpsecMb);
  const auto openssl = engine_of(Backend::kOpenssl);
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SeededRng rng(seed);
    std::vector<OwnedContext> contexts;
    std::vector<Bytes> a, b;
    std::vector<Frame> of_mb, of_openssl;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
      const Suite suite = kEspSuites[rng.next() % kEspSuites.size()];
      const Esn esn = rng.next() % 2 == 0 ? Esn::kYes : Esn::kNo;
      const Bytes key = random_bytes(rng, sizes(suite).key);
      contexts.push_back(context_of(*mb, suite, key, esn));
      contexts.push_back(context_of(*openssl, suite, key, esn));
      a.push_back(random_bytes(rng, fixed_size(suite) + sizes(suite).block * (1 + rng.next() % 120)));
    }
    b = a;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
      of_mb.push_back(frame_of(*contexts[2 * i], a[i], 9));
      of_openssl.push_back(frame_of(*contexts[2 * i + 1], b[i], 9));
    }
    mb->seal(of_mb);
    openssl->seal(of_openssl);
    for (std::size_t i = 0; i < kBurstMax; ++i)
      ASSERT_EQ(a[i], b[i]) << sizes(contexts[2 * i]->suite()).name << ' ' << seed;
    ASSERT_EQ(mb->open(of_mb), ~std::uint64_t{0});
    ASSERT_EQ(openssl->open(of_openssl), ~std::uint64_t{0});
    ASSERT_EQ(a.size(), b.size());
  }
}

// A text whose beginning lies elsewhere is sealed like one that is whole, and what lies elsewhere stays as it is.
TEST(Engine, SealsTextsInPieces) {
  SeededRng rng(8);
  for (const Suite suite : kEspSuites) {
    for (const Backend backend : {Backend::kIpsecMb, Backend::kOpenssl}) {
      const auto engine = engine_of(backend);
      const auto context = context_of(*engine, suite, random_bytes(rng, sizes(suite).key), Esn::kYes);
      for (const std::size_t text : {16u, 64u, 496u, 512u, 528u, 1424u, 2000u}) {
        for (const std::size_t rest : {0u, 2u, 5u, 16u}) {
          for (const std::size_t cut : {0u, 1u, 13u, 16u, 40u, 255u, 512u, 2000u}) {
            const Bytes plain = random_bytes(rng, fixed_size(suite) + text);
            Bytes whole = plain;
            const Frame one = frame_of(*context, whole, 3);
            engine->seal({&one, 1});
            const auto begin = plain.begin() + 8 + static_cast<std::ptrdiff_t>(sizes(suite).iv);
            const Bytes elsewhere(begin, begin + static_cast<std::ptrdiff_t>(text - rest));
            const Bytes before = elsewhere;
            Bytes cut_up = plain;
            std::fill_n(cut_up.begin() + (begin - plain.begin()), elsewhere.size(), std::uint8_t{0xee});
            Frame pieces = frame_of(*context, cut_up, 3);
            pieces.first = std::span(elsewhere).first(std::min(cut, elsewhere.size()));
            pieces.second = std::span(elsewhere).subspan(pieces.first.size());
            engine->seal({&pieces, 1});
            ASSERT_EQ(cut_up, whole) << sizes(suite).name << ' ' << text << ' ' << rest << ' ' << cut;
            ASSERT_EQ(elsewhere, before);
            // The same with the last piece in the middle of other data, all of which stays as it is.
            const auto last = pieces.second.empty() ? pieces.first : pieces.second;
            const std::size_t at = pieces.second.empty() ? 0 : pieces.first.size();
            Bytes around = random_bytes(rng, at + last.size() + kLentBehind);
            std::copy(last.begin(), last.end(), around.begin() + static_cast<std::ptrdiff_t>(at));
            const Bytes around_before = around;
            Bytes lent = plain;
            std::fill_n(lent.begin() + (begin - plain.begin()), elsewhere.size(), std::uint8_t{0xee});
            Frame one_piece = frame_of(*context, lent, 3);
            one_piece.first = pieces.first;
            (pieces.second.empty() ? one_piece.first : one_piece.second) =
                std::span(around).subspan(at, last.size());
            one_piece.lent = true;
            engine->seal({&one_piece, 1});
            ASSERT_EQ(lent, whole) << sizes(suite).name << ' ' << text << ' ' << rest << ' ' << cut;
            ASSERT_EQ(around, around_before);
            ASSERT_EQ(elsewhere, before);
          }
        }
      }
    }
  }
}

TEST(EngineDeathTest, PiecesLongerThanTheText) {
  SeededRng rng(9);
  for (const Backend backend : {Backend::kIpsecMb, Backend::kOpenssl}) {
    const auto engine = engine_of(backend);
    const Suite suite = Suite::kAesGcm128Icv16;
    const auto context = context_of(*engine, suite, random_bytes(rng, sizes(suite).key), Esn::kNo);
    Bytes bytes = random_bytes(rng, fixed_size(suite) + 64);
    const Bytes elsewhere(65);
    Frame frame = frame_of(*context, bytes, 0);
    frame.first = elsewhere;
    EXPECT_DEATH(engine->seal({&frame, 1}), "fits_in_pieces");
  }
}

TEST(Engine, PeeksAMixedBurst) {
  SeededRng rng(5);
  const auto engine = engine_of(Backend::kIpsecMb);
  std::vector<OwnedContext> contexts;
  std::vector<Bytes> packets;
  std::vector<Frame> frames;
  for (std::size_t i = 0; i < kBurstMax; ++i) {
    const Suite suite = kEspSuites[rng.next() % kEspSuites.size()];
    contexts.push_back(context_of(*engine, suite, random_bytes(rng, sizes(suite).key)));
    packets.push_back(random_bytes(rng, fixed_size(suite) + 160));
  }
  const std::vector<Bytes> plains = packets;
  for (std::size_t i = 0; i < kBurstMax; ++i) frames.push_back(frame_of(*contexts[i], packets[i]));
  engine->seal(frames);
  std::array<std::array<std::uint8_t, 80>, kBurstMax> out;
  std::vector<PeekRequest> requests;
  for (std::size_t i = 0; i < kBurstMax; ++i)
    requests.push_back({contexts[i].get(), packets[i].data(), 80, out[i].data()});
  engine->peek(requests);
  for (std::size_t i = 0; i < kBurstMax; ++i) {
    const auto* text = plains[i].data() + 8 + sizes(contexts[i]->suite()).iv;
    EXPECT_TRUE(std::equal(out[i].begin(), out[i].end(), text)) << i;
  }
}

// Made by one engine, used by another: how a worker gets what the control thread made.
TEST(Engine, ContextsMoveBetweenEnginesOfOneBackend) {
  SeededRng rng(6);
  for (const Suite suite : kEspSuites) {
    auto maker = engine_of(Backend::kBest);
    const auto user = engine_of(Backend::kBest);
    const auto context = context_of(*maker, suite, random_bytes(rng, sizes(suite).key));
    maker.reset();
    Bytes bytes = random_bytes(rng, fixed_size(suite) + 160);
    const Frame frame = frame_of(*context, bytes);
    user->seal({&frame, 1});
    EXPECT_EQ(user->open({&frame, 1}), 1u);
  }
}

TEST(Engine, RefusesKeysOfAnotherSize) {
  const auto engine = engine_of(Backend::kBest);
  const auto context = engine->make_context(Suite::kAesGcm128Icv16, Secret(16), Esn::kNo);
  ASSERT_FALSE(context.has_value());
  EXPECT_EQ(context.error().message, "a key of 16 bytes for AES-GCM-128, which takes 20");
}

TEST(Engine, KnowsWhichSizesCanBeFrames) {
  struct Row {
    Suite suite;
    std::size_t size;
    bool fits;
  };
  for (const Row& row : {Row{Suite::kAesGcm128Icv16, 0, false}, Row{Suite::kAesGcm128Icv16, 32, false},
                         Row{Suite::kAesGcm128Icv16, 35, false}, Row{Suite::kAesGcm128Icv16, 36, true},
                         Row{Suite::kAesCbc128HmacSha256, 40, false}, Row{Suite::kAesCbc128HmacSha256, 48, false},
                         Row{Suite::kAesCbc128HmacSha256, 56, true}, Row{Suite::kAesCbc128HmacSha256, 57, false}}) {
    EXPECT_EQ(frame_fits(row.suite, row.size), row.fits) << sizes(row.suite).name << ' ' << row.size;
  }
}

TEST(RandomStream, NeverRepeatsAndDependsOnItsSeedOnly) {
  SeededRng one(1);
  SeededRng same(1);
  SeededRng other(2);
  RandomStream a(one);
  RandomStream b(same);
  RandomStream c(other);
  std::set<std::array<std::uint8_t, 16>> seen;
  for (int i = 0; i < 1000; ++i) {
    std::array<std::uint8_t, 16> x;
    std::array<std::uint8_t, 16> y;
    std::array<std::uint8_t, 16> z;
    a.fill(x);
    b.fill(y);
    c.fill(z);
    EXPECT_EQ(x, y);
    EXPECT_TRUE(seen.insert(x).second);
    EXPECT_TRUE(seen.insert(z).second);
  }
}

}  // namespace
}  // namespace testudo::crypto
