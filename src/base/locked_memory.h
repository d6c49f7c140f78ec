// SPDX-License-Identifier: Apache-2.0
// Memory for keys and what is derived from them: locked (mlock), left out of core dumps, zeroed when given back
// (spec B6).
//
//   LockedBlock block(size);                 // zero bytes, aligned to a cache line
//   Locked<ExpandedKeys> keys;               // one object in such memory, value-initialized
//   expand(raw, keys->round_keys);
//
// Threads: any; taking and giving back lock a mutex, so not on the packet path. Pages are shared by small blocks
// and never given back to the kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace testudo {

class LockedBlock {
 public:
  static constexpr std::size_t kAlignment = 64;  // bytes

  LockedBlock() = default;
  /// Throws std::bad_alloc when the kernel does not lock the memory: then it could reach the swap.
  explicit LockedBlock(std::size_t size);
  LockedBlock(LockedBlock&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  LockedBlock& operator=(LockedBlock other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~LockedBlock();

  [[nodiscard]] std::uint8_t* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// One T in a LockedBlock. T has nothing to destroy: its bytes are zeroed.
template <typename T>
class Locked {
  static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= LockedBlock::kAlignment);

 public:
  Locked() : block_(sizeof(T)), object_(new (block_.data()) T()) {}
  [[nodiscard]] T& operator*() const { return *object_; }
  [[nodiscard]] T* operator->() const { return object_; }

 private:
  LockedBlock block_;
  T* object_;
};

}  // namespace testudo
