// SPDX-License-Identifier: Apache-2.0
// All suites but GCM and GMAC, as jobs: chains of dependent blocks, which ipsec-mb interleaves over a burst.
#pragma once

#include <array>
#include <cstdint>

#include "crypto/engine.h"
#include "crypto/frame_parts.h"
#include "crypto/ipsec_mb/keys.h"

namespace testudo::crypto {

/// What a job reads while it runs, and where its ICV goes, per frame of a burst. In locked memory.
struct JobScratch {
  struct Item {
    alignas(16) std::uint8_t counter[kBlockSize];  // or nonce
    alignas(16) std::uint8_t aad[kBlockSize];
    alignas(16) std::uint8_t computed[64];  // ipsec-mb may write a whole digest
    std::uint8_t received[kIcvMax];
  };
  std::array<Item, kBurstMax> items;
};

class Jobs {
 public:
  /// `sse`: the library's SSE flavour, where that is the faster one; may be the same as `mgr`.
  Jobs(IMB_MGR& mgr, IMB_MGR& sse, JobScratch& scratch) : mgr_(mgr), sse_(sse), scratch_(scratch) {}

  /// The i-th frame of the burst. Its computed ICV is in the scratch after finish().
  void submit(const Frame& frame, std::size_t i, IMB_CIPHER_DIRECTION direction);
  /// A text of ChaCha20-Poly1305, which may be in pieces: done when it returns, ICV and all.
  void seal_chacha(const Frame& frame, std::size_t i);
  /// Whether its ICV is right: then the text is plain when it returns.
  [[nodiscard]] bool open_chacha(const Frame& frame, std::size_t i);
  /// With ESN the high half is behind the data already.
  void submit(const AuthFrame& frame, std::size_t i);
  void finish();

 private:
  void seal_chacha(const Frame& frame, std::size_t i, const std::uint8_t* from);
  void describe(IMB_JOB& job, const Frame& frame, std::size_t i, IMB_CIPHER_DIRECTION direction);
  void describe_cipher(IMB_JOB& job, const Frame& frame, const FrameParts& parts, JobScratch::Item& item);
  void describe_ccm(IMB_JOB& job, const Frame& frame, const FrameParts& parts, JobScratch::Item& item);
  void describe_chacha(IMB_JOB& job, const Frame& frame, const FrameParts& parts, JobScratch::Item& item);
  [[nodiscard]] IMB_MGR& manager_of(Integrity integrity) const;
  [[nodiscard]] IMB_MGR& manager_of(const Frame& frame) const;

  IMB_MGR& mgr_;
  IMB_MGR& sse_;
  JobScratch& scratch_;
};

}  // namespace testudo::crypto
