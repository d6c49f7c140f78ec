// SPDX-License-Identifier: Apache-2.0
// One block of ChaCha20's keystream (RFC 8439 section 2.3), at any counter: for peeks that begin behind the first.
#pragma once

#include <cstdint>

namespace testudo::crypto {

inline constexpr std::uint32_t kChachaBlock = 64;  // bytes

/// `key`: 32 bytes, `nonce`: 12, `out`: 64.
void chacha20_block(const std::uint8_t* key, std::uint32_t counter, const std::uint8_t* nonce, std::uint8_t* out);

}  // namespace testudo::crypto
