// SPDX-License-Identifier: Apache-2.0
// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for tables whose keys outsiders choose.
//
//   const distributor::SipKey key{rng.next(), rng.next()};
//   const std::uint64_t h = distributor::siphash(key, bytes);
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace testudo::distributor {

struct SipKey {
  std::uint64_t k0 = 0, k1 = 0;
};

namespace internal {

struct SipState {
  std::uint64_t v0, v1, v2, v3;

  constexpr void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  constexpr void absorb(std::uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

}  // namespace internal

/// A word at a time: where the size is known to the compiler, there is no loop left.
[[nodiscard]] inline std::uint64_t siphash(const SipKey& key, std::span<const std::uint8_t> bytes) {
  static_assert(std::endian::native == std::endian::little);
  internal::SipState s{key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d, key.k0 ^ 0x6c7967656e657261,
                       key.k1 ^ 0x7465646279746573};
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t word = 0;
  for (; left >= sizeof word; at += sizeof word, left -= sizeof word) {
    std::memcpy(&word, at, sizeof word);
    s.absorb(word);
  }
  word = 0;
  if (left != 0) std::memcpy(&word, at, left);
  s.absorb(word | std::uint64_t{bytes.size()} << 56);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

}  // namespace testudo::distributor
