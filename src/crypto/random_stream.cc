// SPDX-License-Identifier: Apache-2.0
#include "crypto/random_stream.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/secret.h"

namespace testudo::crypto {

void RandomStream::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

RandomStream::RandomStream(Rng& rng) : cipher_(EVP_CIPHER_CTX_new()), used_(ready_.size()) {
  Secret seed(32 + 16);  // AES key, first counter
  rng.fill(seed.mutable_bytes());
  CHECK(EVP_EncryptInit_ex(cipher_.get(), EVP_aes_256_ctr(), nullptr, seed.bytes().data(),
                           seed.bytes().data() + 32) == 1);
}

void RandomStream::refill() {
  ready_.fill(0);
  int written = 0;
  CHECK(EVP_EncryptUpdate(cipher_.get(), ready_.data(), &written, ready_.data(), static_cast<int>(ready_.size())) ==
        1);
  used_ = 0;
}

void RandomStream::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    if (used_ == ready_.size()) refill();
    const std::size_t n = std::min(out.size(), ready_.size() - used_);
    std::memcpy(out.data(), ready_.data() + used_, n);
    std::memset(ready_.data() + used_, 0, n);
    used_ += n;
    out = out.subspan(n);
  }
}

}  // namespace testudo::crypto
