// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl/openssl_context.h"

#include <array>
#include <cstddef>

#include "base/check.h"

namespace testudo::crypto {
namespace {

enum class Way : bool { kDecrypt, kEncrypt };

Cipher make_cipher(const EVP_CIPHER* algorithm, std::span<const std::uint8_t> key, Way way) {
  Cipher cipher(EVP_CIPHER_CTX_new());
  CHECK(cipher != nullptr && static_cast<std::size_t>(EVP_CIPHER_get_key_length(algorithm)) == key.size());
  CHECK(EVP_CipherInit_ex(cipher.get(), algorithm, nullptr, key.data(), nullptr, way == Way::kEncrypt ? 1 : 0) ==
        1);
  CHECK(EVP_CIPHER_CTX_set_padding(cipher.get(), 0) == 1);
  return cipher;
}

void hmac_state(std::span<const std::uint8_t> key, std::uint8_t pad, SHA256_CTX& state) {
  Locked<std::array<std::uint8_t, SHA256_CBLOCK>> block;
  block->fill(pad);
  for (std::size_t i = 0; i < key.size(); ++i) (*block)[i] ^= key[i];
  CHECK(SHA256_Init(&state) == 1 && SHA256_Update(&state, block->data(), block->size()) == 1);
}

}  // namespace

OpensslContext::OpensslContext(Suite suite, const Secret& key, Esn esn)
    : CipherContext(Backend::kOpenssl, suite, esn) {
  const auto aes = key.bytes().first(aes_key_size(suite));
  const auto rest = key.bytes().subspan(aes.size());
  const bool small = aes.size() == 16;
  if (is_gcm(suite)) {
    const EVP_CIPHER* algorithm = small ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
    encrypt = make_cipher(algorithm, aes, Way::kEncrypt);
    decrypt = make_cipher(algorithm, aes, Way::kDecrypt);
    peek = make_cipher(small ? EVP_aes_128_ctr() : EVP_aes_256_ctr(), aes, Way::kDecrypt);
    std::memcpy(secrets->salt, rest.data(), kSaltSize);
  } else {
    const EVP_CIPHER* algorithm = small ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
    encrypt = make_cipher(algorithm, aes, Way::kEncrypt);
    decrypt = make_cipher(algorithm, aes, Way::kDecrypt);
    peek = make_cipher(algorithm, aes, Way::kDecrypt);
    hmac_state(rest, 0x36, secrets->inner);
    hmac_state(rest, 0x5c, secrets->outer);
  }
}

}  // namespace testudo::crypto
