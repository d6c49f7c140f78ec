// SPDX-License-Identifier: Apache-2.0
// What the storage of a CipherContext holds with the OpenSSL backend. OpenSSL wants its expanded keys in its own
// heap, 1 KiB or more per cipher and direction, so ciphers' keys are kept raw and given to one EVP_CIPHER_CTX per
// algorithm when a packet needs another key than the one before: slower, without a lock on memory for each SA, and
// the same for a thousand SAs as for one.
#pragma once

// SHA256_CTX and its like are deprecated; the EVP digests, which are not, allocate for each message.
#ifndef OPENSSL_SUPPRESS_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED
#endif
#include <openssl/sha.h>

#include <array>
#include <cstdint>

#include "crypto/context.h"

namespace testudo::crypto {

union Digest {
  SHA_CTX sha1;
  SHA256_CTX sha256;
  SHA512_CTX sha512;  // and SHA-384
};

struct OpensslKeys {
  std::array<std::uint8_t, 32> cipher;  // raw; GMAC's too
  Digest inner, outer;                  // HMAC: after the key XOR ipad, opad (RFC 2104)
  // XCBC, CMAC: the key of the chain, and what goes on top of a last block that is whole or not (RFC 3566, RFC
  // 4493).
  std::array<std::uint8_t, 16> chain, whole, padded;
};
static_assert(sizeof(OpensslKeys) <= CipherContext::kStorage);

}  // namespace testudo::crypto
