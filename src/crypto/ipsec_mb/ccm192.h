// SPDX-License-Identifier: Apache-2.0
// AES-CCM with a key of 192 bits, which ipsec-mb does not have: made of its AES-192 in CBC and counter mode, packet
// by packet (RFC 3610 with 4 bytes of length, as RFC 4309 has it). RFC 8221 leaves these keys at MAY; nobody is in
// a hurry.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "crypto/engine.h"
#include "crypto/ipsec_mb/keys.h"

namespace testudo::crypto {

/// In locked memory.
struct CcmScratch {
  alignas(16) std::array<std::uint8_t, 16> mac;      // CBC's last block
  alignas(16) std::array<std::uint8_t, 16> counter;  // of whatever is encrypted next
  std::array<std::uint8_t, 1024> in, out;
  IMB_JOB job;
};

class Ccm192 {
 public:
  Ccm192(IMB_MGR& mgr, CcmScratch& scratch) : mgr_(mgr), scratch_(scratch) {}
  void seal(const Frame& frame);
  [[nodiscard]] bool open(const Frame& frame);

 private:
  void run(IMB_CIPHER_MODE mode, const JobKeys& keys, const std::uint8_t* iv, const std::uint8_t* in,
           std::uint8_t* out, std::size_t size);
  void authenticate(const Frame& frame);
  void chain(const JobKeys& keys, std::span<const std::uint8_t> blocks);
  void encrypt_text(const Frame& frame);
  void encrypt_mac(const Frame& frame);

  IMB_MGR& mgr_;
  CcmScratch& scratch_;
};

}  // namespace testudo::crypto
