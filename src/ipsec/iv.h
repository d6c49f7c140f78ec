// SPDX-License-Identifier: Apache-2.0
// Initialization vectors of outbound SAs.
//
// AES-GCM: never the same IV twice under one key, on whatever host, after whatever restart (spec E5): 24 bits of
// incarnation, unique per worker and start, then a 40-bit counter per SA (RFC 6054 section 3 splits it so among
// senders). The counter outlives the Sa object: an SA that is removed and installed again goes on where it was.
// AES-CBC: nobody can predict it (RFC 3602 section 3): the keystream of AES under a random secret of this SA.
//
// Threads: IvSpace on the control thread; an IvCounter and a CbcIvs on the worker that owns the SA.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <span>

#include "base/strong.h"
#include "crypto/random_stream.h"

namespace testudo::ipsec {

inline constexpr unsigned kIncarnationBits = 24;
inline constexpr unsigned kIvCounterBits = 40;

class IvCounter {
 public:
  explicit IvCounter(std::uint32_t incarnation, std::uint64_t first = 0);
  /// Writes the next IV. False, and nothing written, for ever after 2^40 of them.
  [[nodiscard]] bool next(std::span<std::uint8_t, 8> out);

 private:
  std::uint64_t prefix_;   // the incarnation, in its place
  std::uint64_t counter_;  // the next one
};

/// Hands out the counters of one worker's SAs, the same one each time for the same SA.
class IvSpace {
 public:
  /// CHECKs that the incarnation fits in kIncarnationBits: a number that came around must not be used.
  explicit IvSpace(std::uint32_t incarnation);
  [[nodiscard]] std::shared_ptr<IvCounter> counter_of(SaId sa);
  /// Only when the SA's owner has deleted it for good, so that its key will never come again.
  void forget(SaId sa) { counters_.erase(sa); }

 private:
  std::uint32_t incarnation_;
  absl::flat_hash_map<SaId, std::shared_ptr<IvCounter>> counters_;
};

}  // namespace testudo::ipsec
