// SPDX-License-Identifier: Apache-2.0
// RandomStream: bytes that nobody without its seed can predict, made without a system call: the keystream of
// AES-256 in counter mode. Seeded once from the injected Rng; for IVs, not for keys.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/rng.h"

struct evp_cipher_ctx_st;

namespace testudo::crypto {

class RandomStream {
 public:
  explicit RandomStream(Rng& rng);
  /// Never allocates.
  void fill(std::span<std::uint8_t> out);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  void refill();

  std::unique_ptr<evp_cipher_ctx_st, Free> cipher_;
  std::array<std::uint8_t, 1024> ready_;
  std::size_t used_ = 0;  // bytes of ready_ that were given out; these are zero
};

}  // namespace testudo::crypto
