// SPDX-License-Identifier: Apache-2.0
#include "crypto/ipsec_mb/ipsec_mb_engine.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "crypto/frame_parts.h"
#include "crypto/ipsec_mb/ccm192.h"
#include "crypto/ipsec_mb/gcm.h"
#include "crypto/ipsec_mb/jobs.h"
#include "crypto/ipsec_mb/peeks.h"

namespace testudo::crypto {
namespace {

// The library's manager keeps pointers to keys and intermediate states: in locked memory.
struct Manager {
  explicit Manager(void (*init)(IMB_MGR*))
      : memory(imb_get_mb_mgr_size()), mgr(imb_set_pointers_mb_mgr(memory.data(), 0, 1)) {
    CHECK(mgr != nullptr);
    init(mgr);
  }
  LockedBlock memory;
  IMB_MGR* mgr;
};

void init_best(IMB_MGR* mgr) { init_mb_mgr_auto(mgr, nullptr); }

// The library takes the widest vectors that the CPU has. Without AVX-512 its eight lanes of SHA-256 are slower than
// the CPU's own SHA instructions, which only its SSE flavour uses: CBC with HMAC-SHA256 takes 1.6 times as long
// (Zen 3). And so is ChaCha20 in eight blocks, where a packet needs no more than four.
bool prefers_sse(const IMB_MGR& best) {
  return best.used_arch < IMB_ARCH_AVX512 && (best.features & IMB_FEATURE_SHANI) != 0;
}

bool is_ccm192(const CipherContext& context) {
  return context.mode() == Mode::kCcm && context.cipher_key_size() == 24;
}

/// Bit i: frame i is not done yet.
struct Later {
  std::uint64_t jobs = 0, ccm192 = 0;
};

template <typename F>
void for_each_bit(std::uint64_t bits, F f) {
  for (; bits != 0; bits &= bits - 1) f(static_cast<std::size_t>(std::countr_zero(bits)));
}

class IpsecMbEngine final : public Engine {
 public:
  IpsecMbEngine()
      : Engine(Backend::kIpsecMb),
        manager_(init_best),
        sse_manager_(prefers_sse(*manager_.mgr) ? std::make_unique<Manager>(init_mb_mgr_sse) : nullptr),
        gcm_(*manager_.mgr),
        jobs_(*manager_.mgr, sse_manager_ ? *sse_manager_->mgr : *manager_.mgr, scratch_->jobs),
        ccm192_(*manager_.mgr, scratch_->ccm),
        peeks_(*manager_.mgr, scratch_->peeks) {}

  void seal(std::span<const Frame> frames) override;
  std::uint64_t open(std::span<const Frame> frames) override;
  void peek(std::span<const PeekRequest> requests) override;
  void sign(std::span<const AuthFrame> frames) override;
  std::uint64_t verify(std::span<const AuthFrame> frames) override;

 protected:
  void expand_keys(std::span<const std::uint8_t> cipher, std::span<const std::uint8_t> integrity,
                   CipherContext& context) override {
    expand_mb_keys(*manager_.mgr, cipher, integrity, scratch_->padded_key, context);
  }
  void expand_peek_keys(std::span<const std::uint8_t> cipher, CipherContext& context) override {
    expand_mb_peek_keys(*manager_.mgr, cipher, context);
  }
  std::uint32_t hot_lines(Mode mode) const override { return mb_hot_lines(*manager_.mgr, mode); }

 private:
  struct Scratch {
    JobScratch jobs;
    PeekScratch peeks;
    CcmScratch ccm;
    gcm_context_data gcm;
    std::array<std::uint8_t, 128> padded_key;
    std::array<std::array<std::uint8_t, 4>, kBurstMax> behind;  // AuthFrames with ESN
  };

  void check(const Frame& frame) const {
    CHECK(frame.context->backend() == Backend::kIpsecMb && frame.context->mode() != Mode::kNone && fits(frame));
  }
  std::uint8_t* computed(std::size_t i) { return scratch_->jobs.items[i].computed; }
  bool matches(const std::uint8_t* received, std::size_t i, const CipherContext& context) {
    return equal_icv(computed(i), received, context.icv_size());
  }
  // CCM with 192 bits uses the library's AES-192 while no job of the burst does.
  void submit(const Frame& frame, std::size_t i, IMB_CIPHER_DIRECTION direction, Later& later) {
    const bool ccm192 = is_ccm192(*frame.context);
    (ccm192 ? later.ccm192 : later.jobs) |= std::uint64_t{1} << i;
    if (!ccm192) jobs_.submit(frame, i, direction);
  }
  void authenticate(std::span<const AuthFrame> frames);

