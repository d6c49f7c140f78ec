// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/jobs.h"

#include <cstring>

#include "base/check.h"
#include "crypto/ipsec_mb/one_piece.h"

namespace testudo::crypto {
namespace {

/// Texts of ChaCha20-Poly1305 that four blocks of keystream are enough for, Poly1305's key among them: eight at
/// once, as wider vectors compute them, take longer.
constexpr std::size_t kShortChacha = 192;  // bytes

IMB_HASH_ALG hash_of(Integrity integrity) {
  switch (integrity) {
    case Integrity::kHmacSha1:
      return IMB_AUTH_HMAC_SHA_1;
    case Integrity::kHmacSha256:
      return IMB_AUTH_HMAC_SHA_256;
    case Integrity::kHmacSha384:
      return IMB_AUTH_HMAC_SHA_384;
    case Integrity::kHmacSha512:
      return IMB_AUTH_HMAC_SHA_512;
    case Integrity::kAesXcbc:
      return IMB_AUTH_AES_XCBC;
    default:
      return IMB_AUTH_AES_CMAC;
  }
}

void describe_mac(IMB_JOB& job, Integrity integrity, const JobKeys& keys) {
  job.hash_alg = hash_of(integrity);
  if (integrity == Integrity::kAesXcbc) {
    job.u.XCBC._k1_expanded = reinterpret_cast<const std::uint32_t*>(keys.mac);
    job.u.XCBC._k2 = keys.mac_second;
    job.u.XCBC._k3 = keys.mac_third;
  } else if (integrity == Integrity::kAesCmac) {
    job.u.CMAC._key_expanded = keys.mac;
    job.u.CMAC._skey1 = keys.mac_second;
    job.u.CMAC._skey2 = keys.mac_third;
  } else {
    job.u.HMAC._hashed_auth_key_xor_ipad = keys.mac;
    job.u.HMAC._hashed_auth_key_xor_opad = keys.mac_second;
  }
}

// The text alone, of an AEAD.
void describe_text(IMB_JOB& job, const FrameParts& parts) {
  job.src = parts.text;
  job.dst = parts.text;
  job.cipher_start_src_offset_in_bytes = 0;
  job.msg_len_to_cipher_in_bytes = parts.text_size;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = parts.text_size;
}

void run(IMB_MGR& mgr) {
  const IMB_JOB* done = IMB_SUBMIT_JOB_NOCHECK(&mgr);
  CHECK(done == nullptr || done->status == IMB_STATUS_COMPLETED);
}

void flush(IMB_MGR& mgr) {
  while (const IMB_JOB* done = IMB_FLUSH_JOB(&mgr)) CHECK(done->status == IMB_STATUS_COMPLETED);
}

// ChaCha20-Poly1305 has no lanes that wait for others: its jobs are done at once.
void run_now(IMB_MGR& mgr, const IMB_JOB& job) {
  run(mgr);
  if (job.status != IMB_STATUS_COMPLETED) flush(mgr);
}

}  // namespace

// RFC 4303 section 3.3.2.1: the MAC covers everything from the SPI to the text's end, then with ESN the number's
// high half, which is put where the ICV belongs for as long as the job runs.
void Jobs::describe_cipher(IMB_JOB& job, const Frame& frame, const FrameParts& parts, JobScratch::Item& item) {
  const CipherContext& context = *frame.context;
  const JobKeys& keys = job_keys(context);
  const std::size_t high_size = context.esn() ? 4 : 0;
  if (high_size != 0) write_be32(parts.icv, frame.sequence_high);
  job.src = frame.data;
  job.dst = parts.text;
  job.cipher_start_src_offset_in_bytes = static_cast<std::uint64_t>(parts.text - frame.data);
  job.msg_len_to_cipher_in_bytes = parts.text_size;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = static_cast<std::uint64_t>(parts.icv - frame.data) + high_size;
  job.iv = parts.iv;
  job.iv_len_in_bytes = kBlockSize;
  job.cipher_mode = IMB_CIPHER_CBC;
  if (context.mode() == Mode::kCtr) {
    write_counter(item.counter, context, parts.iv);
    job.iv = item.counter;
    job.cipher_mode = IMB_CIPHER_CNTR;
  } else if (context.mode() == Mode::kNull) {
    job.cipher_mode = IMB_CIPHER_NULL;
  }
  job.chain_order = job.cipher_direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  describe_mac(job, context.suite().integrity, keys);
}

// RFC 3610: the MAC covers the plain text, so its place in the chain is the other one.
void Jobs::describe_ccm(IMB_JOB& job, const Frame& frame, const FrameParts& parts, JobScratch::Item& item) {
  describe_text(job, parts);
  write_ccm_nonce(item.counter, frame.context->salt(), parts.iv);
  job.iv = item.counter;
  job.iv_len_in_bytes = kNonceSize - 1;
  job.cipher_mode = IMB_CIPHER_CCM;
  job.hash_alg = IMB_AUTH_AES_CCM;
  job.chain_order = job.cipher_direction == IMB_DIR_ENCRYPT ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
  job.u.CCM.aad = item.aad;
  job.u.CCM.aad_len_in_bytes = write_aad(item.aad, frame);
}

void Jobs::describe_chacha(IMB_JOB& job, const Frame& frame, const FrameParts& parts, JobScratch::Item& item) {
  describe_text(job, parts);
  write_nonce(item.counter, frame.context->salt(), parts.iv);
  job.iv = item.counter;
  job.iv_len_in_bytes = kNonceSize;
  job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
  job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
  job.chain_order = job.cipher_direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  job.u.CHACHA20_POLY1305.aad = item.aad;
  job.u.CHACHA20_POLY1305.aad_len_in_bytes = write_aad(item.aad, frame);
}

void Jobs::seal_chacha(const Frame& frame, std::size_t i) {
  if (OnePiece::possible(frame)) return seal_chacha(frame, i, OnePiece(frame).text());
  gather(frame);
  seal_chacha(frame, i, FrameParts(frame).text);
}

void Jobs::seal_chacha(const Frame& frame, std::size_t i, const std::uint8_t* from) {
  IMB_MGR& mgr = manager_of(frame);
  IMB_JOB& job = *IMB_GET_NEXT_JOB(&mgr);
  describe(job, frame, i, IMB_DIR_ENCRYPT);
  job.src = from;
  job.auth_tag_output = FrameParts(frame).icv;
  run_now(mgr, job);  // `from` may be lent: nothing is left for later
}

bool Jobs::open_chacha(const Frame& frame, std::size_t i) {
  IMB_MGR& mgr = manager_of(frame);
  IMB_JOB& job = *IMB_GET_NEXT_JOB(&mgr);
  describe(job, frame, i, IMB_DIR_DECRYPT);
  run_now(mgr, job);
  return equal_icv(scratch_.items[i].computed, FrameParts(frame).icv, frame.context->icv_size());
}

void Jobs::submit(const Frame& frame, std::size_t i, IMB_CIPHER_DIRECTION direction) {
  if (direction == IMB_DIR_DECRYPT) {
    std::memcpy(scratch_.items[i].received, FrameParts(frame).icv, frame.context->icv_size());
  }
  IMB_MGR& mgr = manager_of(frame);
  describe(*IMB_GET_NEXT_JOB(&mgr), frame, i, direction);
  run(mgr);
}

void Jobs::describe(IMB_JOB& job, const Frame& frame, std::size_t i, IMB_CIPHER_DIRECTION direction) {
  const CipherContext& context = *frame.context;
  const JobKeys& keys = job_keys(context);
  const FrameParts parts(frame);
  JobScratch::Item& item = scratch_.items[i];
  job.enc_keys = keys.encrypt;
  job.dec_keys = keys.decrypt;
  job.key_len_in_bytes = context.cipher_key_size();
  job.cipher_direction = direction;
  job.auth_tag_output = item.computed;
  job.auth_tag_output_len_in_bytes = context.icv_size();
  if (context.mode() == Mode::kCcm) {
    describe_ccm(job, frame, parts, item);
  } else if (context.mode() == Mode::kChacha) {
    describe_chacha(job, frame, parts, item);
  } else {
    describe_cipher(job, frame, parts, item);
  }
}

void Jobs::submit(const AuthFrame& frame, std::size_t i) {
  const CipherContext& context = *frame.context;
  IMB_MGR& mgr = manager_of(context.suite().integrity);
  IMB_JOB& job = *IMB_GET_NEXT_JOB(&mgr);
  job.src = frame.data;
  job.dst = frame.data;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = frame.size + (context.esn() ? 4 : 0);
  job.msg_len_to_cipher_in_bytes = 0;
  job.cipher_start_src_offset_in_bytes = 0;
  job.cipher_mode = IMB_CIPHER_NULL;
  job.cipher_direction = IMB_DIR_ENCRYPT;
  job.chain_order = IMB_ORDER_HASH_CIPHER;
  job.auth_tag_output = scratch_.items[i].computed;
  job.auth_tag_output_len_in_bytes = context.icv_size();
  describe_mac(job, context.suite().integrity, job_keys(context));
  run(mgr);
}

IMB_MGR& Jobs::manager_of(Integrity integrity) const {
  return integrity == Integrity::kHmacSha1 || integrity == Integrity::kHmacSha256 ? sse_ : mgr_;
}

IMB_MGR& Jobs::manager_of(const Frame& frame) const {
  const CipherContext& context = *frame.context;
  if (context.mode() != Mode::kChacha) return manager_of(context.suite().integrity);
  return FrameParts(frame).text_size <= kShortChacha ? sse_ : mgr_;
}

void Jobs::finish() {
  flush(mgr_);
  if (&sse_ != &mgr_) flush(sse_);
}

}  // namespace testudo::crypto
