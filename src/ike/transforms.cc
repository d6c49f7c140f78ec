// SPDX-License-Identifier: Apache-2.0
#include "ike/transforms.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace testudo::ike {
namespace {

using crypto::Cipher;
using crypto::Integrity;

constexpr std::uint32_t kNone = 0, kUndefined = 1024;  // charon: AUTH_UNDEFINED, with an AEAD

struct Named {
  std::uint32_t number;
  std::string_view name;
};
// IANA, "Internet Key Exchange Version 2 (IKEv2) Parameters", Transform Type 1 and 3. Those that are not here
// either have a name, for refusals.
constexpr std::array kEncryptions = {
    Named{2, "DES_CBC"},     Named{3, "3DES_CBC"},      Named{7, "BLOWFISH_CBC"},       Named{11, "NULL"},
    Named{12, "AES_CBC"},    Named{13, "AES_CTR"},      Named{14, "AES_CCM_8"},         Named{15, "AES_CCM_12"},
    Named{16, "AES_CCM_16"}, Named{18, "AES_GCM_8"},    Named{19, "AES_GCM_12"},        Named{20, "AES_GCM_16"},
    Named{21, "AES_GMAC"},   Named{23, "CAMELLIA_CBC"}, Named{28, "CHACHA20_POLY1305"},
};
constexpr std::array kIntegrities = {
    Named{1, "HMAC_MD5_96"},        Named{2, "HMAC_SHA1_96"},       Named{5, "AES_XCBC_96"},
    Named{8, "AES_CMAC_96"},        Named{9, "AES_128_GMAC"},       Named{10, "AES_192_GMAC"},
    Named{11, "AES_256_GMAC"},      Named{12, "HMAC_SHA2_256_128"}, Named{13, "HMAC_SHA2_384_192"},
    Named{14, "HMAC_SHA2_512_256"},
};

struct CipherNumber {
  std::uint32_t number;
  std::uint32_t key_bits;  // without salt
  Cipher cipher;
};
constexpr std::array kCiphers = {
    CipherNumber{11, 0, Cipher::kNull},
    CipherNumber{12, 128, Cipher::kAesCbc128},
    CipherNumber{12, 192, Cipher::kAesCbc192},
    CipherNumber{12, 256, Cipher::kAesCbc256},
    CipherNumber{13, 128, Cipher::kAesCtr128},
    CipherNumber{13, 192, Cipher::kAesCtr192},
    CipherNumber{13, 256, Cipher::kAesCtr256},
    CipherNumber{14, 128, Cipher::kAesCcm128Icv8},
    CipherNumber{14, 192, Cipher::kAesCcm192Icv8},
    CipherNumber{14, 256, Cipher::kAesCcm256Icv8},
    CipherNumber{15, 128, Cipher::kAesCcm128Icv12},
    CipherNumber{15, 192, Cipher::kAesCcm192Icv12},
    CipherNumber{15, 256, Cipher::kAesCcm256Icv12},
    CipherNumber{16, 128, Cipher::kAesCcm128Icv16},
    CipherNumber{16, 192, Cipher::kAesCcm192Icv16},
    CipherNumber{16, 256, Cipher::kAesCcm256Icv16},
    CipherNumber{18, 128, Cipher::kAesGcm128Icv8},
    CipherNumber{18, 192, Cipher::kAesGcm192Icv8},
    CipherNumber{18, 256, Cipher::kAesGcm256Icv8},
    CipherNumber{19, 128, Cipher::kAesGcm128Icv12},
    CipherNumber{19, 192, Cipher::kAesGcm192Icv12},
    CipherNumber{19, 256, Cipher::kAesGcm256Icv12},
    CipherNumber{20, 128, Cipher::kAesGcm128Icv16},
    CipherNumber{20, 192, Cipher::kAesGcm192Icv16},
    CipherNumber{20, 256, Cipher::kAesGcm256Icv16},
    CipherNumber{21, 128, Cipher::kNullAesGmac128},
    CipherNumber{21, 192, Cipher::kNullAesGmac192},
    CipherNumber{21, 256, Cipher::kNullAesGmac256},
    CipherNumber{28, 256, Cipher::kChacha20Poly1305},
};

struct IntegrityNumber {
  std::uint32_t number;
  Integrity integrity;
};
constexpr std::array kIntegrityNumbers = {
    IntegrityNumber{2, Integrity::kHmacSha1},    IntegrityNumber{5, Integrity::kAesXcbc},
    IntegrityNumber{8, Integrity::kAesCmac},     IntegrityNumber{9, Integrity::kAesGmac128},
    IntegrityNumber{10, Integrity::kAesGmac192}, IntegrityNumber{11, Integrity::kAesGmac256},
    IntegrityNumber{12, Integrity::kHmacSha256}, IntegrityNumber{13, Integrity::kHmacSha384},
    IntegrityNumber{14, Integrity::kHmacSha512},
};

/// Bytes of an algorithm's whole key: as AH's or ESP's suites of it alone say.
constexpr std::size_t key_size(Cipher cipher) {
  const crypto::Suite alone{cipher, Integrity::kNone};
  constexpr std::size_t kSha256 = 32;
  return is_suite(alone) ? sizes(alone).key : crypto::sizes({cipher, Integrity::kHmacSha256}).key - kSha256;
}
constexpr std::size_t key_size(Integrity integrity) { return crypto::sizes({Cipher::kNone, integrity}).key; }

constexpr bool is_none(std::uint32_t number) { return number == kNone || number == kUndefined; }

std::optional<Cipher> cipher_of(std::uint32_t number, std::size_t key) {
  if (is_none(number)) return Cipher::kNone;
  for (const CipherNumber& row : kCiphers) {
    if (row.number == number && key_size(row.cipher) == key) return row.cipher;
  }
  return std::nullopt;
}

std::optional<Integrity> integrity_of(std::uint32_t number, std::size_t key) {
  if (is_none(number)) return Integrity::kNone;
  for (const IntegrityNumber& row : kIntegrityNumbers) {
    if (row.number == number && key_size(row.integrity) == key) return row.integrity;
  }
  return std::nullopt;
}

template <std::size_t N>
std::string name(const std::array<Named, N>& names, std::uint32_t number) {
  if (is_none(number)) return "none";
  const auto* found = std::ranges::find(names, number, &Named::number);
  return fmt::format("{}({})", found == names.end() ? "unknown" : found->name, number);
}

std::string text(const Algorithms& a) {
  const std::string integrity =
      is_none(a.integrity) ? "no integrity"
                           : fmt::format("{} with {} bits", integrity_name(a.integrity), a.integrity_key * 8);
  if (a.protocol == ipsec::Protocol::kAh) return "AH proposal " + integrity;
  return fmt::format("ESP proposal {} with a key of {} bits, {}", encryption_name(a.encryption),
                     a.encryption_key * 8, integrity);
}

}  // namespace

