// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/ipsec_mb_engine.h"

#include <openssl/crypto.h>

#include <array>
#include <cstring>

#include "base/check.h"
#include "crypto/ipsec_mb/ipsec_mb_context.h"

namespace testudo::crypto {
namespace {

using Icv = std::array<std::uint8_t, kIcvSize>;

bool equal(const Icv& a, const std::uint8_t* b) { return CRYPTO_memcmp(a.data(), b, kIcvSize) == 0; }

const GcmContext& gcm(const CipherContext& context) { return static_cast<const GcmContext&>(context); }
const CbcHmacContext& cbc(const CipherContext& context) { return static_cast<const CbcHmacContext&>(context); }

// GCM goes packet by packet through the direct API; CBC and HMAC are chains of dependent blocks, so the whole burst
// is submitted as jobs, which the library interleaves, and then flushed.
class IpsecMbEngine final : public Engine {
 public:
  // The library's manager keeps pointers to keys and intermediate states: in locked memory.
  IpsecMbEngine()
      : Engine(Backend::kIpsecMb),
        memory_(imb_get_mb_mgr_size()),
        mgr_(imb_set_pointers_mb_mgr(memory_.data(), 0, 1)) {
    CHECK(mgr_ != nullptr);
    init_mb_mgr_auto(mgr_, nullptr);
  }

  void seal(std::span<const Frame> frames) override;
  std::uint64_t open(std::span<const Frame> frames) override;
  void peek(std::span<const PeekRequest> requests) override;

 protected:
  std::unique_ptr<CipherContext> expand(Suite suite, const Secret& key, Esn esn) override;

 private:
  struct Scratch {
    gcm_context_data gcm;
    std::array<Icv, kBurstMax> computed;  // by jobs
    std::array<Icv, kBurstMax> received;
    std::array<std::array<std::uint8_t, 16>, kBurstMax> counters;  // of peeks
    std::array<IMB_JOB, kBurstMax> jobs;                           // of peeks
  };

  void seal_gcm(const Frame& frame);
  bool open_gcm(const Frame& frame);
  void submit(const Frame& frame, IMB_CIPHER_DIRECTION direction, std::uint8_t* icv);
  void finish_jobs();
  void peek_suite(Suite suite, std::span<const PeekRequest> requests);
  void describe(IMB_JOB& job, const PeekRequest& request, std::array<std::uint8_t, 16>& counter);

  LockedBlock memory_;
  IMB_MGR* mgr_;
  Locked<Scratch> scratch_;
};

std::unique_ptr<CipherContext> IpsecMbEngine::expand(Suite suite, const Secret& key, Esn esn) {
  if (is_gcm(suite)) return std::make_unique<GcmContext>(*mgr_, suite, key, esn);
  return std::make_unique<CbcHmacContext>(*mgr_, suite, key, esn);
}

void IpsecMbEngine::seal_gcm(const Frame& frame) {
  const GcmKeys& keys = gcm(*frame.context).keys();
  const FrameParts parts(frame.data, frame.size, frame.context->suite());
  std::array<std::uint8_t, kAadMax> aad;
  const std::size_t aad_size = write_aad(aad, frame);
  std::array<std::uint8_t, 16> nonce;
  write_nonce(nonce.data(), keys.salt, parts.iv);
  const auto encrypt = aes_key_size(frame.context->suite()) == 16 ? mgr_->gcm128_enc : mgr_->gcm256_enc;
  encrypt(&keys.key, &scratch_->gcm, parts.text, parts.text, parts.text_size, nonce.data(), aad.data(), aad_size,
          parts.icv, kIcvSize);
}

bool IpsecMbEngine::open_gcm(const Frame& frame) {
  const GcmKeys& keys = gcm(*frame.context).keys();
  const FrameParts parts(frame.data, frame.size, frame.context->suite());
  std::array<std::uint8_t, kAadMax> aad;
  const std::size_t aad_size = write_aad(aad, frame);
  std::array<std::uint8_t, 16> nonce;
  write_nonce(nonce.data(), keys.salt, parts.iv);
  Icv computed;
  const auto decrypt = aes_key_size(frame.context->suite()) == 16 ? mgr_->gcm128_dec : mgr_->gcm256_dec;
  decrypt(&keys.key, &scratch_->gcm, parts.text, parts.text, parts.text_size, nonce.data(), aad.data(), aad_size,
          computed.data(), kIcvSize);
  return equal(computed, parts.icv);
}

// RFC 4868 and RFC 4303 section 3.3.2.1: the HMAC covers everything from the SPI to the text's end, then with ESN
// the number's high half, which is put where the ICV belongs for as long as the job runs.
void IpsecMbEngine::submit(const Frame& frame, IMB_CIPHER_DIRECTION direction, std::uint8_t* icv) {
  const CbcHmacKeys& keys = cbc(*frame.context).keys();
  const FrameParts parts(frame.data, frame.size, frame.context->suite());
  const std::size_t high_size = frame.context->esn() ? 4 : 0;
  if (high_size != 0) write_high(parts.icv, frame);
  IMB_JOB* job = IMB_GET_NEXT_JOB(mgr_);
  job->enc_keys = keys.encrypt;
  job->dec_keys = keys.decrypt;
  job->key_len_in_bytes = aes_key_size(frame.context->suite());
  job->src = frame.data;
  job->dst = parts.text;
  job->cipher_start_src_offset_in_bytes = static_cast<std::uint64_t>(parts.text - frame.data);
  job->msg_len_to_cipher_in_bytes = parts.text_size;
  job->hash_start_src_offset_in_bytes = 0;
  job->msg_len_to_hash_in_bytes = static_cast<std::uint64_t>(parts.icv - frame.data) + high_size;
  job->iv = parts.iv;
  job->iv_len_in_bytes = 16;
  job->auth_tag_output = icv;
  job->auth_tag_output_len_in_bytes = kIcvSize;
  job->u.HMAC._hashed_auth_key_xor_ipad = keys.inner;
  job->u.HMAC._hashed_auth_key_xor_opad = keys.outer;
  job->cipher_mode = IMB_CIPHER_CBC;
  job->cipher_direction = direction;
  job->hash_alg = IMB_AUTH_HMAC_SHA_256;
  job->chain_order = direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  const IMB_JOB* done = IMB_SUBMIT_JOB_NOCHECK(mgr_);
  CHECK(done == nullptr || done->status == IMB_STATUS_COMPLETED);
}

void IpsecMbEngine::finish_jobs() {
  while (const IMB_JOB* done = IMB_FLUSH_JOB(mgr_)) CHECK(done->status == IMB_STATUS_COMPLETED);
}

void IpsecMbEngine::seal(std::span<const Frame> frames) {
  CHECK(frames.size() <= kBurstMax);
  bool jobs = false;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const Frame& frame = frames[i];
    CHECK(frame.context->backend() == backend() && frame_fits(frame.context->suite(), frame.size));
    if (is_gcm(frame.context->suite())) {
      seal_gcm(frame);
    } else {
      submit(frame, IMB_DIR_ENCRYPT, scratch_->computed[i].data());
      jobs = true;
    }
  }
  if (!jobs) return;
  finish_jobs();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const Frame& frame = frames[i];
    if (is_gcm(frame.context->suite())) continue;
    std::memcpy(frame.data + frame.size - kIcvSize, scratch_->computed[i].data(), kIcvSize);
  }
}

