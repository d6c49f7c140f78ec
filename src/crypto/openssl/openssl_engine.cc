// SPDX-License-Identifier: Apache-2.0
#include "crypto/openssl/openssl_engine.h"

#include "crypto/openssl/openssl_context.h"  // first: it chooses what OpenSSL declares

#include <openssl/crypto.h>

#include <array>
#include <cstring>

#include "base/check.h"

namespace testudo::crypto {
namespace {

using Icv = std::array<std::uint8_t, kIcvSize>;

OpensslContext& own(CipherContext& context) { return static_cast<OpensslContext&>(context); }

// Starts a message under the context's key with a new IV.
void start(EVP_CIPHER_CTX* cipher, const std::uint8_t* iv) {
  CHECK(EVP_CipherInit_ex(cipher, nullptr, nullptr, nullptr, iv, -1) == 1);
}

void update(EVP_CIPHER_CTX* cipher, std::uint8_t* out, const std::uint8_t* in, std::size_t size) {
  int written = 0;
  CHECK(EVP_CipherUpdate(cipher, out, &written, in, static_cast<int>(size)) == 1);
  CHECK(static_cast<std::size_t>(written) == size);
}

void start_gcm(EVP_CIPHER_CTX* cipher, const Frame& frame, const FrameParts& parts) {
  std::array<std::uint8_t, 12> nonce;
  write_nonce(nonce.data(), own(*frame.context).secrets->salt, parts.iv);
  start(cipher, nonce.data());
  std::array<std::uint8_t, kAadMax> aad;
  const std::size_t aad_size = write_aad(aad, frame);
  update(cipher, nullptr, aad.data(), aad_size);
}

void seal_gcm(const Frame& frame, const FrameParts& parts) {
  EVP_CIPHER_CTX* cipher = own(*frame.context).encrypt.get();
  start_gcm(cipher, frame, parts);
  update(cipher, parts.text, parts.text, parts.text_size);
  int written = 0;
  CHECK(EVP_CipherFinal_ex(cipher, nullptr, &written) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, kIcvSize, parts.icv) == 1);
}

bool open_gcm(const Frame& frame, const FrameParts& parts) {
  EVP_CIPHER_CTX* cipher = own(*frame.context).decrypt.get();
  start_gcm(cipher, frame, parts);
  update(cipher, parts.text, parts.text, parts.text_size);
  CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, kIcvSize, parts.icv) == 1);
  int written = 0;
  return EVP_CipherFinal_ex(cipher, nullptr, &written) == 1;  // compares in constant time
}

// RFC 4868 and RFC 4303 section 3.3.2.1: from the SPI to the text's end, then with ESN the number's high half.
Icv hmac(const Frame& frame, const FrameParts& parts) {
  OpensslSecrets& secrets = *own(*frame.context).secrets;
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest;
  secrets.work = secrets.inner;
  SHA256_Update(&secrets.work, frame.data, static_cast<std::size_t>(parts.icv - frame.data));
  if (frame.context->esn()) {
    std::array<std::uint8_t, 4> high;
    write_high(high.data(), frame);
    SHA256_Update(&secrets.work, high.data(), high.size());
  }
  SHA256_Final(digest.data(), &secrets.work);
  secrets.work = secrets.outer;
  SHA256_Update(&secrets.work, digest.data(), digest.size());
  SHA256_Final(digest.data(), &secrets.work);
  Icv icv;
  std::memcpy(icv.data(), digest.data(), icv.size());
  return icv;
}

void seal_cbc(const Frame& frame, const FrameParts& parts) {
  EVP_CIPHER_CTX* cipher = own(*frame.context).encrypt.get();
  start(cipher, parts.iv);
  update(cipher, parts.text, parts.text, parts.text_size);
  const Icv icv = hmac(frame, parts);
  std::memcpy(parts.icv, icv.data(), icv.size());
}

bool open_cbc(const Frame& frame, const FrameParts& parts) {
  const Icv icv = hmac(frame, parts);
  if (CRYPTO_memcmp(icv.data(), parts.icv, icv.size()) != 0) return false;
  EVP_CIPHER_CTX* cipher = own(*frame.context).decrypt.get();
  start(cipher, parts.iv);
  update(cipher, parts.text, parts.text, parts.text_size);
  return true;
}

class OpensslEngine final : public Engine {
 public:
  OpensslEngine() : Engine(Backend::kOpenssl) {}

  void seal(std::span<const Frame> frames) override {
    CHECK(frames.size() <= kBurstMax);
    for (const Frame& frame : frames) {
      const FrameParts parts = checked(frame);
      is_gcm(frame.context->suite()) ? seal_gcm(frame, parts) : seal_cbc(frame, parts);
    }
  }

  std::uint64_t open(std::span<const Frame> frames) override {
    CHECK(frames.size() <= kBurstMax);
    std::uint64_t authentic = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const FrameParts parts = checked(frames[i]);
      const bool good =
          is_gcm(frames[i].context->suite()) ? open_gcm(frames[i], parts) : open_cbc(frames[i], parts);
      authentic |= std::uint64_t{good} << i;
    }
    return authentic;
  }

  void peek(std::span<const PeekRequest> requests) override {
    CHECK(requests.size() <= kBurstMax);
    for (const PeekRequest& request : requests) peek_one(request);
  }

 protected:
  std::unique_ptr<CipherContext> expand(Suite suite, const Secret& key, Esn esn) override {
    return std::make_unique<OpensslContext>(suite, key, esn);
  }

 private:
  FrameParts checked(const Frame& frame) const {
    CHECK(frame.context->backend() == backend() && frame_fits(frame.context->suite(), frame.size));
    return {frame.data, frame.size, frame.context->suite()};
  }

  void peek_one(const PeekRequest& request) const {
    const Suite suite = request.context->suite();
    CHECK(request.context->backend() == backend() && request.size <= kPeekMax && request.size > 0 &&
          request.size % sizes(suite).block == 0);
    const auto& context = static_cast<const OpensslContext&>(*request.context);
    const std::uint8_t* iv = request.data + kEspHeader;
    std::array<std::uint8_t, 16> first;
    if (is_gcm(suite)) {
      write_first_counter(first, context.secrets->salt, iv);
    } else {
      std::memcpy(first.data(), iv, first.size());
    }
    start(context.peek.get(), first.data());
    update(context.peek.get(), request.out, iv + sizes(suite).iv, request.size);
  }
};

}  // namespace

std::unique_ptr<Engine> make_openssl_engine() { return std::make_unique<OpensslEngine>(); }

}  // namespace testudo::crypto
