// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl/openssl_engine.h"

#include "crypto/openssl/mac.h"  // first: it chooses what OpenSSL declares

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "crypto/frame_parts.h"
#include "crypto/openssl/ciphers.h"

namespace testudo::crypto {
namespace {

using Way = Ciphers::Way;
using Icv = std::array<std::uint8_t, kIcvMax>;

const std::uint8_t* key_of(const CipherContext& context) { return context.keys<OpensslKeys>().cipher.data(); }

class OpensslEngine final : public Engine {
 public:
  OpensslEngine() : Engine(Backend::kOpenssl) {}

  void seal(std::span<const Frame> frames) override {
    CHECK(frames.size() <= kBurstMax);
    for (const Frame& frame : frames) {
      check(frame);
      CHECK(fits_in_pieces(frame));
      gather(frame);
      is_aead(frame.context->suite()) ? seal_aead(frame) : seal_chained(frame);
    }
  }

  std::uint64_t open(std::span<const Frame> frames) override {
    CHECK(frames.size() <= kBurstMax);
    std::uint64_t authentic = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      check(frames[i]);
      const bool good = is_aead(frames[i].context->suite()) ? open_aead(frames[i]) : open_chained(frames[i]);
      authentic |= std::uint64_t{good} << i;
    }
    return authentic;
  }

  void peek(std::span<const PeekRequest> requests) override {
    CHECK(requests.size() <= kBurstMax);
    for (const PeekRequest& request : requests) peek_one(request);
  }

  void sign(std::span<const AuthFrame> frames) override {
    CHECK(frames.size() <= kBurstMax);
    for (const AuthFrame& frame : frames) {
      const Icv icv = authenticate(frame);
      std::memcpy(frame.icv, icv.data(), frame.context->icv_size());
    }
  }

  std::uint64_t verify(std::span<const AuthFrame> frames) override {
    CHECK(frames.size() <= kBurstMax);
    std::uint64_t good = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const Icv icv = authenticate(frames[i]);
      good |= std::uint64_t{equal_icv(icv.data(), frames[i].icv, frames[i].context->icv_size())} << i;
    }
    return good;
  }

 protected:
  void expand_keys(std::span<const std::uint8_t> cipher, std::span<const std::uint8_t> integrity,
                   CipherContext& context) override {
    OpensslKeys& keys = context.keys<OpensslKeys>();
    const bool gmac_of_ah = internal::row(context.suite().integrity).salt != 0;
    std::ranges::copy(gmac_of_ah ? integrity : cipher, keys.cipher.begin());
    if (!integrity.empty() && !gmac_of_ah) expand_mac(context.suite().integrity, integrity, ciphers_.mac(), keys);
  }
  std::uint32_t hot_lines(Mode) const override { return 0x7; }  // expanding the key anew takes far longer

 private:
  static void check(const Frame& frame) {
    CHECK(frame.context->backend() == Backend::kOpenssl && frame.context->mode() != Mode::kNone && fits(frame));
  }

  EVP_CIPHER_CTX* start_aead(const Frame& frame, const FrameParts& parts, Way way);
  EVP_CIPHER_CTX* start_ccm(const Frame& frame, const FrameParts& parts, Way way);
  static void authenticate_header(EVP_CIPHER_CTX* cipher, const Frame& frame, const FrameParts& parts);
  void seal_aead(const Frame& frame);
  bool open_aead(const Frame& frame);
  void crypt(const Frame& frame, const FrameParts& parts, Way way);
  Icv mac(const Frame& frame, const FrameParts& parts);
  void seal_chained(const Frame& frame);
  bool open_chained(const Frame& frame);
  Icv authenticate(const AuthFrame& frame);
  Icv gmac(const AuthFrame& frame);
  void peek_one(const PeekRequest& request);

  Ciphers ciphers_;
  Locked<MacState> mac_state_;
};

