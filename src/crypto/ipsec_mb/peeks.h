// SPDX-License-Identifier: Apache-2.0
// Decrypts parts of packets in bursts: one for each algorithm and key size.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "crypto/engine.h"
#include "crypto/frame_parts.h"
#include "crypto/ipsec_mb/keys.h"

namespace testudo::crypto {

/// In locked memory.
struct PeekScratch {
  std::array<IMB_JOB, kBurstMax> jobs;
  alignas(16) std::array<std::array<std::uint8_t, kBlockSize>, kBurstMax> counters;
};

class Peeks {
 public:
  Peeks(IMB_MGR& mgr, PeekScratch& scratch) : mgr_(mgr), scratch_(scratch) {}
  void run(std::span<const PeekRequest> requests);

 private:
  void run_burst(std::span<const PeekRequest> requests, std::uint64_t members, IMB_CIPHER_MODE mode,
                 IMB_KEY_SIZE_BYTES key_size);
  void run_chacha(const PeekRequest& request);
  void run_chacha_later(const PeekRequest& request);

  IMB_MGR& mgr_;
  PeekScratch& scratch_;
};

}  // namespace testudo::crypto
