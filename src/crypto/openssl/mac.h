// SPDX-License-Identifier: Apache-2.0
// The integrity algorithms over OpenSSL, in whatever pieces the message comes: HMAC with the low-level digests (the
// EVP ones allocate for each message), XCBC and CMAC with AES-128 in CBC mode.
//
//   Mac mac(context, cbc, state);                     // state: in locked memory
//   mac.update(piece);
//   mac.finish(icv);                                  // writes context.icv_size() bytes
#pragma once

#include "crypto/openssl/keys.h"  // first: it chooses what OpenSSL declares

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <span>

#include "crypto/context.h"

namespace testudo::crypto {

/// One message on its way.
struct MacState {
  Digest digest;  // HMAC
  // XCBC, CMAC: the chain so far, and what is not in it yet: the last block needs special treatment.
  std::array<std::uint8_t, 16> chain, rest;
  std::size_t rest_size;  // bytes
  std::array<std::uint8_t, 1024> discarded;
};

void expand_mac(Integrity integrity, std::span<const std::uint8_t> key, EVP_CIPHER_CTX* cbc, OpensslKeys& keys);

/// `cbc`: AES-128-CBC, to encrypt.
class Mac {
 public:
  Mac(const CipherContext& context, EVP_CIPHER_CTX* cbc, MacState& state);
  void update(std::span<const std::uint8_t> piece);
  void finish(std::uint8_t* icv);

 private:
  void chain_blocks(std::span<const std::uint8_t> blocks);

  const OpensslKeys& keys_;
  Integrity integrity_;
  std::size_t icv_size_;
  EVP_CIPHER_CTX* cbc_;
  MacState& state_;
};

}  // namespace testudo::crypto
