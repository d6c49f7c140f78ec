// SPDX-License-Identifier: Apache-2.0
// The cipher suites that an SA can use: a cipher and an integrity algorithm, from one list each.
//
//   constexpr Suite suite{Cipher::kAesCbc128, Integrity::kHmacSha256};   // or Suite::kAesCbc128HmacSha256
//   sizes(suite).key, .iv, .icv, .block                                  // bytes
//   std::optional<Suite> s = suite_of("AES-GCM-128");                    // what sizes(*s).name says
//   for (Suite s : all_suites()) …                                       // every combination that exists
//
// ESP has a cipher; encryption without integrity does not exist. AH has Cipher::kNone. Suite{} is no suite. What
// RFC 8221 says of each: crypto/advice.h.
//
// The enumerators' values travel between nodes (suite_number()): append, never insert or remove.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace testudo::crypto {

/// How a cipher works, which is what the engines branch on.
enum class Mode : std::uint8_t { kNone, kNull, kCbc, kCtr, kGcm, kGmac, kCcm, kChacha };

// X(enumerator, "name", Mode, key bytes, salt bytes, IV bytes on the wire, ICV bytes, block: payload + padding + 2
// is a multiple of it). Key layout: key, then salt (RFC 4106, 4309, 7634: salt; RFC 3686: nonce). ICV: of AEADs
// only.
#define TESTUDO_CIPHERS(X)                                        \
  X(kNone, "", kNone, 0, 0, 0, 0, 1)                              \
  X(kNull, "NULL", kNull, 0, 0, 0, 0, 4)                          \
  X(kAesCbc128, "AES-CBC-128", kCbc, 16, 0, 16, 0, 16)            \
  X(kAesCbc192, "AES-CBC-192", kCbc, 24, 0, 16, 0, 16)            \
  X(kAesCbc256, "AES-CBC-256", kCbc, 32, 0, 16, 0, 16)            \
  X(kAesCtr128, "AES-CTR-128", kCtr, 16, 4, 8, 0, 4)              \
  X(kAesCtr192, "AES-CTR-192", kCtr, 24, 4, 8, 0, 4)              \
  X(kAesCtr256, "AES-CTR-256", kCtr, 32, 4, 8, 0, 4)              \
  X(kAesGcm128Icv8, "AES-GCM-128-ICV8", kGcm, 16, 4, 8, 8, 4)     \
  X(kAesGcm128Icv12, "AES-GCM-128-ICV12", kGcm, 16, 4, 8, 12, 4)  \
  X(kAesGcm128Icv16, "AES-GCM-128", kGcm, 16, 4, 8, 16, 4)        \
  X(kAesGcm192Icv8, "AES-GCM-192-ICV8", kGcm, 24, 4, 8, 8, 4)     \
  X(kAesGcm192Icv12, "AES-GCM-192-ICV12", kGcm, 24, 4, 8, 12, 4)  \
  X(kAesGcm192Icv16, "AES-GCM-192", kGcm, 24, 4, 8, 16, 4)        \
  X(kAesGcm256Icv8, "AES-GCM-256-ICV8", kGcm, 32, 4, 8, 8, 4)     \
  X(kAesGcm256Icv12, "AES-GCM-256-ICV12", kGcm, 32, 4, 8, 12, 4)  \
  X(kAesGcm256Icv16, "AES-GCM-256", kGcm, 32, 4, 8, 16, 4)        \
  X(kNullAesGmac128, "NULL-AES-GMAC-128", kGmac, 16, 4, 8, 16, 4) \
  X(kNullAesGmac192, "NULL-AES-GMAC-192", kGmac, 24, 4, 8, 16, 4) \
  X(kNullAesGmac256, "NULL-AES-GMAC-256", kGmac, 32, 4, 8, 16, 4) \
  X(kAesCcm128Icv8, "AES-CCM-128-ICV8", kCcm, 16, 3, 8, 8, 4)     \
  X(kAesCcm128Icv12, "AES-CCM-128-ICV12", kCcm, 16, 3, 8, 12, 4)  \
  X(kAesCcm128Icv16, "AES-CCM-128", kCcm, 16, 3, 8, 16, 4)        \
  X(kAesCcm192Icv8, "AES-CCM-192-ICV8", kCcm, 24, 3, 8, 8, 4)     \
  X(kAesCcm192Icv12, "AES-CCM-192-ICV12", kCcm, 24, 3, 8, 12, 4)  \
  X(kAesCcm192Icv16, "AES-CCM-192", kCcm, 24, 3, 8, 16, 4)        \
  X(kAesCcm256Icv8, "AES-CCM-256-ICV8", kCcm, 32, 3, 8, 8, 4)     \
  X(kAesCcm256Icv12, "AES-CCM-256-ICV12", kCcm, 32, 3, 8, 12, 4)  \
  X(kAesCcm256Icv16, "AES-CCM-256", kCcm, 32, 3, 8, 16, 4)        \
  X(kChacha20Poly1305, "CHACHA20-POLY1305", kChacha, 32, 4, 8, 16, 4)

