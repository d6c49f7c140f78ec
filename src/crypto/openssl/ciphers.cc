// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl/ciphers.h"

#include <array>

#include "base/check.h"

namespace testudo::crypto {

// With a key, so that OpenSSL takes now whatever memory it will ever need for it.
Ciphers::Context Ciphers::make(const EVP_CIPHER* algorithm, Way way) {
  constexpr std::array<std::uint8_t, 32> kZero{};
  Context context(EVP_CIPHER_CTX_new());
  CHECK(context != nullptr && algorithm != nullptr);
  CHECK(EVP_CipherInit_ex(context.get(), algorithm, nullptr, kZero.data(), nullptr, way == Way::kEncrypt) == 1);
  CHECK(EVP_CIPHER_CTX_set_padding(context.get(), 0) == 1);
  return context;
}

Ciphers::Pair Ciphers::make_pair(const EVP_CIPHER* algorithm) {
  return {make(algorithm, Way::kEncrypt), make(algorithm, Way::kDecrypt)};
}

Ciphers::Ciphers()
    : cbc_{make_pair(EVP_aes_128_cbc()), make_pair(EVP_aes_192_cbc()), make_pair(EVP_aes_256_cbc())},
      ctr_{make_pair(EVP_aes_128_ctr()), make_pair(EVP_aes_192_ctr()), make_pair(EVP_aes_256_ctr())},
      gcm_{make_pair(EVP_aes_128_gcm()), make_pair(EVP_aes_192_gcm()), make_pair(EVP_aes_256_gcm())},
      ccm_{make_pair(EVP_aes_128_ccm()), make_pair(EVP_aes_192_ccm()), make_pair(EVP_aes_256_ccm())},
      chacha_poly_(make_pair(EVP_chacha20_poly1305())),
      chacha_(make(EVP_chacha20(), Way::kEncrypt)) {}

EVP_CIPHER_CTX* Ciphers::of(Mode mode, std::size_t key_size, Way way) const {
  const std::size_t k = (key_size - 16) / 8;
  const Pair* pair = nullptr;
  switch (mode) {
    case Mode::kCbc:
      pair = &cbc_[k];
      break;
    case Mode::kCtr:
      pair = &ctr_[k];
      break;
    case Mode::kCcm:
      pair = &ccm_[k];
      break;
    case Mode::kChacha:
      pair = &chacha_poly_;
      break;
    default:
      pair = &gcm_[k];
  }
  return (way == Way::kEncrypt ? pair->encrypt : pair->decrypt).get();
}

EVP_CIPHER_CTX* Ciphers::plain_of(Mode mode, std::size_t key_size) const {
  if (mode == Mode::kChacha) return chacha_.get();
  return of(mode == Mode::kCbc ? Mode::kCbc : Mode::kCtr, key_size, Way::kDecrypt);
}

void start(EVP_CIPHER_CTX* cipher, const std::uint8_t* key, const std::uint8_t* iv) {
  CHECK(EVP_CipherInit_ex(cipher, nullptr, nullptr, key, iv, -1) == 1);
}

void update(EVP_CIPHER_CTX* cipher, std::uint8_t* out, const std::uint8_t* in, std::size_t size) {
  int written = 0;
  CHECK(EVP_CipherUpdate(cipher, out, &written, in, static_cast<int>(size)) == 1);
  CHECK(static_cast<std::size_t>(written) == size);
}

}  // namespace testudo::crypto
