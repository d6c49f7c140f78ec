// SPDX-License-Identifier: Apache-2.0
// One EVP_CIPHER_CTX per algorithm and direction, made once and given key and IV for each message: that does not
// allocate.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>

#include "crypto/context.h"

namespace testudo::crypto {

class Ciphers {
 public:
  enum class Way : bool { kDecrypt, kEncrypt };

  Ciphers();

  /// For the whole message: an AEAD's contexts compute its tag too.
  [[nodiscard]] EVP_CIPHER_CTX* of(Mode mode, std::size_t key_size, Way way) const;
  /// For its beginning: what encrypts in it.
  [[nodiscard]] EVP_CIPHER_CTX* plain_of(Mode mode, std::size_t key_size) const;
  /// AES-128-CBC, to encrypt.
  [[nodiscard]] EVP_CIPHER_CTX* mac() const { return cbc_[0].encrypt.get(); }

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* cipher) const { EVP_CIPHER_CTX_free(cipher); }
  };
  using Context = std::unique_ptr<EVP_CIPHER_CTX, Free>;
  struct Pair {
    Context encrypt, decrypt;
  };
  static Context make(const EVP_CIPHER* algorithm, Way way);
  static Pair make_pair(const EVP_CIPHER* algorithm);

  std::array<Pair, 3> cbc_, ctr_, gcm_, ccm_;  // keys of 128, 192, 256 bits
  Pair chacha_poly_;
  Context chacha_;
};

/// Starts a message.
void start(EVP_CIPHER_CTX* cipher, const std::uint8_t* key, const std::uint8_t* iv);
/// `out` null: the input is only authenticated.
void update(EVP_CIPHER_CTX* cipher, std::uint8_t* out, const std::uint8_t* in, std::size_t size);

}  // namespace testudo::crypto
