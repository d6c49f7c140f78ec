// SPDX-License-Identifier: Apache-2.0
// ContextCache: the expanded keys that a worker needs now, out of many more raw keys that it has. An idle SA keeps
// a CipherKey (some 40 bytes, and its raw key in locked memory); its expanded form, 1 KiB, is made when a packet
// needs it and given up when others need the memory more.
//
//   auto key = crypto::CipherKey::make(suite, std::move(secret), esn);                   // control, per SA
//   auto cache = crypto::make_context_cache(*engine);                                    // once per worker
//
//   cache.begin_burst();                                                                 // worker, per burst
//   for (auto& p : burst) cache.prefetch(p.sa->key());                                   // optional: many SAs
//   for (auto& p : burst) frames[n++] = {.context = &cache.get(p.sa->key()), …};
//   engine->open(frames);
//
//   cache.forget(sa->key());                                                             // the SA is removed
//
// A context that get() returned stays what it is until the next begin_burst(): at most kPinnedMax different keys
// between two of them. get() of a key that is in the cache is a comparison; of one that is not, an expansion
// (0.1–1 µs) and the loss of a context that was not used lately. Neither allocates. Contexts given up are zeroed.
//
// Threads: the cache is its worker's. A CipherKey may be made elsewhere; from its first get() on it is the
// worker's. A key that is destroyed without forget() leaves its expanded form behind until its place is needed:
// call forget() when the SA leaves the worker. (It is never found again: each key has an identity of its own.)
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/locked_memory.h"
#include "base/result.h"
#include "base/secret.h"
#include "crypto/context.h"
#include "crypto/engine.h"

namespace testudo::crypto {

/// A raw key with its suite, and where its expanded form was last.
class CipherKey {
 public:
  /// Fails when the suite does not exist or the key has not its size.
  [[nodiscard]] static Result<CipherKey> make(Suite suite, Secret key, Esn esn);

  [[nodiscard]] Suite suite() const { return suite_; }
  [[nodiscard]] Esn esn() const { return esn_; }
  [[nodiscard]] const Secret& secret() const { return key_; }

 private:
  friend class ContextCache;
  CipherKey(Suite suite, Secret key, Esn esn);

  Secret key_;
  std::uint64_t id_;        // unique in the process
  std::uint32_t slot_ = 0;  // of the cache that used it last
  Suite suite_;
  Esn esn_;
};
static_assert(sizeof(CipherKey) <= 40);

class ContextCache {
 public:
  static constexpr std::size_t kCapacity = 16'384;  // contexts; 17 MiB of locked memory
  /// Different keys of one burst. Twice kBurstMax: a packet may need two (AH over ESP).
  static constexpr std::size_t kPinnedMax = 2 * kBurstMax;

  ContextCache(const ContextCache&) = delete;
  ContextCache& operator=(const ContextCache&) = delete;

  /// What get() returned before may be given up from here on.
  void begin_burst() { ++burst_; }

  /// Asks the CPU for what get() and the engine will read. Only a hint.
  void prefetch(const CipherKey& key) const {
    prefetch(key, hot_lines_[static_cast<std::size_t>(mode_of(key.suite_))]);
  }
  /// The same for a peek, which verifies nothing: of GCM it does not read the hash keys.
  void prefetch_peek(const CipherKey& key) const {
    if (many_) return __builtin_prefetch(key.key_.bytes().data());
    constexpr std::uint32_t kHeadAndRoundKeys = 0x1f;  // lines: 64 bytes, and up to 15 round keys of 16
    const Mode mode = mode_of(key.suite_);
    prefetch(key, hot_lines_[static_cast<std::size_t>(mode)] & (mode == Mode::kGcm ? kHeadAndRoundKeys : ~0u));
  }

  [[nodiscard]] const CipherContext& get(CipherKey& key) {
    CipherContext& context = slots_[key.slot_ & mask_];
    if (context.owner_ != key.id_) [[unlikely]]
      return expand(key);
    context.used_ = true;
    context.burst_ = burst_;
    return context;
  }

  /// For a peek alone. While few keys are in use it is get(). Where they are many, so that their expanded forms are
  /// fetched from memory or not there, the round keys are expanded anew: that takes less time, and nobody's place.
  /// At most kBurstMax until end_peek().
  [[nodiscard]] const CipherContext& get_for_peek(CipherKey& key) {
    if (!many_) return get(key);
    CipherContext& context = peeks_[peeking_++];
    engine_.expand_for_peek(key.suite_, key.key_.bytes(), key.esn_, context);
    return context;
  }
  /// Zeroes what get_for_peek() has expanded.
  void end_peek();

  /// Gives up the key's expanded form.
  void forget(const CipherKey& key);

  [[nodiscard]] std::size_t capacity() const { return std::size_t{mask_} + 1; }
  /// How often a key was expanded: far more often than there are new SAs, the cache is too small.
  [[nodiscard]] std::uint64_t expansions() const { return expansions_; }

 private:
  friend Result<std::unique_ptr<ContextCache>> make_context_cache(Engine& engine, std::size_t capacity);
  // More contexts than fit into the second-level cache are many; of a small cache, a sixteenth of it.
  static constexpr std::size_t kManyMax = 512;
  // Steps of the clock's hand before it takes what it finds.
  static constexpr std::size_t kSweepMax = 2 * kPinnedMax;

  ContextCache(Engine& engine, std::size_t capacity);
  void prefetch(const CipherKey& key, std::uint32_t lines) const {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&slots_[key.slot_ & mask_]);
    for (; lines != 0; lines &= lines - 1) __builtin_prefetch(bytes + 64 * std::countr_zero(lines));
  }
  const CipherContext& expand(CipherKey& key);
  std::uint32_t take_slot();
  std::uint32_t sweep();
  void clear(CipherContext& context);

  Engine& engine_;
  LockedBlock memory_;
  CipherContext* slots_;
  CipherContext* peeks_;                    // kBurstMax, behind the others
  std::size_t peeking_ = 0;                 // of them in use
  bool many_ = false;                       // keys in use: see get_for_peek()
  std::uint32_t mask_;                      // capacity - 1
  std::array<std::uint32_t, 8> hot_lines_;  // by Mode
  std::uint32_t hand_ = 0;
  std::uint64_t burst_ = 1;
  std::uint64_t expansions_ = 0;
  std::vector<std::uint32_t> free_;  // slots of nobody
};

/// `capacity`: contexts, rounded up to a power of two, at least 2 × kPinnedMax. The engine must outlive the cache.
/// Fails when so much memory cannot be locked.
[[nodiscard]] Result<std::unique_ptr<ContextCache>> make_context_cache(
    Engine& engine, std::size_t capacity = ContextCache::kCapacity);

}  // namespace testudo::crypto
