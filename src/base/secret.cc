// SPDX-License-Identifier: Apache-2.0
#include "base/secret.h"

#include <openssl/crypto.h>
#include <string.h>

#include <cstring>

namespace testudo {

void zero(std::span<std::uint8_t> bytes) { explicit_bzero(bytes.data(), bytes.size()); }

Secret::Secret(std::size_t size) {
  if (size != 0) block_ = LockedBlock(size);
}

Secret::Secret(std::span<const std::uint8_t> bytes) : Secret(bytes.size()) {
  if (!bytes.empty()) std::memcpy(block_.data(), bytes.data(), bytes.size());
}

bool Secret::equals(const Secret& other) const {
  return size() == other.size() && (size() == 0 || CRYPTO_memcmp(block_.data(), other.block_.data(), size()) == 0);
}

}  // namespace testudo