// CCM wants to know all sizes, and in order to decrypt the ICV, before anything else.
EVP_CIPHER_CTX* OpensslEngine::start_ccm(const Frame& frame, const FrameParts& parts, Way way) {
  const CipherContext& context = *frame.context;
  EVP_CIPHER_CTX* cipher = ciphers_.of(Mode::kCcm, context.cipher_key_size(), way);
  const int icv_size = static_cast<int>(context.icv_size());
  CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_IVLEN, kNonceSize - 1, nullptr) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, icv_size, way == Way::kEncrypt ? nullptr : parts.icv) ==
        1);
  std::array<std::uint8_t, kNonceSize> nonce;
  write_ccm_nonce(nonce.data(), context.salt(), parts.iv);
  start(cipher, key_of(context), nonce.data());
  update(cipher, nullptr, nullptr, parts.text_size);
  return cipher;
}

EVP_CIPHER_CTX* OpensslEngine::start_aead(const Frame& frame, const FrameParts& parts, Way way) {
  const CipherContext& context = *frame.context;
  EVP_CIPHER_CTX* cipher = nullptr;
  if (context.mode() == Mode::kCcm) {
    cipher = start_ccm(frame, parts, way);
  } else {
    cipher = ciphers_.of(context.mode(), context.cipher_key_size(), way);
    std::array<std::uint8_t, kNonceSize> nonce;
    write_nonce(nonce.data(), context.salt(), parts.iv);
    start(cipher, key_of(context), nonce.data());
  }
  authenticate_header(cipher, frame, parts);
  return cipher;
}

// GMAC (RFC 4543 section 3.3): IV and text too, and nothing is left to encrypt.
void OpensslEngine::authenticate_header(EVP_CIPHER_CTX* cipher, const Frame& frame, const FrameParts& parts) {
  std::array<std::uint8_t, kAadMax> aad;
  update(cipher, nullptr, aad.data(), write_aad(aad.data(), frame));
  if (frame.context->mode() != Mode::kGmac) return;
  update(cipher, nullptr, parts.iv, static_cast<std::size_t>(parts.icv - parts.iv));
}

void OpensslEngine::seal_aead(const Frame& frame) {
  const FrameParts parts(frame);
  EVP_CIPHER_CTX* cipher = start_aead(frame, parts, Way::kEncrypt);
  if (frame.context->mode() != Mode::kGmac) update(cipher, parts.text, parts.text, parts.text_size);
  int written = 0;
  Icv rest;
  CHECK(EVP_CipherFinal_ex(cipher, rest.data(), &written) == 1 && written == 0);
  const int icv_size = static_cast<int>(frame.context->icv_size());
  CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, icv_size, parts.icv) == 1);
}

// OpenSSL compares in constant time: in CCM when it decrypts, else at the end.
bool OpensslEngine::open_aead(const Frame& frame) {
  const FrameParts parts(frame);
  EVP_CIPHER_CTX* cipher = start_aead(frame, parts, Way::kDecrypt);
  int written = 0;
  if (frame.context->mode() == Mode::kCcm) {
    return EVP_CipherUpdate(cipher, parts.text, &written, parts.text, static_cast<int>(parts.text_size)) == 1;
  }
  if (frame.context->mode() != Mode::kGmac) update(cipher, parts.text, parts.text, parts.text_size);
  const int icv_size = static_cast<int>(frame.context->icv_size());
  CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, icv_size, parts.icv) == 1);
  Icv rest;
  return EVP_CipherFinal_ex(cipher, rest.data(), &written) == 1;
}

void OpensslEngine::crypt(const Frame& frame, const FrameParts& parts, Way way) {
  const CipherContext& context = *frame.context;
  if (context.mode() == Mode::kNull) return;
  std::array<std::uint8_t, kBlockSize> first;
  if (context.mode() == Mode::kCtr) {
    write_counter(first.data(), context, parts.iv);
  } else {
    std::memcpy(first.data(), parts.iv, first.size());
  }
  EVP_CIPHER_CTX* cipher = ciphers_.of(context.mode(), context.cipher_key_size(), way);
  start(cipher, key_of(context), first.data());
  update(cipher, parts.text, parts.text, parts.text_size);
}

// RFC 4303 section 3.3.2.1: from the SPI to the text's end, then with ESN the number's high half.
Icv OpensslEngine::mac(const Frame& frame, const FrameParts& parts) {
  Mac mac(*frame.context, ciphers_.mac(), *mac_state_);
  mac.update({frame.data, parts.icv});
  if (frame.context->esn()) {
    std::array<std::uint8_t, 4> high;
    write_be32(high.data(), frame.sequence_high);
    mac.update(high);
  }
  Icv icv;
  mac.finish(icv.data());
  return icv;
}

