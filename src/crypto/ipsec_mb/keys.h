// SPDX-License-Identifier: Apache-2.0
// Expanded keys as intel-ipsec-mb wants them: what the storage of a CipherContext of this backend holds.
#pragma once

#include <intel-ipsec-mb.h>

#include <cstdint>
#include <span>

#include "crypto/context.h"

namespace testudo::crypto {

/// GCM and GMAC. Begins with the round keys of AES, which the peek uses.
using GcmKeys = gcm_key_data;

/// Everything else.
struct JobKeys {
  alignas(16) std::uint8_t encrypt[15 * 16];  // AES round keys, or ChaCha20's key as it is
  alignas(16) std::uint8_t decrypt[15 * 16];  // AES round keys
  // HMAC: state after the key XOR ipad, or opad (RFC 2104). XCBC: round keys of K1; K2; K3 (RFC 3566). CMAC: round
  // keys; subkey 1; subkey 2 (RFC 4493).
  alignas(16) std::uint8_t mac[11 * 16];
  alignas(16) std::uint8_t mac_second[64];
  alignas(16) std::uint8_t mac_third[16];
};
static_assert(sizeof(GcmKeys) <= CipherContext::kStorage && sizeof(JobKeys) <= CipherContext::kStorage);

inline const GcmKeys& gcm_keys(const CipherContext& context) { return context.keys<GcmKeys>(); }
inline const JobKeys& job_keys(const CipherContext& context) { return context.keys<JobKeys>(); }

/// 0, 1, 2: keys of 128, 192, 256 bits.
inline std::size_t key_index(const CipherContext& context) { return (context.cipher_key_size() - 16) / 8; }

/// Engine::hot_lines().
std::uint32_t mb_hot_lines(const IMB_MGR& mgr, Mode mode);

/// `scratch`: 128 bytes in locked memory.
void expand_mb_keys(const IMB_MGR& mgr, std::span<const std::uint8_t> cipher,
                    std::span<const std::uint8_t> integrity, std::span<std::uint8_t, 128> scratch,
                    CipherContext& context);
/// What Peeks read.
void expand_mb_peek_keys(const IMB_MGR& mgr, std::span<const std::uint8_t> cipher, CipherContext& context);

}  // namespace testudo::crypto
