// SPDX-License-Identifier: Apache-2.0
// sign() and verify(): both backends agree on every suite of AH, with ESN and without, and refuse whatever was
// changed.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "crypto/frame_for_test.h"

namespace testudo::crypto {
namespace {

/// What AH covers, with room behind it, an IV, and a place for the ICV.
struct Message {
  Message(Rng& rng, std::size_t message_size) : bytes(random_bytes(rng, message_size + 4)), size(message_size) {
    rng.fill(iv);
  }
  AuthFrame frame(const CipherContext& context, std::uint32_t high = 0) {
    return {.context = &context,
            .data = bytes.data(),
            .size = static_cast<std::uint32_t>(size),
            .sequence_high = high,
            .iv = iv.data(),
            .icv = icv.data()};
  }
  Bytes bytes;  // the last 4 are behind the message
  std::size_t size;
  std::array<std::uint8_t, 8> iv;
  std::array<std::uint8_t, kIcvMax> icv{};
};

bool verifies(Engine& engine, const AuthFrame& frame) { return engine.verify({&frame, 1}) == 1; }

TEST(Auth, BackendsAgreeOnEveryLength) {
  SeededRng rng(1);
  const auto mb = engine_of(Backend::kIpsecMb);
  const auto openssl = engine_of(Backend::kOpenssl);
  ASSERT_EQ(kAhSuites.size(), 9u);
  for (const Suite suite : kAhSuites) {
    for (const Esn esn : {Esn::kNo, Esn::kYes}) {
      const Bytes key = random_bytes(rng, sizes(suite).key);
      const auto mb_context = context_of(*mb, suite, key, esn);
      const auto openssl_context = context_of(*openssl, suite, key, esn);
      for (std::size_t size = 1; size <= 2000; ++size) {
        Message m(rng, size);
        const Bytes before = m.bytes;
        const AuthFrame of_mb = m.frame(*mb_context, 7);
        mb->sign({&of_mb, 1});
        ASSERT_EQ(m.bytes, before);
        const auto icv = m.icv;
        ASSERT_TRUE(verifies(*mb, of_mb));
        m.icv = {};
        const AuthFrame of_openssl = m.frame(*openssl_context, 7);
        openssl->sign({&of_openssl, 1});
        ASSERT_EQ(m.icv, icv) << sizes(suite).name << ' ' << size;
        ASSERT_TRUE(verifies(*openssl, of_openssl));
        ASSERT_EQ(m.bytes, before);
      }
    }
  }
}

class AuthRefuses : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Backends, AuthRefuses, testing::Values(Backend::kIpsecMb, Backend::kOpenssl),
                         [](const auto& p) { return p.param == Backend::kIpsecMb ? "IpsecMb" : "Openssl"; });

// Message, ICV and, with AES-GMAC, IV: every bit. What lies behind the message counts for nothing.
TEST_P(AuthRefuses, EveryChangedBit) {
  SeededRng rng(2);
  const auto engine = engine_of(GetParam());
  for (const Suite suite : kAhSuites) {
    for (const Esn esn : {Esn::kNo, Esn::kYes}) {
      SCOPED_TRACE(sizes(suite).name);
      const auto context = context_of(*engine, suite, random_bytes(rng, sizes(suite).key), esn);
      Message m(rng, 77);
      const AuthFrame frame = m.frame(*context, 3);
      engine->sign({&frame, 1});
      const auto refuses = [&](std::span<std::uint8_t> bytes) {
        for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
          const auto mask = static_cast<std::uint8_t>(1 << bit % 8);
          bytes[bit / 8] ^= mask;
          ASSERT_FALSE(verifies(*engine, frame)) << bit;
          bytes[bit / 8] ^= mask;
        }
      };
      refuses(std::span(m.bytes).first(m.size));
      refuses(std::span(m.icv).first(sizes(suite).icv));
      refuses(std::span(m.iv).first(sizes(suite).iv));
      m.bytes.back() ^= 1;
      EXPECT_TRUE(verifies(*engine, frame));
      EXPECT_EQ(verifies(*engine, m.frame(*context, 4)), esn == Esn::kNo);
    }
  }
}

TEST_P(AuthRefuses, ForgedFramesAmongGoodOnes) {
  SeededRng rng(3);
  const auto engine = engine_of(GetParam());
  for (int round = 0; round < 50; ++round) {
    std::vector<OwnedContext> contexts;
    std::vector<Message> messages;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
      const Suite suite = kAhSuites[rng.next() % kAhSuites.size()];
      contexts.push_back(context_of(*engine, suite, random_bytes(rng, sizes(suite).key), Esn(rng.next() % 2 == 0)));
      messages.emplace_back(rng, 1 + rng.next() % 1500);
    }
    std::vector<AuthFrame> frames;
    for (std::size_t i = 0; i < kBurstMax; ++i) frames.push_back(messages[i].frame(*contexts[i], 1));
    engine->sign(frames);
    std::uint64_t expected = 0;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
      const bool forged = rng.next() % 3 == 0;
      if (forged) messages[i].bytes[rng.next() % messages[i].size] ^= 0x10;
      expected |= std::uint64_t{!forged} << i;
    }
    ASSERT_EQ(engine->verify(frames), expected);
  }
}

// As a caller has it that signs a packet where it lies.
TEST_P(AuthRefuses, NothingWhenTheIcvLiesInTheMessage) {
  SeededRng rng(4);
  const auto engine = engine_of(GetParam());
  for (const Suite suite : kAhSuites) {
    const auto context = context_of(*engine, suite, random_bytes(rng, sizes(suite).key), Esn::kYes);
    Message m(rng, 100);
    std::fill_n(m.bytes.begin() + 20, sizes(suite).icv, std::uint8_t{0});
    AuthFrame frame = m.frame(*context);
    frame.icv = m.bytes.data() + 20;
    engine->sign({&frame, 1});
    std::copy_n(m.bytes.begin() + 20, sizes(suite).icv, m.icv.begin());
    std::fill_n(m.bytes.begin() + 20, sizes(suite).icv, std::uint8_t{0});
    EXPECT_TRUE(verifies(*engine, m.frame(*context))) << sizes(suite).name;
  }
}

}  // namespace
}  // namespace testudo::crypto
