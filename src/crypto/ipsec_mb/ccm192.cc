// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/ccm192.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "crypto/frame_parts.h"

namespace testudo::crypto {

void Ccm192::run(IMB_CIPHER_MODE mode, const JobKeys& keys, const std::uint8_t* iv, const std::uint8_t* in,
                 std::uint8_t* out, std::size_t size) {
  IMB_JOB& job = scratch_.job;
  job.enc_keys = keys.encrypt;
  job.dec_keys = keys.decrypt;
  job.key_len_in_bytes = IMB_KEY_192_BYTES;
  job.src = in;
  job.dst = out;
  job.cipher_start_src_offset_in_bytes = 0;
  job.msg_len_to_cipher_in_bytes = size;
  job.iv = iv;
  job.iv_len_in_bytes = kBlockSize;
  CHECK(IMB_SUBMIT_CIPHER_BURST_NOCHECK(&mgr_, &job, 1, mode, IMB_DIR_ENCRYPT, IMB_KEY_192_BYTES) == 1);
}

// CBC-MAC over whole blocks, from the MAC so far.
void Ccm192::chain(const JobKeys& keys, std::span<const std::uint8_t> blocks) {
  run(IMB_CIPHER_CBC, keys, scratch_.mac.data(), blocks.data(), scratch_.out.data(), blocks.size());
  std::memcpy(scratch_.mac.data(), scratch_.out.data() + blocks.size() - kBlockSize, kBlockSize);
}

// RFC 3610 section 2.2, over plain text.
void Ccm192::authenticate(const Frame& frame) {
  const CipherContext& context = *frame.context;
  const FrameParts parts(frame);
  scratch_.mac.fill(0);
  // B_0: flags (additional data; size of the ICV; 4 bytes of length), nonce, length. Then the additional data with
  // its size, in one block.
  std::uint8_t* b = scratch_.in.data();
  std::memset(b, 0, 2 * kBlockSize);
  b[0] = static_cast<std::uint8_t>(0x40 | (context.icv_size() - 2) / 2 << 3 | 3);
  write_ccm_nonce(b + 1, context.salt(), parts.iv);
  write_be32(b + 12, static_cast<std::uint32_t>(parts.text_size));
  b[17] = static_cast<std::uint8_t>(write_aad(b + 18, frame));
  chain(job_keys(context), std::span(scratch_.in).first(2 * kBlockSize));
  for (std::size_t at = 0; at < parts.text_size; at += scratch_.in.size()) {
    const std::size_t n = std::min(parts.text_size - at, scratch_.in.size());
    const std::size_t padded = (n + kBlockSize - 1) / kBlockSize * kBlockSize;
    std::memcpy(b, parts.text + at, n);
    std::memset(b + n, 0, padded - n);
    chain(job_keys(context), std::span(scratch_.in).first(padded));
  }
}

void Ccm192::encrypt_text(const Frame& frame) {
  const FrameParts parts(frame);
  write_counter(scratch_.counter.data(), *frame.context, parts.iv);
  run(IMB_CIPHER_CNTR, job_keys(*frame.context), scratch_.counter.data(), parts.text, parts.text, parts.text_size);
}

// Section 2.3: with counter 0.
void Ccm192::encrypt_mac(const Frame& frame) {
  const FrameParts parts(frame);
  write_counter(scratch_.counter.data(), *frame.context, parts.iv);
  write_be32(scratch_.counter.data() + 12, 0);
  run(IMB_CIPHER_CNTR, job_keys(*frame.context), scratch_.counter.data(), scratch_.mac.data(), scratch_.mac.data(),
      kBlockSize);
}

void Ccm192::seal(const Frame& frame) {
  authenticate(frame);
  encrypt_mac(frame);
  encrypt_text(frame);
  std::memcpy(FrameParts(frame).icv, scratch_.mac.data(), frame.context->icv_size());
}

bool Ccm192::open(const Frame& frame) {
  encrypt_text(frame);
  authenticate(frame);
  encrypt_mac(frame);
  return equal_icv(scratch_.mac.data(), FrameParts(frame).icv, frame.context->icv_size());
}

}  // namespace testudo::crypto
