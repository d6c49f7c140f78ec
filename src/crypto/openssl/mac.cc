// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl/mac.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/locked_memory.h"
#include "base/secret.h"

namespace testudo::crypto {
namespace {

constexpr std::size_t kBlock = 16;  // bytes, AES

using Key = std::span<const std::uint8_t>;

bool is_hmac(Integrity integrity) { return integrity <= Integrity::kHmacSha512; }

void init(Integrity integrity, Digest& d) {
  switch (integrity) {
    case Integrity::kHmacSha1:
      return void(SHA1_Init(&d.sha1));
    case Integrity::kHmacSha256:
      return void(SHA256_Init(&d.sha256));
    case Integrity::kHmacSha384:
      return void(SHA384_Init(&d.sha512));
    default:
      return void(SHA512_Init(&d.sha512));
  }
}

void update(Integrity integrity, Digest& d, Key data) {
  switch (integrity) {
    case Integrity::kHmacSha1:
      return void(SHA1_Update(&d.sha1, data.data(), data.size()));
    case Integrity::kHmacSha256:
      return void(SHA256_Update(&d.sha256, data.data(), data.size()));
    case Integrity::kHmacSha384:
      return void(SHA384_Update(&d.sha512, data.data(), data.size()));
    default:
      return void(SHA512_Update(&d.sha512, data.data(), data.size()));
  }
}

// Returns the digest's size.
std::size_t finish(Integrity integrity, Digest& d, std::uint8_t* out) {
  switch (integrity) {
    case Integrity::kHmacSha1:
      SHA1_Final(out, &d.sha1);
      return SHA_DIGEST_LENGTH;
    case Integrity::kHmacSha256:
      SHA256_Final(out, &d.sha256);
      return SHA256_DIGEST_LENGTH;
    case Integrity::kHmacSha384:
      SHA384_Final(out, &d.sha512);
      return SHA384_DIGEST_LENGTH;
    default:
      SHA512_Final(out, &d.sha512);
      return SHA512_DIGEST_LENGTH;
  }
}

void hmac_state(Integrity integrity, Key key, std::uint8_t pad, Digest& state) {
  std::array<std::uint8_t, 128> block;
  const std::size_t size = integrity >= Integrity::kHmacSha384 ? 128 : 64;
  block.fill(pad);
  for (std::size_t i = 0; i < key.size(); ++i) block[i] ^= key[i];
  init(integrity, state);
  update(integrity, state, std::span(block).first(size));
  zero(block);
}

// CBC from `iv` over whole blocks.
void cbc_blocks(EVP_CIPHER_CTX* cbc, const std::uint8_t* key, const std::uint8_t* iv, Key in, std::uint8_t* out) {
  int written = 0;
  CHECK(EVP_CipherInit_ex(cbc, nullptr, nullptr, key, iv, -1) == 1);
  CHECK(EVP_CipherUpdate(cbc, out, &written, in.data(), static_cast<int>(in.size())) == 1);
  CHECK(static_cast<std::size_t>(written) == in.size());
}

void encrypt_block(EVP_CIPHER_CTX* cbc, const std::uint8_t* key, std::uint8_t fill, std::uint8_t* out) {
  constexpr std::array<std::uint8_t, kBlock> kZero{};
  std::array<std::uint8_t, kBlock> in;
  in.fill(fill);
  cbc_blocks(cbc, key, kZero.data(), in, out);
}

// RFC 4493 section 2.3: twice the value in GF(2^128).
void double_block(const std::array<std::uint8_t, kBlock>& in, std::array<std::uint8_t, kBlock>& out) {
  for (std::size_t i = 0; i < kBlock; ++i) {
    const unsigned next = i + 1 < kBlock ? in[i + 1] >> 7 : 0;
    out[i] = static_cast<std::uint8_t>(in[i] << 1 | next);
  }
  const auto carry = static_cast<std::uint8_t>(-(in[0] >> 7));  // without a branch
  out[kBlock - 1] ^= carry & 0x87;
}

}  // namespace

void expand_mac(Integrity integrity, Key key, EVP_CIPHER_CTX* cbc, OpensslKeys& keys) {
  if (is_hmac(integrity)) {
    hmac_state(integrity, key, 0x36, keys.inner);
    hmac_state(integrity, key, 0x5c, keys.outer);
  } else if (integrity == Integrity::kAesXcbc) {
    encrypt_block(cbc, key.data(), 1, keys.chain.data());
    encrypt_block(cbc, key.data(), 2, keys.whole.data());
    encrypt_block(cbc, key.data(), 3, keys.padded.data());
  } else {
    std::ranges::copy(key, keys.chain.begin());
    encrypt_block(cbc, key.data(), 0, keys.padded.data());
    double_block(keys.padded, keys.whole);
    double_block(keys.whole, keys.padded);
  }
}

Mac::Mac(const CipherContext& context, EVP_CIPHER_CTX* cbc, MacState& state)
    : keys_(context.keys<OpensslKeys>()),
      integrity_(context.suite().integrity),
      icv_size_(context.icv_size()),
      cbc_(cbc),
      state_(state) {
  if (is_hmac(integrity_)) state_.digest = keys_.inner;
  state_.chain.fill(0);
  state_.rest_size = 0;
}

void Mac::chain_blocks(Key blocks) {
  for (std::size_t at = 0; at < blocks.size(); at += state_.discarded.size()) {
    const Key part = blocks.subspan(at, std::min(blocks.size() - at, state_.discarded.size()));
    cbc_blocks(cbc_, keys_.chain.data(), state_.chain.data(), part, state_.discarded.data());
    std::memcpy(state_.chain.data(), state_.discarded.data() + part.size() - kBlock, kBlock);
  }
}

// Keeps back what may be the last block, whole or not.
void Mac::update(Key piece) {
  if (is_hmac(integrity_)) return crypto::update(integrity_, state_.digest, piece);
  while (!piece.empty()) {
    if (state_.rest_size == kBlock) {
      chain_blocks(state_.rest);
      state_.rest_size = 0;
    }
    if (state_.rest_size == 0 && piece.size() > kBlock) {
      const std::size_t whole = (piece.size() - 1) / kBlock * kBlock;
      chain_blocks(piece.first(whole));
      piece = piece.subspan(whole);
    }
    const std::size_t n = std::min(piece.size(), kBlock - state_.rest_size);
    std::memcpy(state_.rest.data() + state_.rest_size, piece.data(), n);
    state_.rest_size += n;
    piece = piece.subspan(n);
  }
}

void Mac::finish(std::uint8_t* icv) {
  std::array<std::uint8_t, SHA512_DIGEST_LENGTH> tag;
  if (is_hmac(integrity_)) {
    const std::size_t size = crypto::finish(integrity_, state_.digest, tag.data());
    state_.digest = keys_.outer;
    crypto::update(integrity_, state_.digest, std::span(tag).first(size));
    crypto::finish(integrity_, state_.digest, tag.data());
  } else {
    const bool whole = state_.rest_size == kBlock;
    if (!whole) {
      std::memset(state_.rest.data() + state_.rest_size, 0, kBlock - state_.rest_size);
      state_.rest[state_.rest_size] = 0x80;
    }
    const auto& top = whole ? keys_.whole : keys_.padded;
    for (std::size_t i = 0; i < kBlock; ++i) state_.rest[i] ^= top[i];
    chain_blocks(state_.rest);
    std::memcpy(tag.data(), state_.chain.data(), kBlock);
  }
  std::memcpy(icv, tag.data(), icv_size_);
}

}  // namespace testudo::crypto
