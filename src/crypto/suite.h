// SPDX-License-Identifier: Apache-2.0
// The cipher suites that an SA can use: one list, from which enum, names and sizes are made.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace testudo::crypto {

// X(enumerator, "name", key bytes, IV bytes on the wire, ICV bytes, block: payload + padding + 2 is a multiple of
// it) Key layouts: AES-GCM: AES key, then the 4-byte salt (RFC 4106). CBC with HMAC: AES key, then the HMAC key.
#define TESTUDO_SUITES(X)                                                     \
  X(kAesGcm128Icv16, "AES-GCM-128", 16 + 4, 8, 16, 4)                         \
  X(kAesGcm256Icv16, "AES-GCM-256", 32 + 4, 8, 16, 4)                         \
  X(kAesCbc128HmacSha256, "AES-CBC-128+HMAC-SHA256-128", 16 + 32, 16, 16, 16) \
  X(kAesCbc256HmacSha256, "AES-CBC-256+HMAC-SHA256-128", 32 + 32, 16, 16, 16)

enum class Suite : std::uint8_t {
#define X(enumerator, name, key, iv, icv, block) enumerator,
  TESTUDO_SUITES(X)
#undef X
};

struct SuiteSizes {
  std::string_view name;
  std::size_t key, iv, icv, block;  // bytes
};

inline constexpr std::array kSuites = {
#define X(enumerator, name, key, iv, icv, block) SuiteSizes{name, key, iv, icv, block},
    TESTUDO_SUITES(X)
#undef X
};

[[nodiscard]] constexpr const SuiteSizes& sizes(Suite suite) { return kSuites[static_cast<std::size_t>(suite)]; }

/// AES-GCM: encryption and integrity in one, with an IV that must never repeat under one key.
[[nodiscard]] constexpr bool is_gcm(Suite suite) {
  return suite == Suite::kAesGcm128Icv16 || suite == Suite::kAesGcm256Icv16;
}

}  // namespace testudo::crypto
