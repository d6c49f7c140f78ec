// SPDX-License-Identifier: Apache-2.0
// The cipher suites that are measured. A new one is a line in kSuites; a new algorithm is a case in raw_peer.cc and
// in dpdk_peer.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "crypto/suite.h"

namespace testudo::bench {

enum class Algorithm : std::uint8_t { kGcm, kCbcHmacSha256, kChaCha20Poly1305 };

struct Suite {
  std::string_view name;  // in the names of benchmarks
  crypto::Suite ours;
  Algorithm algorithm;
  std::size_t cipher_key;  // bytes; the key of the SA begins with them
  std::size_t other_key;   // bytes; salt (RFC 4106, RFC 7634) or key of the HMAC
};

inline constexpr std::array kSuites = {
    Suite{"gcm128", crypto::Suite::kAesGcm128Icv16, Algorithm::kGcm, 16, 4},
    Suite{"cbc128-sha256", crypto::Suite::kAesCbc128HmacSha256, Algorithm::kCbcHmacSha256, 16, 32},
    Suite{"chacha20-poly1305", crypto::Suite::kChacha20Poly1305, Algorithm::kChaCha20Poly1305, 32, 4},
};

/// The key of SA number `sa`, the same for every contender. Suite-defined: crypto/suite.h says the layout.
inline std::vector<std::uint8_t> key_of(const Suite& suite, std::uint32_t sa) {
  std::vector<std::uint8_t> key(suite.cipher_key + suite.other_key);
  SeededRng(1000 + sa).fill(key);
  return key;
}

}  // namespace testudo::bench
