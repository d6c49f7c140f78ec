// SPDX-License-Identifier: Apache-2.0
// Where the parts of an ESP packet lie, and what each suite makes of them: shared by the backends.
//
//   const FrameParts parts(frame);
//   std::array<std::uint8_t, kAadMax> aad;
//   const std::size_t aad_size = write_aad(aad.data(), frame);
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/byte_order.h"
#include "crypto/engine.h"

namespace testudo::crypto {

inline constexpr std::size_t kEspHeader = 8;   // bytes: SPI, sequence number's low half
inline constexpr std::size_t kAadMax = 12;     // bytes
inline constexpr std::size_t kSaltSize = 4;    // bytes; CCM's is one less
inline constexpr std::size_t kNonceSize = 12;  // bytes; CCM's is one less
inline constexpr std::size_t kBlockSize = 16;  // bytes, AES

struct FrameParts {
  explicit FrameParts(const Frame& frame)
      : iv(frame.data + kEspHeader),
        text(iv + frame.context->iv_size()),
        icv(frame.data + frame.size - frame.context->icv_size()),
        text_size(static_cast<std::size_t>(icv - text)) {}
  std::uint8_t* iv;
  std::uint8_t* text;
  std::uint8_t* icv;
  std::size_t text_size;
};

/// frame_fits() with what the context knows.
inline bool fits(const Frame& frame) {
  const CipherContext& context = *frame.context;
  const std::size_t fixed = kEspHeader + context.iv_size() + context.icv_size();
  return frame.size > fixed && ((frame.size - fixed) & (context.block() - 1)) == 0;
}

inline std::size_t size_of_pieces(const Frame& frame) { return frame.first.size() + frame.second.size(); }

/// fits(), and so do the pieces of the text: what seal() demands.
inline bool fits_in_pieces(const Frame& frame) {
  const std::size_t fixed = kEspHeader + frame.context->iv_size() + frame.context->icv_size();
  return fits(frame) && size_of_pieces(frame) <= frame.size - fixed;
}

/// Copies the pieces of the text, if there are any, to where they belong.
inline void gather(const Frame& frame) {
  std::uint8_t* text = frame.data + kEspHeader + frame.context->iv_size();
  if (!frame.first.empty()) std::memcpy(text, frame.first.data(), frame.first.size());
  if (!frame.second.empty()) std::memcpy(text + frame.first.size(), frame.second.data(), frame.second.size());
}

inline void write_be32(std::uint8_t* out, std::uint32_t value) {
  const Be<std::uint32_t> be(value);
  std::memcpy(out, &be, sizeof be);
}

/// Authenticated before the text by every AEAD (RFC 4106 section 5, 4309 section 5, 4543 section 3.3, 7634 section
/// 2.1): SPI and sequence number, all 64 bits of it with ESN. Returns its size.
inline std::size_t write_aad(std::uint8_t* out, const Frame& frame) {
  std::memcpy(out, frame.data, 8);
  if (!frame.context->esn()) return 8;
  write_be32(out + 4, frame.sequence_high);
  std::memcpy(out + 8, frame.data + 4, 4);
  return 12;
}

/// RFC 4106 section 4, RFC 7634 section 2: salt, then the explicit IV.
inline void write_nonce(std::uint8_t* out, const std::uint8_t* salt, const std::uint8_t* iv) {
  std::memcpy(out, salt, kSaltSize);
  std::memcpy(out + kSaltSize, iv, 8);
}

/// RFC 4309 section 4: 3 bytes of salt, then the IV; 11 bytes, so the length field has 4.
inline void write_ccm_nonce(std::uint8_t* out, const std::uint8_t* salt, const std::uint8_t* iv) {
  std::memcpy(out, salt, 3);
  std::memcpy(out + 3, iv, 8);
}

/// The counter block that encrypts the block of text behind `skip` bytes. Of the first block: GCM's is 2 (NIST SP
/// 800-38D section 7.1), CTR's 1 (RFC 3686 section 4), CCM's 1 behind flags that say "4 bytes of counter" (RFC 3610
/// section 2.3). 16 bytes.
inline void write_counter(std::uint8_t* out, const CipherContext& context, const std::uint8_t* iv,
                          std::uint32_t skip = 0) {
  if (context.mode() == Mode::kCcm) {
    out[0] = 3;
    write_ccm_nonce(out + 1, context.salt(), iv);
  } else {
    write_nonce(out, context.salt(), iv);
  }
  write_be32(out + 12, (context.mode() == Mode::kGcm ? 2u : 1u) + skip / static_cast<std::uint32_t>(kBlockSize));
}

/// Compares ICVs: how long it takes tells nothing of where they differ. `size`: at least 8 bytes, as every suite's
/// is.
inline bool equal_icv(const std::uint8_t* a, const std::uint8_t* b, std::size_t size) {
  const auto difference = [a, b](std::size_t at) {
    std::uint64_t x;
    std::uint64_t y;
    std::memcpy(&x, a + at, 8);
    std::memcpy(&y, b + at, 8);
    return x ^ y;
  };
  std::uint64_t different = difference(size - 8);  // the last 8 bytes, which may overlap those before
  for (std::size_t at = 0; at + 8 < size; at += 8) different |= difference(at);
  asm volatile("" : "+r"(different));  // what comes before is not to be shortened by knowing what comes after
  return different == 0;
}

}  // namespace testudo::crypto