std::uint64_t IpsecMbEngine::open(std::span<const Frame> frames) {
  CHECK(frames.size() <= kBurstMax);
  std::uint64_t authentic = 0;
  std::uint64_t jobs = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const Frame& frame = frames[i];
    CHECK(frame.context->backend() == backend() && frame_fits(frame.context->suite(), frame.size));
    if (is_gcm(frame.context->suite())) {
      authentic |= std::uint64_t{open_gcm(frame)} << i;
    } else {
      std::memcpy(scratch_->received[i].data(), frame.data + frame.size - kIcvSize, kIcvSize);
      submit(frame, IMB_DIR_DECRYPT, scratch_->computed[i].data());
      jobs |= std::uint64_t{1} << i;
    }
  }
  if (jobs == 0) return authentic;
  finish_jobs();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if ((jobs >> i & 1) == 0) continue;
    authentic |= std::uint64_t{equal(scratch_->computed[i], scratch_->received[i].data())} << i;
  }
  return authentic;
}

void IpsecMbEngine::describe(IMB_JOB& job, const PeekRequest& request, std::array<std::uint8_t, 16>& counter) {
  const std::uint8_t* iv = request.data + kEspHeader;
  job.src = iv + sizes(request.context->suite()).iv;
  job.dst = request.out;
  job.cipher_start_src_offset_in_bytes = 0;
  job.msg_len_to_cipher_in_bytes = request.size;
  job.iv_len_in_bytes = 16;
  job.key_len_in_bytes = aes_key_size(request.context->suite());
  if (is_gcm(request.context->suite())) {
    const GcmKeys& keys = gcm(*request.context).keys();
    write_first_counter(counter, keys.salt, iv);
    job.enc_keys = job.dec_keys = keys.key.expanded_keys;
    job.iv = counter.data();
  } else {
    const CbcHmacKeys& keys = cbc(*request.context).keys();
    job.enc_keys = keys.encrypt;
    job.dec_keys = keys.decrypt;
    job.iv = iv;
  }
}

// A cipher burst has one algorithm and key size: the requests of one suite.
void IpsecMbEngine::peek_suite(Suite suite, std::span<const PeekRequest> requests) {
  std::uint32_t n = 0;
  for (const PeekRequest& request : requests) {
    if (request.context->suite() != suite) continue;
    describe(scratch_->jobs[n], request, scratch_->counters[n]);
    ++n;
  }
  if (n == 0) return;
  const auto mode = is_gcm(suite) ? IMB_CIPHER_CNTR : IMB_CIPHER_CBC;
  const auto key_size = aes_key_size(suite) == 16 ? IMB_KEY_128_BYTES : IMB_KEY_256_BYTES;
  CHECK(IMB_SUBMIT_CIPHER_BURST_NOCHECK(mgr_, scratch_->jobs.data(), n, mode, IMB_DIR_DECRYPT, key_size) == n);
}

void IpsecMbEngine::peek(std::span<const PeekRequest> requests) {
  CHECK(requests.size() <= kBurstMax);
  for (const PeekRequest& request : requests) {
    CHECK(request.context->backend() == backend() && request.size <= kPeekMax && request.size > 0 &&
          request.size % sizes(request.context->suite()).block == 0);
  }
  for (std::size_t suite = 0; suite < kSuites.size(); ++suite) peek_suite(static_cast<Suite>(suite), requests);
}

}  // namespace

std::unique_ptr<Engine> make_ipsec_mb_engine() {
  constexpr std::uint64_t kNeeded = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
  return (imb_get_feature_flags() & kNeeded) == kNeeded ? std::make_unique<IpsecMbEngine>() : nullptr;
}

}  // namespace testudo::crypto
