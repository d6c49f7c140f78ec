// SPDX-License-Identifier: Apache-2.0
// Initialization vectors of outbound SAs.
//
// AEADs and counter mode: never the same IV twice under one key, on whatever host, after whatever restart (spec
// E5): 24 bits of incarnation, unique per worker and start, then a 40-bit counter per SA (RFC 6054 section 3 splits
// it so among senders). The counter outlives the Sa object: an SA that is removed and installed again goes on where
// it was. AES-CBC: nobody can predict it (RFC 3602 section 3): the keystream of AES under a random secret of the
// worker (crypto/random_stream.h).
//
// Threads: IvSpace on the control thread; an IvCounter on the worker that owns the SA.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/byte_order.h"
#include "base/strong.h"

namespace testudo::ipsec {

inline constexpr unsigned kIncarnationBits = 24;
inline constexpr unsigned kIvCounterBits = 40;

class IvCounter {
 public:
  explicit IvCounter(std::uint32_t incarnation, std::uint64_t first = 0, SaId sa = SaId());
  IvCounter(const IvCounter&) = delete;
  IvCounter& operator=(const IvCounter&) = delete;
  /// Writes the next IV. False, and nothing written, for ever after 2^40 of them.
  [[nodiscard]] bool next(std::span<std::uint8_t, 8> out) {
    if (counter_ == kEnd) return false;
    const Be<std::uint64_t> iv(std::uint64_t{incarnation_} << kIvCounterBits | counter_++);
    std::memcpy(out.data(), &iv, sizeof iv);
    return true;
  }
  /// How far it has come: no IV from here on has been given out.
  [[nodiscard]] std::uint64_t position() const { return counter_; }

 private:
  friend class IvHandle;
  friend class IvSpace;
  static constexpr std::uint64_t kEnd = std::uint64_t{1} << kIvCounterBits;
  std::uint64_t counter_;  // the next one
  SaId sa_;
  std::uint32_t incarnation_ : kIncarnationBits;
  std::uint32_t forgotten_ : 8 = 0;  // IvSpace's
  std::atomic<std::uint32_t> users_{0};
};
static_assert(sizeof(IvCounter) == 24);

/// A share in a counter: an SA's, or the IvSpace's own.
class IvHandle {
 public:
  IvHandle() = default;
  explicit IvHandle(IvCounter* counter) : counter_(counter) { counter_->users_.fetch_add(1); }
  IvHandle(IvHandle&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
  IvHandle& operator=(IvHandle&& other) noexcept {
    std::swap(counter_, other.counter_);
    return *this;
  }
  ~IvHandle();
  explicit operator bool() const { return counter_ != nullptr; }
  [[nodiscard]] IvCounter& operator*() const { return *counter_; }
  [[nodiscard]] IvCounter* operator->() const { return counter_; }

 private:
  IvCounter* counter_ = nullptr;
};

/// Hands out the counters of one worker's SAs: for the same SA never one that begins where another has been.
class IvSpace {
 public:
  /// CHECKs that the incarnation fits in kIncarnationBits: a number that came around must not be used.
  explicit IvSpace(std::uint32_t incarnation);
  [[nodiscard]] IvHandle counter_of(SaId sa);
  /// The SA is removed from this worker. Its counter takes no memory any more once its last user is gone; should
  /// the SA come again all the same, it goes on beyond what any forgotten SA of the same epoch has used.
  void forget(SaId sa);

 private:
  /// What is left of the forgotten counters of one epoch. SaIds rise within it, so a higher one is a new SA.
  struct Past {
    SaId highest;
    std::uint64_t next = 0;  // beyond what any of them has used
  };
  // By the SaId that is in the counter: the map of a million SAs has no second copy of it.
  static SaId id_of(SaId sa) { return sa; }
  static SaId id_of(const IvHandle& handle) { return handle->sa_; }
  struct Hash {
    using is_transparent = void;
    template <typename K>
    std::size_t operator()(const K& key) const {
      return absl::Hash<SaId>{}(id_of(key));
    }
  };
  struct Equal {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return id_of(a) == id_of(b);
    }
  };
  void sweep();
  [[nodiscard]] std::uint64_t first_of(SaId sa) const;

  std::uint32_t incarnation_;
  absl::flat_hash_set<IvHandle, Hash, Equal> counters_;
  absl::flat_hash_map<std::uint32_t, Past> past_;  // by the SaId's high half, which is the epoch's
  std::vector<SaId> forgotten_;                    // still in counters_
};

}  // namespace testudo::ipsec
