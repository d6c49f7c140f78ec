// SPDX-License-Identifier: Apache-2.0
#include "base/locked_memory.h"

#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace testudo {
namespace {

// Blocks of one rounded size share a free list and locked pages. Sizes are few: raw keys, and one per kind of
// expanded key. So the daemon's locked memory is its highest number of keys.
class LockedPool {
 public:
  static constexpr std::size_t kGranule = 64;       // bytes; a multiple of the alignment
  static constexpr std::size_t kChunk = 64 * 1024;  // bytes locked at once
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kHugePage = 2 * 1024 * 1024;

  std::uint8_t* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    std::vector<std::uint8_t*>& free = free_[rounded(size)];
    if (free.empty()) grow(free, rounded(size));
    std::uint8_t* block = free.back();
    free.pop_back();
    return block;
  }

  void give_back(std::uint8_t* block, std::size_t size) {
    const std::lock_guard lock(mutex_);
    free_[rounded(size)].push_back(block);
  }

 private:
  static std::size_t rounded(std::size_t size) { return (size + kGranule - 1) / kGranule * kGranule; }

  // Large chunks are read all over: huge pages, where the kernel has them, spare the TLB.
  static void* map(std::size_t chunk) {
    const std::size_t slack = chunk >= kHugePage ? kHugePage : 0;
    void* mapped = mmap(nullptr, chunk + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    if (slack == 0) return mapped;
    auto* first = static_cast<std::uint8_t*>(mapped);
    const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(first) % kHugePage) % kHugePage;
    if (before != 0) munmap(first, before);
    if (before != slack) munmap(first + before + chunk, slack - before);
    madvise(first + before, chunk, MADV_HUGEPAGE);  // may be refused: then not
    return first + before;
  }

  static void grow(std::vector<std::uint8_t*>& free, std::size_t block) {
    const std::size_t chunk = std::max(kChunk, (block + kPage - 1) / kPage * kPage);
    free.reserve(free.size() + chunk / block);
    void* pages = map(chunk);
    // Without the lock a key could reach the swap: refuse to hold it at all.
    if (mlock(pages, chunk) != 0 || madvise(pages, chunk, MADV_DONTDUMP) != 0) {
      munmap(pages, chunk);
      throw std::bad_alloc();
    }
    auto* first = static_cast<std::uint8_t*>(pages);
    for (std::size_t at = 0; at + block <= chunk; at += block) free.push_back(first + at);
  }

  std::mutex mutex_;
  std::map<std::size_t, std::vector<std::uint8_t*>> free_;
};

LockedPool& pool() {
  static auto* instance = new LockedPool;  // outlives every block
  return *instance;
}

}  // namespace

LockedBlock::LockedBlock(std::size_t size) : data_(pool().take(std::max<std::size_t>(size, 1))), size_(size) {
  std::memset(data_, 0, size_);
}

LockedBlock::~LockedBlock() {
  if (data_ == nullptr) return;
  explicit_bzero(data_, size_);
  pool().give_back(data_, std::max<std::size_t>(size_, 1));
}

}  // namespace testudo
