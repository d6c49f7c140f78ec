// SPDX-License-Identifier: Apache-2.0
#include "distributor/large_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>

namespace testudo::distributor {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

LargeMemory::LargeMemory(std::size_t bytes) : size_(std::max(bytes, std::size_t{1})) {
  void* mapped = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(mapped);
  // What is not larger than some huge pages would take more memory in them.
  if (size_ >= 8 * kHugePage) madvise(data_, size_, MADV_HUGEPAGE);  // may be refused: then not
}

LargeMemory::~LargeMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace testudo::distributor
