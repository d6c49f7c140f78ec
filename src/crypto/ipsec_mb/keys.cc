// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/keys.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/secret.h"

namespace testudo::crypto {
namespace {

using Key = std::span<const std::uint8_t>;
using Scratch = std::span<std::uint8_t, 128>;

void expand_gcm(const IMB_MGR& mgr, Key key, GcmKeys& out) {
  const std::array expand = {mgr.gcm128_pre, mgr.gcm192_pre, mgr.gcm256_pre};
  expand[(key.size() - 16) / 8](key.data(), &out);
}

void expand_aes(const IMB_MGR& mgr, Key key, std::uint8_t* encrypt, std::uint8_t* decrypt) {
  const std::array expand = {mgr.keyexp_128, mgr.keyexp_192, mgr.keyexp_256};
  expand[(key.size() - 16) / 8](key.data(), encrypt, decrypt);
}

struct Hmac {
  hash_one_block_t one_block;
  std::size_t block;  // bytes
};

Hmac hmac_of(const IMB_MGR& mgr, Integrity integrity) {
  switch (integrity) {
    case Integrity::kHmacSha1:
      return {mgr.sha1_one_block, 64};
    case Integrity::kHmacSha256:
      return {mgr.sha256_one_block, 64};
    case Integrity::kHmacSha384:
      return {mgr.sha384_one_block, 128};
    default:
      return {mgr.sha512_one_block, 128};
  }
}

// RFC 2104 section 4: the state after the block of the padded key. No key is longer than a block.
void hmac_state(const Hmac& hmac, Key key, std::uint8_t pad, Scratch block, std::uint8_t* state) {
  std::ranges::fill(block, pad);
  for (std::size_t i = 0; i < key.size(); ++i) block[i] ^= key[i];
  hmac.one_block(block.data(), state);
  zero(block);
}

void expand_mac(const IMB_MGR& mgr, Integrity integrity, Key key, Scratch scratch, JobKeys& out) {
  if (integrity == Integrity::kAesXcbc) {
    mgr.xcbc_keyexp(key.data(), out.mac, out.mac_second, out.mac_third);
  } else if (integrity == Integrity::kAesCmac) {
    expand_aes(mgr, key, out.mac, out.decrypt);
    mgr.cmac_subkey_gen_128(out.mac, out.mac_second, out.mac_third);
  } else {
    const Hmac hmac = hmac_of(mgr, integrity);
    hmac_state(hmac, key, 0x36, scratch, out.mac);
    hmac_state(hmac, key, 0x5c, scratch, out.mac_second);
  }
}

// The context's first line, then the storage's bytes [0, end).
constexpr std::uint32_t lines_up_to(std::size_t end) { return (2u << (end + 63) / 64) - 1; }

}  // namespace

// GCM: round keys and the hash keys behind them, which a packet needs all of but with AVX-512 and VAES: there short
// packets use the last ones, and long ones take long enough for the CPU to see the others coming.
std::uint32_t mb_hot_lines(const IMB_MGR& mgr, Mode mode) {
  if (mode == Mode::kChacha) return lines_up_to(32);
  if (mode != Mode::kGcm && mode != Mode::kGmac) return lines_up_to(sizeof(JobKeys));
  constexpr std::uint64_t kWide = IMB_FEATURE_AVX512_SKX | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;
  const GcmKeys* keys = nullptr;
  if ((mgr.features & kWide) == kWide) return lines_up_to(sizeof keys->expanded_keys) | 0xeu << 13;
  return lines_up_to(sizeof keys->expanded_keys + sizeof keys->ghash_keys.avx2_avx512);
}

void expand_mb_keys(const IMB_MGR& mgr, Key cipher, Key integrity, Scratch scratch, CipherContext& context) {
  const Suite suite = context.suite();
  if (context.mode() == Mode::kGcm || context.mode() == Mode::kGmac) {
    return expand_gcm(mgr, cipher, context.keys<GcmKeys>());
  }
  if (internal::row(suite.integrity).salt != 0) return expand_gcm(mgr, integrity, context.keys<GcmKeys>());
  JobKeys& keys = context.keys<JobKeys>();
  // First: CMAC's expansion uses the place of the decryption keys, which are written next.
  if (!integrity.empty()) expand_mac(mgr, suite.integrity, integrity, scratch, keys);
  if (context.mode() == Mode::kChacha) {
    std::memcpy(keys.encrypt, cipher.data(), cipher.size());
  } else if (!cipher.empty()) {
    expand_aes(mgr, cipher, keys.encrypt, keys.decrypt);
  }
}

void expand_mb_peek_keys(const IMB_MGR& mgr, Key cipher, CipherContext& context) {
  JobKeys& keys = context.keys<JobKeys>();
  static_assert(sizeof keys.encrypt + sizeof keys.decrypt <= CipherContext::kPeekStorage);
  static_assert(offsetof(JobKeys, encrypt) == 0 &&
                offsetof(GcmKeys, expanded_keys) == 0);  // GCM's lie there as well
  if (context.mode() == Mode::kChacha) {
    std::memcpy(keys.encrypt, cipher.data(), cipher.size());
  } else {
    expand_aes(mgr, cipher, keys.encrypt, keys.decrypt);
  }
}

}  // namespace testudo::crypto
