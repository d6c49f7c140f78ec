// SPDX-License-Identifier: Apache-2.0
#include "crypto/context_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <new>

#include "base/check.h"

namespace testudo::crypto {
namespace {

std::atomic<std::uint64_t> last_id = 0;  // a name, not a secret; 0 is nobody

}  // namespace

CipherKey::CipherKey(Suite suite, Secret key, Esn esn)
    : key_(std::move(key)), id_(++last_id), suite_(suite), esn_(esn) {}

Result<CipherKey> CipherKey::make(Suite suite, Secret key, Esn esn) {
  if (const auto checked = check_key(suite, key.size()); !checked) return tl::unexpected(checked.error());
  return CipherKey(suite, std::move(key), esn);
}

ContextCache::ContextCache(Engine& engine, std::size_t capacity)
    : engine_(engine),
      memory_((capacity + kBurstMax) * sizeof(CipherContext)),
      slots_(reinterpret_cast<CipherContext*>(memory_.data())),
      peeks_(slots_ + capacity),
      mask_(static_cast<std::uint32_t>(capacity - 1)) {
  for (std::size_t mode = 0; mode < hot_lines_.size(); ++mode) {
    hot_lines_[mode] = engine.hot_lines(static_cast<Mode>(mode));
  }
  free_.reserve(capacity);
  for (std::size_t i = 0; i < capacity; ++i) {
    new (&slots_[i]) CipherContext();
    free_.push_back(static_cast<std::uint32_t>(capacity - 1 - i));  // the first one is taken first
  }
  for (std::size_t i = 0; i < kBurstMax; ++i) new (&peeks_[i]) CipherContext();
}

const CipherContext& ContextCache::expand(CipherKey& key) {
  const std::uint32_t slot = take_slot();
  CipherContext& context = slots_[slot];
  engine_.expand(key.suite_, key.key_.bytes(), key.esn_, context);
  context.owner_ = key.id_;
  context.used_ = true;
  context.burst_ = burst_;
  key.slot_ = slot;
  ++expansions_;
  return context;
}

std::uint32_t ContextCache::take_slot() {
  if (free_.empty()) {
    const std::uint32_t slot = sweep();
    clear(slots_[slot]);
    return slot;
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  many_ = capacity() - free_.size() > std::min(kManyMax, capacity() / 16);
  return slot;
}

// The clock: whoever was used since the hand last came by gets a second chance, for some steps; whoever is used in
// this burst stays. There are more slots than pins, so the loop ends.
std::uint32_t ContextCache::sweep() {
  for (std::size_t step = 0; step <= capacity() + kSweepMax; ++step) {
    const std::uint32_t slot = hand_++ & mask_;
    CipherContext& context = slots_[slot];
    if (context.burst_ == burst_) continue;
    if (!context.used_ || step >= kSweepMax) return slot;
    context.used_ = false;
  }
  check_failed("at most kPinnedMax keys in one burst", __FILE__, __LINE__);
}

void ContextCache::clear(CipherContext& context) {
  zero({reinterpret_cast<std::uint8_t*>(&context), sizeof context});
}

void ContextCache::end_peek() {
  for (; peeking_ != 0; --peeking_) {
    zero({reinterpret_cast<std::uint8_t*>(&peeks_[peeking_ - 1]), 64 + CipherContext::kPeekStorage});
  }
}

void ContextCache::forget(const CipherKey& key) {
  const std::uint32_t slot = key.slot_ & mask_;
  if (slots_[slot].owner_ != key.id_) return;
  clear(slots_[slot]);
  free_.push_back(slot);  // within what was reserved
  many_ = capacity() - free_.size() > std::min(kManyMax, capacity() / 16);
}

Result<std::unique_ptr<ContextCache>> make_context_cache(Engine& engine, std::size_t capacity) {
  const std::size_t rounded = std::bit_ceil(std::max(capacity, 2 * ContextCache::kPinnedMax));
  try {
    return std::unique_ptr<ContextCache>(new ContextCache(engine, rounded));
  } catch (const std::bad_alloc&) {
    return fail(
        fmt::format("cannot lock {} KiB for expanded keys: raise the limit of locked memory (RLIMIT_MEMLOCK)",
                    rounded * sizeof(CipherContext) / 1024));
  }
}

}  // namespace testudo::crypto