void OpensslEngine::seal_chained(const Frame& frame) {
  const FrameParts parts(frame);
  crypt(frame, parts, Way::kEncrypt);
  const Icv icv = mac(frame, parts);
  std::memcpy(parts.icv, icv.data(), frame.context->icv_size());
}

bool OpensslEngine::open_chained(const Frame& frame) {
  const FrameParts parts(frame);
  const Icv icv = mac(frame, parts);
  if (!equal_icv(icv.data(), parts.icv, frame.context->icv_size())) return false;
  crypt(frame, parts, Way::kDecrypt);
  return true;
}

Icv OpensslEngine::gmac(const AuthFrame& frame) {
  const CipherContext& context = *frame.context;
  const std::size_t key_size = internal::row(context.suite().integrity).key;
  EVP_CIPHER_CTX* cipher = ciphers_.of(Mode::kGcm, key_size, Way::kEncrypt);
  std::array<std::uint8_t, kNonceSize> nonce;
  write_nonce(nonce.data(), context.salt(), frame.iv);
  start(cipher, key_of(context), nonce.data());
  update(cipher, nullptr, frame.data, frame.size);
  if (context.esn()) {
    std::array<std::uint8_t, 4> high;
    write_be32(high.data(), frame.sequence_high);
    update(cipher, nullptr, high.data(), high.size());
  }
  int written = 0;
  Icv icv;
  CHECK(EVP_CipherFinal_ex(cipher, icv.data(), &written) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(context.icv_size()), icv.data()) == 1);
  return icv;
}

// RFC 4302 section 3.3.3.2.1: with ESN the high half comes behind all else.
Icv OpensslEngine::authenticate(const AuthFrame& frame) {
  const CipherContext& context = *frame.context;
  CHECK(context.backend() == Backend::kOpenssl && context.mode() == Mode::kNone && frame.size > 0);
  if (context.iv_size() != 0) return gmac(frame);
  Mac mac(context, ciphers_.mac(), *mac_state_);
  mac.update({frame.data, frame.size});
  if (context.esn()) {
    std::array<std::uint8_t, 4> high;
    write_be32(high.data(), frame.sequence_high);
    mac.update(high);
  }
  Icv icv;
  mac.finish(icv.data());
  return icv;
}

void OpensslEngine::peek_one(const PeekRequest& request) {
  const CipherContext& context = *request.context;
  CHECK(context.backend() == Backend::kOpenssl && context.mode() != Mode::kNone && request.size <= kPeekMax &&
        request.size > 0 && (request.size & (context.block() - 1)) == 0 && request.skip % kPeekStep == 0);
  const std::uint8_t* iv = request.data + kEspHeader;
  const std::uint8_t* text = iv + context.iv_size() + request.skip;
  if (context.mode() == Mode::kNull || context.mode() == Mode::kGmac) {
    std::memcpy(request.out, text, request.size);
    return;
  }
  std::array<std::uint8_t, kBlockSize> first{};
  if (context.mode() == Mode::kCbc) {
    std::memcpy(first.data(), request.skip == 0 ? iv : text - kBlockSize, first.size());
  } else if (context.mode() == Mode::kChacha) {
    const std::uint32_t block =
        1 + request.skip / 64;  // counter, least significant byte first (RFC 8439 section 2.4)
    for (unsigned i = 0; i < 4; ++i) first[i] = static_cast<std::uint8_t>(block >> (8 * i));
    write_nonce(first.data() + 4, context.salt(), iv);
  } else {
    write_counter(first.data(), context, iv, request.skip);
  }
  EVP_CIPHER_CTX* cipher = ciphers_.plain_of(context.mode(), context.cipher_key_size());
  start(cipher, key_of(context), first.data());
  update(cipher, request.out, text, request.size);
}

}  // namespace

std::unique_ptr<Engine> make_openssl_engine() { return std::make_unique<OpensslEngine>(); }

}  // namespace testudo::crypto