// X(enumerator, "name", key bytes, salt bytes, IV bytes, ICV bytes). The key follows the cipher's. AES-GMAC is AH's
// only (RFC 4543 section 4); in ESP it is a cipher above. Its IV travels before the ICV.
#define TESTUDO_INTEGRITIES(X)                    \
  X(kNone, "", 0, 0, 0, 0)                        \
  X(kHmacSha1, "HMAC-SHA1-96", 20, 0, 0, 12)      \
  X(kHmacSha256, "HMAC-SHA256-128", 32, 0, 0, 16) \
  X(kHmacSha384, "HMAC-SHA384-192", 48, 0, 0, 24) \
  X(kHmacSha512, "HMAC-SHA512-256", 64, 0, 0, 32) \
  X(kAesXcbc, "AES-XCBC-96", 16, 0, 0, 12)        \
  X(kAesCmac, "AES-CMAC-96", 16, 0, 0, 12)        \
  X(kAesGmac128, "AES-GMAC-128", 16, 4, 8, 16)    \
  X(kAesGmac192, "AES-GMAC-192", 24, 4, 8, 16)    \
  X(kAesGmac256, "AES-GMAC-256", 32, 4, 8, 16)

enum class Cipher : std::uint8_t {
#define X(enumerator, ...) enumerator,
  TESTUDO_CIPHERS(X)
#undef X
};

enum class Integrity : std::uint8_t {
#define X(enumerator, ...) enumerator,
  TESTUDO_INTEGRITIES(X)
#undef X
};

struct Suite {
  Cipher cipher = Cipher::kNone;
  Integrity integrity = Integrity::kNone;

  friend constexpr bool operator==(Suite, Suite) = default;
  template <typename H>
  friend H AbslHashValue(H h, Suite s) {
    return H::combine(std::move(h), s.cipher, s.integrity);
  }

  // Those that code and tests name most.
  static const Suite kAesGcm128Icv16, kAesGcm256Icv16, kAesCbc128HmacSha256, kAesCbc256HmacSha256,
      kChacha20Poly1305;
};
static_assert(sizeof(Suite) == 2);

inline constexpr Suite Suite::kAesGcm128Icv16{Cipher::kAesGcm128Icv16, Integrity::kNone};
inline constexpr Suite Suite::kAesGcm256Icv16{Cipher::kAesGcm256Icv16, Integrity::kNone};
inline constexpr Suite Suite::kAesCbc128HmacSha256{Cipher::kAesCbc128, Integrity::kHmacSha256};
inline constexpr Suite Suite::kAesCbc256HmacSha256{Cipher::kAesCbc256, Integrity::kHmacSha256};
inline constexpr Suite Suite::kChacha20Poly1305{Cipher::kChacha20Poly1305, Integrity::kNone};

/// Of a suite. All zero, and the name empty, for a combination that does not exist.
struct SuiteSizes {
  std::string_view name;
  std::size_t key, iv, icv, block;  // bytes; key: the whole keying material, salts included
};