std::string encryption_name(std::uint32_t number) { return name(kEncryptions, number); }
std::string integrity_name(std::uint32_t number) { return name(kIntegrities, number); }

std::string supported_proposals(ipsec::Protocol protocol) {
  if (protocol == ipsec::Protocol::kAh) {
    return "ah_proposals of sha256, sha384, sha512, sha1, aesxcbc, aescmac or aes128gmac–aes256gmac";
  }
  return "esp_proposals of aes128gcm16–aes256gcm16 (or gcm12, gcm8), chacha20poly1305, aes128ccm16–aes256ccm16 (or "
         "ccm12, ccm8), aes128gmac–aes256gmac, or aes128–aes256, aes128ctr–aes256ctr or null with sha256, sha384, "
         "sha512, sha1, aesxcbc or aescmac";
}

Result<crypto::Suite> suite_of(const Algorithms& a) {
  const bool ah = a.protocol == ipsec::Protocol::kAh;
  const auto cipher = ah ? Cipher::kNone : cipher_of(a.encryption, a.encryption_key);
  const auto integrity = integrity_of(a.integrity, a.integrity_key);
  if (cipher && integrity) {
    const crypto::Suite suite{*cipher, *integrity};
    if (is_suite(suite) && is_ah(suite) == ah) return suite;
  }
  return fail(fmt::format("{}: not supported. Supported: {}", text(a), supported_proposals(a.protocol)));
}

std::optional<std::size_t> encryption_key_size(std::uint32_t number, std::uint32_t key_bits) {
  for (const CipherNumber& row : kCiphers) {
    if (row.number == number && (key_bits == 0 || key_bits == row.key_bits)) return key_size(row.cipher);
  }
  return std::nullopt;
}

std::optional<std::size_t> integrity_key_size(std::uint32_t number) {
  for (const IntegrityNumber& row : kIntegrityNumbers) {
    if (row.number == number) return key_size(row.integrity);
  }
  return std::nullopt;
}

bool is_aead(std::uint32_t encryption) {
  return std::ranges::any_of(kCiphers, [&](const CipherNumber& row) {
    return row.number == encryption && crypto::is_aead({row.cipher, Integrity::kNone});
  });
}

}  // namespace testudo::ike