  Manager manager_;
  std::unique_ptr<Manager> sse_manager_;  // null: the other one is as good
  Locked<Scratch> scratch_;
  Gcm gcm_;
  Jobs jobs_;
  Ccm192 ccm192_;
  Peeks peeks_;
};

void IpsecMbEngine::seal(std::span<const Frame> frames) {
  CHECK(frames.size() <= kBurstMax);
  Later later;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const Frame& frame = frames[i];
    check(frame);
    CHECK(fits_in_pieces(frame));
    if (frame.context->mode() == Mode::kGcm) {
      gcm_.seal(frame, scratch_->gcm);
      continue;
    }
    if (frame.context->mode() == Mode::kChacha) {
      jobs_.seal_chacha(frame, i);
      continue;
    }
    gather(frame);
    if (frame.context->mode() == Mode::kGmac) {
      gcm_.authenticate(frame, scratch_->gcm, FrameParts(frame).icv);
    } else {
      submit(frame, i, IMB_DIR_ENCRYPT, later);
    }
  }
  if (later.jobs != 0) jobs_.finish();
  for_each_bit(later.jobs, [&](std::size_t i) {
    std::memcpy(FrameParts(frames[i]).icv, computed(i), frames[i].context->icv_size());
  });
  for_each_bit(later.ccm192, [&](std::size_t i) { ccm192_.seal(frames[i]); });
}

std::uint64_t IpsecMbEngine::open(std::span<const Frame> frames) {
  CHECK(frames.size() <= kBurstMax);
  std::uint64_t authentic = 0;
  Later later;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const Frame& frame = frames[i];
    check(frame);
    if (frame.context->mode() == Mode::kGcm) {
      authentic |= std::uint64_t{gcm_.open(frame, scratch_->gcm)} << i;
    } else if (frame.context->mode() == Mode::kGmac) {
      gcm_.authenticate(frame, scratch_->gcm, computed(i));
      authentic |= std::uint64_t{matches(FrameParts(frame).icv, i, *frame.context)} << i;
    } else if (frame.context->mode() == Mode::kChacha) {
      authentic |= std::uint64_t{jobs_.open_chacha(frame, i)} << i;
    } else {
      submit(frame, i, IMB_DIR_DECRYPT, later);
    }
  }
  if (later.jobs != 0) jobs_.finish();
  for_each_bit(later.jobs, [&](std::size_t i) {
    authentic |= std::uint64_t{matches(scratch_->jobs.items[i].received, i, *frames[i].context)} << i;
  });
  for_each_bit(later.ccm192, [&](std::size_t i) { authentic |= std::uint64_t{ccm192_.open(frames[i])} << i; });
  return authentic;
}

void IpsecMbEngine::peek(std::span<const PeekRequest> requests) {
  CHECK(requests.size() <= kBurstMax);
  for (const PeekRequest& request : requests) {
    CHECK(request.context->backend() == Backend::kIpsecMb && request.context->mode() != Mode::kNone &&
          request.size <= kPeekMax && request.size > 0 && (request.size & (request.context->block() - 1)) == 0 &&
          request.skip % kPeekStep == 0);
  }
  peeks_.run(requests);
}

// RFC 4302 section 3.3.3.2.1: with ESN the high half comes behind all else, in memory that is lent for it.
void IpsecMbEngine::authenticate(std::span<const AuthFrame> frames) {
  CHECK(frames.size() <= kBurstMax);
  bool jobs = false;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const AuthFrame& frame = frames[i];
    CHECK(frame.context->backend() == Backend::kIpsecMb && frame.context->mode() == Mode::kNone && frame.size > 0);
    if (frame.context->esn()) {
      std::memcpy(scratch_->behind[i].data(), frame.data + frame.size, 4);
      write_be32(frame.data + frame.size, frame.sequence_high);
    }
    if (frame.context->iv_size() != 0) {
      gcm_.authenticate(frame, scratch_->gcm, computed(i));
    } else {
      jobs_.submit(frame, i);
      jobs = true;
    }
  }
  if (jobs) jobs_.finish();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (!frames[i].context->esn()) continue;
    std::memcpy(frames[i].data + frames[i].size, scratch_->behind[i].data(), 4);
  }
}

void IpsecMbEngine::sign(std::span<const AuthFrame> frames) {
  authenticate(frames);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    std::memcpy(frames[i].icv, computed(i), frames[i].context->icv_size());
  }
}

std::uint64_t IpsecMbEngine::verify(std::span<const AuthFrame> frames) {
  authenticate(frames);
  std::uint64_t good = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    good |= std::uint64_t{matches(frames[i].icv, i, *frames[i].context)} << i;
  }
  return good;
}

}  // namespace

std::unique_ptr<Engine> make_ipsec_mb_engine() {
  constexpr std::uint64_t kNeeded = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
  return (imb_get_feature_flags() & kNeeded) == kNeeded ? std::make_unique<IpsecMbEngine>() : nullptr;
}

}  // namespace testudo::crypto