namespace internal {

struct CipherRow {
  std::string_view name;
  Mode mode;
  std::uint8_t key, salt, iv, icv, block;  // bytes
};
inline constexpr std::array kCiphers = {
#define X(enumerator, name, mode, key, salt, iv, icv, block) CipherRow{name, Mode::mode, key, salt, iv, icv, block},
    TESTUDO_CIPHERS(X)
#undef X
};

struct IntegrityRow {
  std::string_view name;
  std::uint8_t key, salt, iv, icv;  // bytes
};
inline constexpr std::array kIntegrities = {
#define X(enumerator, name, key, salt, iv, icv) IntegrityRow{name, key, salt, iv, icv},
    TESTUDO_INTEGRITIES(X)
#undef X
};

constexpr const CipherRow& row(Cipher cipher) { return kCiphers[static_cast<std::size_t>(cipher)]; }
constexpr const IntegrityRow& row(Integrity integrity) { return kIntegrities[static_cast<std::size_t>(integrity)]; }

constexpr bool exists(std::size_t cipher, std::size_t integrity) {
  const bool aead = kCiphers[cipher].icv != 0;
  const bool none = integrity == 0;
  if (cipher == 0) return !none;  // AH
  return aead == none && kIntegrities[integrity].iv == 0;
}

struct Name {
  std::array<char, 40> text{};
  std::size_t size = 0;
  constexpr void append(std::string_view more) {
    for (const char c : more) text[size++] = c;
  }
};

constexpr Name name_of(std::size_t cipher, std::size_t integrity) {
  Name name;
  name.append(kCiphers[cipher].name);
  if (cipher != 0 && integrity != 0) name.append("+");
  name.append(kIntegrities[integrity].name);
  return name;
}

template <typename T>
using Table = std::array<std::array<T, kIntegrities.size()>, kCiphers.size()>;

template <typename T, typename F>
constexpr Table<T> make_table(F cell) {
  Table<T> table{};
  for (std::size_t c = 0; c < kCiphers.size(); ++c) {
    for (std::size_t i = 0; i < kIntegrities.size(); ++i) {
      if (exists(c, i)) table[c][i] = cell(c, i);
    }
  }
  return table;
}

inline constexpr auto kNames = make_table<Name>(name_of);
inline constexpr auto kSizes = make_table<SuiteSizes>([](std::size_t c, std::size_t i) {
  const CipherRow& cipher = kCiphers[c];
  const IntegrityRow& integrity = kIntegrities[i];
  const std::size_t key = std::size_t{0} + cipher.key + cipher.salt + integrity.key + integrity.salt;
  return SuiteSizes{.name = {kNames[c][i].text.data(), kNames[c][i].size},
                    .key = key,
                    .iv = std::size_t{0} + cipher.iv + integrity.iv,
                    .icv = std::size_t{0} + cipher.icv + integrity.icv,
                    .block = cipher.block};
});

}  // namespace internal

[[nodiscard]] constexpr const SuiteSizes& sizes(Suite suite) {
  return internal::kSizes[static_cast<std::size_t>(suite.cipher)][static_cast<std::size_t>(suite.integrity)];
}

[[nodiscard]] constexpr Mode mode_of(Suite suite) { return internal::row(suite.cipher).mode; }

/// Whether the combination exists.
[[nodiscard]] constexpr bool is_suite(Suite suite) { return sizes(suite).block != 0; }

/// For AH; the others are for ESP.
[[nodiscard]] constexpr bool is_ah(Suite suite) { return suite.cipher == Cipher::kNone; }

/// Encryption and integrity in one, or (GMAC) integrity of the same kind.
[[nodiscard]] constexpr bool is_aead(Suite suite) { return internal::row(suite.cipher).icv != 0; }

/// An IV that comes twice under one key gives texts or keys away: never, on whatever host, after whatever restart.
/// RFC 8221 section 3: not with keys that are set by hand, unless something else keeps IVs apart.
[[nodiscard]] constexpr bool needs_unique_iv(Suite suite) {
  return mode_of(suite) == Mode::kCtr || is_aead(suite) || internal::row(suite.integrity).iv != 0;
}

/// RFC 3602 section 3: an IV that nobody can predict.
[[nodiscard]] constexpr bool needs_random_iv(Suite suite) { return mode_of(suite) == Mode::kCbc; }

/// Largest of all suites, in bytes.
inline constexpr std::size_t kIcvMax = 32;
inline constexpr std::size_t kIvMax = 16;
inline constexpr std::size_t kKeyMax = 32 + 4 + 64;

/// Every suite that exists, ESP's and AH's, always in the same order.
[[nodiscard]] std::span<const Suite> all_suites();

/// The suite whose sizes().name this is.
[[nodiscard]] std::optional<Suite> suite_of(std::string_view name);

/// A suite as one number, for messages and files, and back: nothing, when this version does not know it.
[[nodiscard]] constexpr std::uint32_t suite_number(Suite suite) {
  return static_cast<std::uint32_t>(suite.cipher) << 8 | static_cast<std::uint32_t>(suite.integrity);
}
[[nodiscard]] std::optional<Suite> suite_of_number(std::uint32_t number);

}  // namespace testudo::crypto

template <>
struct std::hash<testudo::crypto::Suite> {
  std::size_t operator()(testudo::crypto::Suite suite) const noexcept {
    return testudo::crypto::suite_number(suite);
  }
};
