// SPDX-License-Identifier: Apache-2.0
// Initialization vectors of outbound SAs.
//
// AES-GCM: never the same IV twice under one key, on whatever host, after whatever restart (spec E5): 24 bits of
// incarnation, unique per worker and start, then a 40-bit counter per SA (RFC 6054 section 3 splits it so among
// senders). The counter outlives the Sa object: an SA that is removed and installed again goes on where it was.
// AES-CBC: nobody can predict it (RFC 3602 section 3): the keystream of AES under a random secret of this SA
// (crypto/random_stream.h).
//
// Threads: IvSpace on the control thread; an IvCounter on the worker that owns the SA.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/strong.h"

namespace testudo::ipsec {

inline constexpr unsigned kIncarnationBits = 24;
inline constexpr unsigned kIvCounterBits = 40;

class IvCounter {
 public:
  explicit IvCounter(std::uint32_t incarnation, std::uint64_t first = 0);
  /// Writes the next IV. False, and nothing written, for ever after 2^40 of them.
  [[nodiscard]] bool next(std::span<std::uint8_t, 8> out);
  /// How far it has come: no IV from here on has been given out.
  [[nodiscard]] std::uint64_t position() const { return counter_; }

 private:
  std::uint64_t prefix_;   // the incarnation, in its place
  std::uint64_t counter_;  // the next one
};

/// Hands out the counters of one worker's SAs: for the same SA never one that begins where another has been.
class IvSpace {
 public:
  /// CHECKs that the incarnation fits in kIncarnationBits: a number that came around must not be used.
  explicit IvSpace(std::uint32_t incarnation);
  [[nodiscard]] std::shared_ptr<IvCounter> counter_of(SaId sa);
  /// The SA is removed from this worker. Its counter takes no memory any more once its last user is gone; should
  /// the SA come again all the same, it goes on beyond what any forgotten SA of the same epoch has used.
  void forget(SaId sa);

 private:
  /// What is left of the forgotten counters of one epoch. SaIds rise within it, so a higher one is a new SA.
  struct Past {
    SaId highest;
    std::uint64_t next = 0;  // beyond what any of them has used
  };
  struct Entry {
    std::shared_ptr<IvCounter> counter;
    bool forgotten = false;
  };
  void sweep();
  [[nodiscard]] std::uint64_t first_of(SaId sa) const;

  std::uint32_t incarnation_;
  absl::flat_hash_map<SaId, Entry> counters_;
  absl::flat_hash_map<std::uint32_t, Past> past_;  // by the SaId's high half, which is the epoch's
  std::vector<SaId> forgotten_;                    // still in counters_
};

}  // namespace testudo::ipsec
