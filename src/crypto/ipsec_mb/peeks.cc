// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/peeks.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace testudo::crypto {
namespace {

bool counts(Mode mode) { return mode == Mode::kCtr || mode == Mode::kGcm || mode == Mode::kCcm; }

const std::uint8_t* iv_of(const PeekRequest& request) { return request.data + kEspHeader; }
const std::uint8_t* text_of(const PeekRequest& request) {
  return iv_of(request) + request.context->iv_size() + request.skip;
}

void describe(IMB_JOB& job, const PeekRequest& request, std::uint8_t* counter) {
  const CipherContext& context = *request.context;
  job.src = text_of(request);
  job.dst = request.out;
  job.cipher_start_src_offset_in_bytes = 0;
  job.msg_len_to_cipher_in_bytes = request.size;
  job.iv_len_in_bytes = kBlockSize;
  job.key_len_in_bytes = context.cipher_key_size();
  job.iv = counter;
  if (context.mode() == Mode::kGcm) {
    job.enc_keys = job.dec_keys = gcm_keys(context).expanded_keys;
  } else {
    job.enc_keys = job_keys(context).encrypt;
    job.dec_keys = job_keys(context).decrypt;
  }
  if (counts(context.mode())) {
    write_first_counter(counter, context, iv_of(request), request.skip / kBlockSize);
  } else {
    job.iv = text_of(request) - kBlockSize;  // the IV, or the block before
  }
}

}  // namespace

void Peeks::run_burst(std::span<const PeekRequest> requests, std::uint64_t members, IMB_CIPHER_MODE mode,
                      IMB_KEY_SIZE_BYTES key_size) {
  std::uint32_t n = 0;
  for (; members != 0; members &= members - 1, ++n) {
    const PeekRequest& request = requests[static_cast<std::size_t>(std::countr_zero(members))];
    describe(scratch_.jobs[n], request, scratch_.counters[n].data());
  }
  if (n == 0) return;
  CHECK(IMB_SUBMIT_CIPHER_BURST_NOCHECK(&mgr_, scratch_.jobs.data(), n, mode, IMB_DIR_DECRYPT, key_size) == n);
}

/// The library's counter always begins with 1: what is before the part that is wanted is decrypted with it.
void Peeks::run_chacha(const PeekRequest& request) {
  if (request.skip + request.size > scratch_.text.size()) {
    std::memset(request.out, 0, request.size);  // larger than any packet that is worth a peek
    return;
  }
  IMB_JOB& job = *IMB_GET_NEXT_JOB(&mgr_);
  write_nonce(scratch_.counters[0].data(), request.context->salt(), iv_of(request));
  job.src = text_of(request) - request.skip;
  job.dst = request.skip == 0 ? request.out : scratch_.text.data();
  job.cipher_start_src_offset_in_bytes = 0;
  job.msg_len_to_cipher_in_bytes = request.skip + request.size;
  job.msg_len_to_hash_in_bytes = 0;
  job.enc_keys = job.dec_keys = job_keys(*request.context).encrypt;
  job.key_len_in_bytes = 32;
  job.iv = scratch_.counters[0].data();
  job.iv_len_in_bytes = kNonceSize;  // the counter begins with 1
  job.cipher_mode = IMB_CIPHER_CHACHA20;
  job.hash_alg = IMB_AUTH_NULL;
  job.cipher_direction = IMB_DIR_DECRYPT;
  job.chain_order = IMB_ORDER_HASH_CIPHER;
  const IMB_JOB* done = IMB_SUBMIT_JOB_NOCHECK(&mgr_);
  CHECK(done == &job && done->status == IMB_STATUS_COMPLETED);
  if (request.skip != 0) std::memcpy(request.out, scratch_.text.data() + request.skip, request.size);
}

void Peeks::run(std::span<const PeekRequest> requests) {
  std::array<std::uint64_t, 3> counting{};  // by key size
  std::array<std::uint64_t, 3> chaining{};
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const PeekRequest& request = requests[i];
    const Mode mode = request.context->mode();
    if (counts(mode)) {
      counting[key_index(*request.context)] |= std::uint64_t{1} << i;
    } else if (mode == Mode::kCbc) {
      chaining[key_index(*request.context)] |= std::uint64_t{1} << i;
    } else if (mode == Mode::kChacha) {
      run_chacha(request);
    } else {
      std::memcpy(request.out, text_of(request), request.size);
    }
  }
  constexpr std::array kKeySizes = {IMB_KEY_128_BYTES, IMB_KEY_192_BYTES, IMB_KEY_256_BYTES};
  for (std::size_t k = 0; k < kKeySizes.size(); ++k) {
    run_burst(requests, counting[k], IMB_CIPHER_CNTR, kKeySizes[k]);
    run_burst(requests, chaining[k], IMB_CIPHER_CBC, kKeySizes[k]);
  }
}

}  // namespace testudo::crypto
