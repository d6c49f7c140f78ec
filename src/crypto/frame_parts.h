// SPDX-License-Identifier: Apache-2.0
// Where the parts of an ESP packet lie, and what each suite makes of them: shared by the backends.
//
//   const FrameParts parts(frame.data, frame.size, frame.context->suite());
//   std::array<std::uint8_t, kAadMax> aad;
//   const std::size_t aad_size = write_aad(aad, frame);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/byte_order.h"
#include "crypto/engine.h"

namespace testudo::crypto {

inline constexpr std::size_t kEspHeader = 8;  // bytes: SPI, sequence number's low half
inline constexpr std::size_t kAadMax = 12;    // bytes
inline constexpr std::size_t kSaltSize = 4;   // bytes

/// Bytes of the AES key, which is the first part of each suite's key.
constexpr std::size_t aes_key_size(Suite suite) {
  return suite == Suite::kAesGcm128Icv16 || suite == Suite::kAesCbc128HmacSha256 ? 16 : 32;
}

struct FrameParts {
  FrameParts(std::uint8_t* data, std::size_t size, Suite suite)
      : iv(data + kEspHeader),
        text(iv + sizes(suite).iv),
        text_size(size - kEspHeader - sizes(suite).iv - sizes(suite).icv),
        icv(text + text_size) {}
  std::uint8_t* iv;
  std::uint8_t* text;
  std::size_t text_size;
  std::uint8_t* icv;
};

inline void write_high(std::uint8_t* out, const Frame& frame) {
  const Be<std::uint32_t> high(frame.sequence_high);
  std::memcpy(out, &high, sizeof high);
}

/// RFC 4106 section 5: SPI and sequence number, all 64 bits of it with ESN. Returns its size.
inline std::size_t write_aad(std::array<std::uint8_t, kAadMax>& out, const Frame& frame) {
  std::memcpy(out.data(), frame.data, 4);
  if (!frame.context->esn()) {
    std::memcpy(out.data() + 4, frame.data + 4, 4);
    return 8;
  }
  write_high(out.data() + 4, frame);
  std::memcpy(out.data() + 8, frame.data + 4, 4);
  return 12;
}

/// RFC 4106 section 4: salt, then the explicit IV.
inline void write_nonce(std::uint8_t* out, const std::uint8_t* salt, const std::uint8_t* iv) {
  std::memcpy(out, salt, kSaltSize);
  std::memcpy(out + kSaltSize, iv, 8);
}

/// GCM encrypts its first block of text with counter 2 (NIST SP 800-38D section 7.1): counter mode from there on.
inline void write_first_counter(std::array<std::uint8_t, 16>& out, const std::uint8_t* salt,
                                const std::uint8_t* iv) {
  write_nonce(out.data(), salt, iv);
  const Be<std::uint32_t> counter(2);
  std::memcpy(out.data() + 12, &counter, sizeof counter);
}

}  // namespace testudo::crypto
