// SPDX-License-Identifier: Apache-2.0
#include "base/secret.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/check.h"

namespace testudo {
namespace {

// Keys are small and many: they share locked pages. A slot is 128 bytes, more than any key material of one SA; a page is
// never given back, so the daemon's locked memory is its highest number of keys.
class LockedPool {
 public:
  static constexpr std::size_t kSlot = 128;
  static constexpr std::size_t kChunk = 64 * 1024;

  std::uint8_t* take(std::size_t size) {
    CHECK(size <= kSlot);
    const std::lock_guard lock(mutex_);
    if (free_.empty()) grow();
    std::uint8_t* slot = free_.back();
    free_.pop_back();
    return slot;
  }

  void give_back(std::uint8_t* slot) {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);
  }

 private:
  void grow() {
    void* pages = mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    // Without the lock a key could reach the swap: refuse to hold it at all.
    if (mlock(pages, kChunk) != 0 || madvise(pages, kChunk, MADV_DONTDUMP) != 0) {
      munmap(pages, kChunk);
      throw std::bad_alloc();
    }
    auto* first = static_cast<std::uint8_t*>(pages);
    free_.reserve(free_.size() + kChunk / kSlot);
    for (std::size_t at = 0; at < kChunk; at += kSlot) free_.push_back(first + at);
  }

  std::mutex mutex_;
  std::vector<std::uint8_t*> free_;
};

LockedPool& pool() {
  static auto* instance = new LockedPool;  // outlives every Secret
  return *instance;
}

}  // namespace

void zero(std::span<std::uint8_t> bytes) { explicit_bzero(bytes.data(), bytes.size()); }

Secret::Secret(std::size_t size) : size_(size) {
  if (size == 0) return;
  data_ = pool().take(size);
  std::memset(data_, 0, size);
}

Secret::Secret(std::span<const std::uint8_t> bytes) : Secret(bytes.size()) {
  if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
}

Secret::Secret(Secret&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Secret::~Secret() {
  if (data_ == nullptr) return;
  zero({data_, LockedPool::kSlot});
  pool().give_back(data_);
}

bool Secret::equals(const Secret& other) const {
  return size_ == other.size_ && (size_ == 0 || CRYPTO_memcmp(data_, other.data_, size_) == 0);
}

}  // namespace testudo
