// SPDX-License-Identifier: Apache-2.0
// Expanded keys as intel-ipsec-mb wants them, in locked memory.
#pragma once

#include <intel-ipsec-mb.h>

#include <cstdint>

#include "base/locked_memory.h"
#include "crypto/engine.h"
#include "crypto/frame_parts.h"

namespace testudo::crypto {

struct GcmKeys {
  alignas(64) gcm_key_data key;  // begins with the round keys of AES, which the peek uses
  std::uint8_t salt[kSaltSize];
};

struct CbcHmacKeys {
  alignas(16) std::uint8_t encrypt[15 * 16];  // round keys
  alignas(16) std::uint8_t decrypt[15 * 16];
  alignas(16) std::uint8_t inner[32];  // SHA-256 state after the key XOR ipad (RFC 2104)
  alignas(16) std::uint8_t outer[32];  // SHA-256 state after the key XOR opad
};

class GcmContext final : public CipherContext {
 public:
  GcmContext(const IMB_MGR& mgr, Suite suite, const Secret& key, Esn esn);
  [[nodiscard]] const GcmKeys& keys() const { return *keys_; }

 private:
  Locked<GcmKeys> keys_;
};

class CbcHmacContext final : public CipherContext {
 public:
  CbcHmacContext(const IMB_MGR& mgr, Suite suite, const Secret& key, Esn esn);
  [[nodiscard]] const CbcHmacKeys& keys() const { return *keys_; }

 private:
  Locked<CbcHmacKeys> keys_;
};

}  // namespace testudo::crypto
