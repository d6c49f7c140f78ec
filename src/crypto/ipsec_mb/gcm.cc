// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/gcm.h"

#include "crypto/frame_parts.h"

namespace testudo::crypto {

Gcm::Gcm(const IMB_MGR& mgr)
    : encrypt_{mgr.gcm128_enc, mgr.gcm192_enc, mgr.gcm256_enc},
      decrypt_{mgr.gcm128_dec, mgr.gcm192_dec, mgr.gcm256_dec},
      gmac_{{{mgr.gmac128_init, mgr.gmac128_update, mgr.gmac128_finalize},
             {mgr.gmac192_init, mgr.gmac192_update, mgr.gmac192_finalize},
             {mgr.gmac256_init, mgr.gmac256_update, mgr.gmac256_finalize}}} {}

void Gcm::seal(const Frame& frame, gcm_context_data& work) const {
  const CipherContext& context = *frame.context;
  const FrameParts parts(frame);
  std::array<std::uint8_t, 16> aad;
  const std::size_t aad_size = write_aad(aad.data(), frame);
  std::array<std::uint8_t, 16> nonce;
  write_nonce(nonce.data(), context.salt(), parts.iv);
  encrypt_[key_index(context)](&gcm_keys(context), &work, parts.text, parts.text, parts.text_size, nonce.data(),
                               aad.data(), aad_size, parts.icv, context.icv_size());
}

bool Gcm::open(const Frame& frame, gcm_context_data& work) const {
  const CipherContext& context = *frame.context;
  const FrameParts parts(frame);
  std::array<std::uint8_t, 16> aad;
  const std::size_t aad_size = write_aad(aad.data(), frame);
  std::array<std::uint8_t, 16> nonce;
  write_nonce(nonce.data(), context.salt(), parts.iv);
  std::array<std::uint8_t, 16> computed;
  decrypt_[key_index(context)](&gcm_keys(context), &work, parts.text, parts.text, parts.text_size, nonce.data(),
                               aad.data(), aad_size, computed.data(), context.icv_size());
  return equal_icv(computed.data(), parts.icv, context.icv_size());
}

// RFC 4543 section 3.3: SPI, sequence number, IV, text: all of it authenticated, none encrypted.
void Gcm::authenticate(const Frame& frame, gcm_context_data& work, std::uint8_t* icv) const {
  const CipherContext& context = *frame.context;
  const FrameParts parts(frame);
  const Gmac& gmac = gmac_[key_index(context)];
  std::array<std::uint8_t, kNonceSize> nonce;
  write_nonce(nonce.data(), context.salt(), parts.iv);
  gmac.init(&gcm_keys(context), &work, nonce.data(), nonce.size());
  if (context.esn()) {
    std::array<std::uint8_t, kAadMax> header;
    gmac.update(&gcm_keys(context), &work, header.data(), write_aad(header.data(), frame));
    gmac.update(&gcm_keys(context), &work, parts.iv, static_cast<std::size_t>(parts.icv - parts.iv));
  } else {
    gmac.update(&gcm_keys(context), &work, frame.data, static_cast<std::size_t>(parts.icv - frame.data));
  }
  gmac.finalize(&gcm_keys(context), &work, icv, context.icv_size());
}

void Gcm::authenticate(const AuthFrame& frame, gcm_context_data& work, std::uint8_t* icv) const {
  const CipherContext& context = *frame.context;
  const std::size_t bits_index = (internal::row(context.suite().integrity).key - std::size_t{16}) / 8;
  const Gmac& gmac = gmac_[bits_index];
  std::array<std::uint8_t, kNonceSize> nonce;
  write_nonce(nonce.data(), context.salt(), frame.iv);
  gmac.init(&gcm_keys(context), &work, nonce.data(), nonce.size());
  gmac.update(&gcm_keys(context), &work, frame.data, frame.size + (context.esn() ? 4 : 0));
  gmac.finalize(&gcm_keys(context), &work, icv, context.icv_size());
}

}  // namespace testudo::crypto
