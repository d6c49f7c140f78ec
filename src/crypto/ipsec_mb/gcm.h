// SPDX-License-Identifier: Apache-2.0
// AES-GCM and AES-GMAC, packet by packet through ipsec-mb's direct API: faster than jobs, which could not
// interleave them anyway.
#pragma once

#include <array>
#include <cstdint>

#include "crypto/engine.h"
#include "crypto/ipsec_mb/keys.h"

namespace testudo::crypto {

class Gcm {
 public:
  explicit Gcm(const IMB_MGR& mgr);

  /// `work`: in locked memory. The text may be in pieces.
  void seal(const Frame& frame, gcm_context_data& work) const;
  [[nodiscard]] bool open(const Frame& frame, gcm_context_data& work) const;

  // ENCR_NULL_AUTH_AES_GMAC (RFC 4543 section 3): writes 16 bytes.
  void authenticate(const Frame& frame, gcm_context_data& work, std::uint8_t* icv) const;
  // AUTH_AES_GMAC (section 4): with ESN the high half is behind the data already.
  void authenticate(const AuthFrame& frame, gcm_context_data& work, std::uint8_t* icv) const;

 private:
  struct Gmac {
    aes_gmac_init_t init;
    aes_gmac_update_t update;
    aes_gmac_finalize_t finalize;
  };
  struct Pieces {
    aes_gcm_init_t init;
    aes_gcm_enc_dec_update_t update;
    aes_gcm_enc_dec_finalize_t finalize;
  };
  void seal_large(const Frame& frame, gcm_context_data& work) const;
  void seal_pieces(const Frame& frame, gcm_context_data& work) const;
  void encrypt(const Frame& frame, const std::uint8_t* from, gcm_context_data& work) const;

  // By key_index().
  std::array<aes_gcm_enc_dec_t, 3> encrypt_, decrypt_;
  std::array<Pieces, 3> pieces_;
  std::array<Gmac, 3> gmac_;
};

}  // namespace testudo::crypto
