// SPDX-License-Identifier: Apache-2.0
#include "bench/raw_peer.h"

#include <intel-ipsec-mb.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace testudo::bench {
namespace {

constexpr std::size_t kHeader = 8;  // bytes: SPI, sequence number
constexpr std::size_t kIcv = 16;    // bytes

struct Keys {
  alignas(64) gcm_key_data gcm;
  alignas(16) std::uint8_t encrypt[15 * 16];
  alignas(16) std::uint8_t decrypt[15 * 16];
  alignas(16) std::uint8_t inner[32], outer[32];
  alignas(16) std::uint8_t chacha[32];
};

class RawPeer final : public Contender {
 public:
  explicit RawPeer(const Case& which)
      : which_(which), sizes_(crypto::sizes(which.suite->ours)), mgr_(alloc_mb_mgr(0)), keys_(which.sas) {
    CHECK(mgr_ != nullptr);
    init_mb_mgr_auto(mgr_, nullptr);
    for (std::uint32_t i = 0; i < which.sas; ++i) expand(i);
  }
  ~RawPeer() override { free_mb_mgr(mgr_); }

  void load(const Turn& turn) override;
  std::size_t run() override;

 private:
  struct Text {
    const Keys* keys;
    std::uint8_t* esp;
    std::size_t size;  // bytes of the text, which begins after header and IV
  };
  void expand(std::uint32_t sa);
  void hmac_state(const std::vector<std::uint8_t>& key, std::uint8_t pad, std::uint8_t* state);
  void gcm(const Text& text);
  void submit(const Text& text, std::size_t index);
  void describe(IMB_JOB& job, const Text& text) const;
  void describe_cbc(IMB_JOB& job, const Text& text) const;
  void describe_chacha(IMB_JOB& job, const Text& text) const;
  [[nodiscard]] bool outbound() const { return which_.direction == Direction::kOutbound; }

  Case which_;
  crypto::SuiteSizes sizes_;
  IMB_MGR* mgr_;
  std::vector<Keys> keys_;
  std::vector<std::uint8_t> room_;
  std::array<Text, kTurn> texts_;
  gcm_context_data context_;
  std::array<std::array<std::uint8_t, kIcv>, kBurst> icvs_;
};

void RawPeer::expand(std::uint32_t sa) {
  const auto key = key_of(*which_.suite, sa);
  Keys& keys = keys_[sa];
  switch (which_.suite->algorithm) {
    case Algorithm::kGcm:
      return IMB_AES128_GCM_PRE(mgr_, key.data(), &keys.gcm);
    case Algorithm::kCbcHmacSha256:
      IMB_AES_KEYEXP_128(mgr_, key.data(), keys.encrypt, keys.decrypt);
      hmac_state(key, 0x36, keys.inner);
      return hmac_state(key, 0x5c, keys.outer);
    case Algorithm::kChaCha20Poly1305:
      std::memcpy(keys.chacha, key.data(), sizeof keys.chacha);
      return;
  }
}

void RawPeer::hmac_state(const std::vector<std::uint8_t>& key, std::uint8_t pad, std::uint8_t* state) {
  std::array<std::uint8_t, 64> block;
  block.fill(pad);
  for (std::size_t i = which_.suite->cipher_key; i < key.size(); ++i) block[i - which_.suite->cipher_key] ^= key[i];
  IMB_SHA256_ONE_BLOCK(mgr_, block.data(), state);
}

void RawPeer::load(const Turn& turn) {
  const std::size_t in = turn[0].bytes.size();
  const std::size_t size =
      outbound() ? kHeader + sizes_.iv + (in + 2 + sizes_.block - 1) / sizes_.block * sizes_.block + sizes_.icv
                 : in - kOuter;
  room_.resize(kTurn * size);
  for (std::size_t i = 0; i < kTurn; ++i) {
    std::uint8_t* at = room_.data() + i * size;
    if (outbound()) {
      std::memcpy(at + kHeader + sizes_.iv, turn[i].bytes.data(), in);
    } else {
      std::memcpy(at, turn[i].bytes.data() + kOuter, size);
    }
    texts_[i] = {.keys = &keys_[turn[i].sa], .esp = at, .size = size - kHeader - sizes_.iv - sizes_.icv};
  }
}

std::size_t RawPeer::run() {
  for (std::size_t burst = 0; burst < kTurn; burst += kBurst) {
    for (std::size_t i = 0; i < kBurst; ++i) {
      if (which_.suite->algorithm == Algorithm::kGcm) {
        gcm(texts_[burst + i]);
      } else {
        submit(texts_[burst + i], i);
      }
    }
    while (IMB_FLUSH_JOB(mgr_) != nullptr) continue;
  }
  return kTurn;
}

void RawPeer::gcm(const Text& text) {
  const std::array<std::uint8_t, 16> nonce{};
  const auto crypt = outbound() ? mgr_->gcm128_enc : mgr_->gcm128_dec;
  std::uint8_t* at = text.esp + kHeader + sizes_.iv;
  std::uint8_t* icv = outbound() ? at + text.size : icvs_[0].data();
  crypt(&text.keys->gcm, &context_, at, at, text.size, nonce.data(), text.esp, kHeader, icv, kIcv);
}

void RawPeer::submit(const Text& text, std::size_t index) {
  IMB_JOB* job = IMB_GET_NEXT_JOB(mgr_);
  job->auth_tag_output = icvs_[index].data();
  job->auth_tag_output_len_in_bytes = kIcv;
  describe(*job, text);
  const IMB_JOB* done = IMB_SUBMIT_JOB_NOCHECK(mgr_);
  CHECK(done == nullptr || done->status == IMB_STATUS_COMPLETED);
}

void RawPeer::describe(IMB_JOB& job, const Text& text) const {
  job.src = text.esp;
  job.dst = text.esp + kHeader + sizes_.iv;
  job.cipher_start_src_offset_in_bytes = kHeader + sizes_.iv;
  job.msg_len_to_cipher_in_bytes = text.size;
  job.iv = text.esp + kHeader;
  job.cipher_direction = outbound() ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
  job.chain_order = outbound() ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  if (which_.suite->algorithm == Algorithm::kCbcHmacSha256) return describe_cbc(job, text);
  describe_chacha(job, text);
}

void RawPeer::describe_cbc(IMB_JOB& job, const Text& text) const {
  job.cipher_mode = IMB_CIPHER_CBC;
  job.enc_keys = text.keys->encrypt;
  job.dec_keys = text.keys->decrypt;
  job.key_len_in_bytes = which_.suite->cipher_key;
  job.iv_len_in_bytes = 16;
  job.hash_alg = IMB_AUTH_HMAC_SHA_256;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = kHeader + sizes_.iv + text.size;
  job.u.HMAC._hashed_auth_key_xor_ipad = text.keys->inner;
  job.u.HMAC._hashed_auth_key_xor_opad = text.keys->outer;
}

void RawPeer::describe_chacha(IMB_JOB& job, const Text& text) const {
  job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
  job.enc_keys = job.dec_keys = text.keys->chacha;
  job.key_len_in_bytes = which_.suite->cipher_key;
  job.iv_len_in_bytes = 12;
  job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
  job.hash_start_src_offset_in_bytes = kHeader + sizes_.iv;
  job.msg_len_to_hash_in_bytes = text.size;
  job.u.CHACHA20_POLY1305.aad = text.esp;
  job.u.CHACHA20_POLY1305.aad_len_in_bytes = kHeader;
}

}  // namespace

std::unique_ptr<Contender> make_raw_peer(const Case& which) { return std::make_unique<RawPeer>(which); }

}  // namespace testudo::bench
