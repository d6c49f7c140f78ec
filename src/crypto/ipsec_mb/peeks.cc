// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/peeks.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "crypto/ipsec_mb/chacha20_block.h"

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
    write_counter(counter, context, iv_of(request), request.skip);
  } else {
    job.iv = request.skip == 0 ? iv_of(request) : text_of(request) - kBlockSize;  // CBC chains
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

void Peeks::run_chacha(const PeekRequest& request) {
  IMB_JOB& job = *IMB_GET_NEXT_JOB(&mgr_);
  write_nonce(scratch_.counters[0].data(), request.context->salt(), iv_of(request));
  job.src = text_of(request);
  job.dst = request.out;
  job.cipher_start_src_offset_in_bytes = 0;
  job.msg_len_to_cipher_in_bytes = request.size;
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
}

// The library's ChaCha20 always begins with counter 1.
void Peeks::run_chacha_later(const PeekRequest& request) {
  std::array<std::uint8_t, kNonceSize> nonce;
  write_nonce(nonce.data(), request.context->salt(), iv_of(request));
  std::array<std::uint8_t, kChachaBlock> stream;
  for (std::uint32_t at = 0; at < request.size; at += kChachaBlock) {
    const std::uint32_t counter = 1 + (request.skip + at) / kChachaBlock;
    chacha20_block(job_keys(*request.context).encrypt, counter, nonce.data(), stream.data());
    const std::uint32_t end = std::min<std::uint32_t>(request.size, at + kChachaBlock);
    for (std::uint32_t i = at; i < end; ++i) request.out[i] = text_of(request)[i] ^ stream[i - at];
  }
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
      request.skip == 0 ? run_chacha(request) : run_chacha_later(request);
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
