// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/ipsec_mb_context.h"

#include <cstring>

namespace testudo::crypto {
namespace {

constexpr std::size_t kSha256Block = 64;  // bytes

void hmac_state(const IMB_MGR& mgr, std::span<const std::uint8_t> key, std::uint8_t pad, std::uint8_t* state) {
  Locked<std::array<std::uint8_t, kSha256Block>> block;
  block->fill(pad);
  for (std::size_t i = 0; i < key.size(); ++i) (*block)[i] ^= key[i];
  mgr.sha256_one_block(block->data(), state);
}

}  // namespace

GcmContext::GcmContext(const IMB_MGR& mgr, Suite suite, const Secret& key, Esn esn)
    : CipherContext(Backend::kIpsecMb, suite, esn) {
  const std::size_t size = aes_key_size(suite);
  (size == 16 ? mgr.gcm128_pre : mgr.gcm256_pre)(key.bytes().data(), &keys_->key);
  std::memcpy(keys_->salt, key.bytes().data() + size, kSaltSize);
}

CbcHmacContext::CbcHmacContext(const IMB_MGR& mgr, Suite suite, const Secret& key, Esn esn)
    : CipherContext(Backend::kIpsecMb, suite, esn) {
  const std::size_t size = aes_key_size(suite);
  (size == 16 ? mgr.keyexp_128 : mgr.keyexp_256)(key.bytes().data(), keys_->encrypt, keys_->decrypt);
  hmac_state(mgr, key.bytes().subspan(size), 0x36, keys_->inner);
  hmac_state(mgr, key.bytes().subspan(size), 0x5c, keys_->outer);
}

}  // namespace testudo::crypto
