// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/gcm.h"

#include <cstring>

#include "crypto/frame_parts.h"
#include "crypto/ipsec_mb/one_piece.h"

namespace testudo::crypto {
namespace {

/// Bytes from which on encrypting piece by piece (three calls more) costs less than a copy and one call (Zen 3).
constexpr std::size_t kApart = 512;

/// What the library reads besides key and text, written in single stores as wide as its loads: a load that spans
/// two stores waits until they are in the cache.
struct Start {
  explicit Start(const Frame& frame) : aad_size(write_aad(aad.data(), frame)) {
    std::uint32_t salt;
    std::uint64_t iv;
    std::memcpy(&salt, frame.context->salt(), sizeof salt);
    std::memcpy(&iv, frame.data + kEspHeader, sizeof iv);
    using Words = std::uint64_t __attribute__((vector_size(16)));
    const Words words = {salt | iv << 32, iv >> 32};  // write_nonce(), on a CPU whose first byte is the lowest
    std::memcpy(nonce.data(), &words, sizeof words);
  }
  alignas(16) std::array<std::uint8_t, 16> nonce;
  alignas(16) std::array<std::uint8_t, 16> aad;
  std::size_t aad_size;
};

}  // namespace

Gcm::Gcm(const IMB_MGR& mgr)
    : encrypt_{mgr.gcm128_enc, mgr.gcm192_enc, mgr.gcm256_enc},
      decrypt_{mgr.gcm128_dec, mgr.gcm192_dec, mgr.gcm256_dec},
      pieces_{{{mgr.gcm128_init, mgr.gcm128_enc_update, mgr.gcm128_enc_finalize},
               {mgr.gcm192_init, mgr.gcm192_enc_update, mgr.gcm192_enc_finalize},
               {mgr.gcm256_init, mgr.gcm256_enc_update, mgr.gcm256_enc_finalize}}},
      gmac_{{{mgr.gmac128_init, mgr.gmac128_update, mgr.gmac128_finalize},
             {mgr.gmac192_init, mgr.gmac192_update, mgr.gmac192_finalize},
             {mgr.gmac256_init, mgr.gmac256_update, mgr.gmac256_finalize}}} {}

// `from`: the whole text.
[[gnu::always_inline]] inline void Gcm::encrypt(const Frame& frame, const std::uint8_t* from,
                                                gcm_context_data& work) const {
  const CipherContext& context = *frame.context;
  const FrameParts parts(frame);
  const Start start(frame);
  encrypt_[key_index(context)](&gcm_keys(context), &work, parts.text, from, parts.text_size, start.nonce.data(),
                               start.aad.data(), start.aad_size, parts.icv, context.icv_size());
}

void Gcm::seal(const Frame& frame, gcm_context_data& work) const {
  if (size_of_pieces(frame) >= kApart) return seal_large(frame, work);
  gather(frame);
  encrypt(frame, FrameParts(frame).text, work);
}

void Gcm::seal_large(const Frame& frame, gcm_context_data& work) const {
  OnePiece::possible(frame) ? encrypt(frame, OnePiece(frame).text(), work) : seal_pieces(frame, work);
}

void Gcm::seal_pieces(const Frame& frame, gcm_context_data& work) const {
  const CipherContext& context = *frame.context;
  const FrameParts parts(frame);
  const Start start(frame);
  const Pieces& gcm = pieces_[key_index(context)];
  const gcm_key_data* keys = &gcm_keys(context);
  gcm.init(keys, &work, start.nonce.data(), start.aad.data(), start.aad_size);
  std::uint8_t* at = parts.text;
  for (const auto piece : {frame.first, frame.second}) {
    if (!piece.empty()) gcm.update(keys, &work, at, piece.data(), piece.size());
    at += piece.size();
  }
  if (at != parts.icv) gcm.update(keys, &work, at, at, static_cast<std::size_t>(parts.icv - at));
  gcm.finalize(keys, &work, parts.icv, context.icv_size());
}

bool Gcm::open(const Frame& frame, gcm_context_data& work) const {
  const CipherContext& context = *frame.context;
  const FrameParts parts(frame);
  const Start start(frame);
  std::array<std::uint8_t, 16> computed;
  decrypt_[key_index(context)](&gcm_keys(context), &work, parts.text, parts.text, parts.text_size,
                               start.nonce.data(), start.aad.data(), start.aad_size, computed.data(),
                               context.icv_size());
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
