// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/chacha20_block.h"

#include <array>
#include <bit>
#include <cstddef>
#include <span>

#include "base/secret.h"

namespace testudo::crypto {
namespace {

using State = std::array<std::uint32_t, 16>;

std::uint32_t load_le(const std::uint8_t* at) {
  return std::uint32_t{at[0]} | std::uint32_t{at[1]} << 8 | std::uint32_t{at[2]} << 16 | std::uint32_t{at[3]} << 24;
}

void quarter_round(State& s, std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
  s[a] += s[b], s[d] = std::rotl(s[d] ^ s[a], 16);
  s[c] += s[d], s[b] = std::rotl(s[b] ^ s[c], 12);
  s[a] += s[b], s[d] = std::rotl(s[d] ^ s[a], 8);
  s[c] += s[d], s[b] = std::rotl(s[b] ^ s[c], 7);
}

}  // namespace

void chacha20_block(const std::uint8_t* key, std::uint32_t counter, const std::uint8_t* nonce, std::uint8_t* out) {
  State first = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};  // "expand 32-byte k"
  for (std::size_t i = 0; i < 8; ++i) first[4 + i] = load_le(key + 4 * i);
  first[12] = counter;
  for (std::size_t i = 0; i < 3; ++i) first[13 + i] = load_le(nonce + 4 * i);
  State s = first;
  for (int i = 0; i < 10; ++i) {
    for (std::size_t k = 0; k < 4; ++k) quarter_round(s, k, k + 4, k + 8, k + 12);
    for (std::size_t k = 0; k < 4; ++k) quarter_round(s, k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4);
  }
  for (std::size_t i = 0; i < 16; ++i) {
    const std::uint32_t word = s[i] + first[i];
    for (std::size_t b = 0; b < 4; ++b) out[4 * i + b] = static_cast<std::uint8_t>(word >> (8 * b));
  }
  zero({reinterpret_cast<std::uint8_t*>(first.data()), sizeof first});  // it held the key
  zero({reinterpret_cast<std::uint8_t*>(s.data()), sizeof s});
}

}  // namespace testudo::crypto
