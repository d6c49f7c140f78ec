// SPDX-License-Identifier: Apache-2.0
// Expanded keys as OpenSSL wants them. The cipher contexts are in OpenSSL's own heap, which clears them when they
// are freed but does not lock them; the HMAC's states and the salt are in locked memory.
#pragma once

// SHA256_CTX is deprecated; the EVP digests, which are not, allocate for each message.
#ifndef OPENSSL_SUPPRESS_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED
#endif
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <cstdint>
#include <memory>

#include "base/locked_memory.h"
#include "crypto/engine.h"
#include "crypto/frame_parts.h"

namespace testudo::crypto {

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* cipher) const { EVP_CIPHER_CTX_free(cipher); }
};
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;

struct OpensslSecrets {
  std::uint8_t salt[kSaltSize];  // GCM
  SHA256_CTX inner, outer;       // HMAC: after the key XOR ipad or opad (RFC 2104)
  SHA256_CTX work;
};

class OpensslContext final : public CipherContext {
 public:
  OpensslContext(Suite suite, const Secret& key, Esn esn);
  Cipher encrypt, decrypt;
  Cipher peek;  // counter mode or CBC decryption
  Locked<OpensslSecrets> secrets;
};

}  // namespace testudo::crypto
