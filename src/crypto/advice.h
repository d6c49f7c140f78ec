// SPDX-License-Identifier: Apache-2.0
// What RFC 8221 says of ESP's and AH's algorithms: those that are here, and those that are not but have a name that
// a configuration may contain.
//
//   advice(suite)                                   // Advice::kMust …: the worse of cipher and integrity algorithm
//   if (const Unfit* u = unfit("3des")) …           // to_string(u->advice), u->section: why it is refused
//   if (manual_keys_forbidden(suite)) …             // AES-GCM and the like, with keys from a file
//
// What a configuration must allow by name: kMustNot, and whatever manual_keys_forbidden() with such keys. Of the
// suites here, RFC 8221 forbids none as such: what it forbids was never written.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "crypto/suite.h"

namespace testudo::crypto {

/// From best to worst. kMustMinus: a MUST that is on its way out.
enum class Advice : std::uint8_t { kMust, kMustMinus, kShould, kMay, kShouldNot, kMustNot };

[[nodiscard]] constexpr std::string_view to_string(Advice advice) {
  constexpr std::array<std::string_view, 6> kWords = {"MUST", "MUST-", "SHOULD", "MAY", "SHOULD NOT", "MUST NOT"};
  return kWords[static_cast<std::size_t>(advice)];
}

/// RFC 8221 section 5. Keys of 192 bits stay at MAY, and so does whatever it does not name (section 1.2).
[[nodiscard]] constexpr Advice advice(Cipher cipher) {
  switch (cipher) {
    case Cipher::kNone:  // AH
    case Cipher::kNull:
    case Cipher::kAesCbc128:
    case Cipher::kAesCbc256:
    case Cipher::kAesGcm128Icv16:
    case Cipher::kAesGcm256Icv16:
      return Advice::kMust;
    case Cipher::kAesCcm128Icv8:  // for small devices, with 128 bits only
    case Cipher::kChacha20Poly1305:
      return Advice::kShould;
    default:
      return Advice::kMay;
  }
}

/// RFC 8221 section 6.
[[nodiscard]] constexpr Advice advice(Integrity integrity) {
  switch (integrity) {
    case Integrity::kNone:  // MUST with an AEAD, MUST NOT without: such a suite does not exist
    case Integrity::kHmacSha256:
      return Advice::kMust;
    case Integrity::kHmacSha1:
      return Advice::kMustMinus;
    case Integrity::kHmacSha512:
      return Advice::kShould;
    default:  // XCBC: SHOULD for small devices, else MAY
      return Advice::kMay;
  }
}

[[nodiscard]] constexpr Advice advice(Suite suite) {
  const Advice cipher = advice(suite.cipher);
  const Advice integrity = advice(suite.integrity);
  return cipher < integrity ? integrity : cipher;
}

[[nodiscard]] constexpr bool forbidden(Suite suite) { return advice(suite) == Advice::kMustNot; }

/// RFC 8221 section 3: keys that are set by hand come again after a restart, and their IVs with them.
[[nodiscard]] constexpr bool manual_keys_forbidden(Suite suite) { return needs_unique_iv(suite); }

/// An algorithm that is not here, and is advised against.
struct Unfit {
  std::string_view name;      // IANA's
  std::string_view proposal;  // as swanctl.conf writes it; empty: it cannot
  bool encryption;            // else integrity: transform type 1 or 3 of IKEv2
  std::uint16_t number;       // of the transform
  Advice advice;
  std::string_view section;  // of RFC 8221
};
inline constexpr std::array kUnfit = {
    Unfit{"ENCR_DES_IV64", "", true, 1, Advice::kMustNot, "5"},
    Unfit{"ENCR_DES", "des", true, 2, Advice::kMustNot, "5"},
    Unfit{"ENCR_3DES", "3des", true, 3, Advice::kShouldNot, "5"},
    Unfit{"ENCR_BLOWFISH", "blowfish", true, 7, Advice::kMustNot, "5"},
    Unfit{"ENCR_3IDEA", "", true, 8, Advice::kMustNot, "5"},
    Unfit{"ENCR_DES_IV32", "", true, 9, Advice::kMustNot, "5"},
    Unfit{"AUTH_HMAC_MD5_96", "md5", false, 1, Advice::kMustNot, "6"},
    Unfit{"AUTH_DES_MAC", "", false, 3, Advice::kMustNot, "6"},
    Unfit{"AUTH_KPDK_MD5", "", false, 4, Advice::kMustNot, "6"},
};

/// By IANA's name or by the name in a proposal (its digits of key size left out: "blowfish" for blowfish256). Null:
/// it is here, or nothing is said against it.
[[nodiscard]] constexpr const Unfit* unfit(std::string_view name) {
  for (const Unfit& u : kUnfit) {
    if (!name.empty() && (u.name == name || u.proposal == name)) return &u;
  }
  return nullptr;
}

/// By IKEv2's transform type (1 or 3) and number.
[[nodiscard]] constexpr const Unfit* unfit(unsigned transform_type, std::uint32_t number) {
  for (const Unfit& u : kUnfit) {
    if (transform_type == (u.encryption ? 1u : 3u) && u.number == number) return &u;
  }
  return nullptr;
}

}  // namespace testudo::crypto
