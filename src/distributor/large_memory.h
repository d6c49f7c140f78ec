// SPDX-License-Identifier: Apache-2.0
// LargeMemory: zeroed memory for tables that are read all over, in huge pages where the kernel has them, which
// spares the TLB. The system gives it when it is first used.
//
//   LargeMemory memory(1 << 26);
//   auto* index = reinterpret_cast<std::uint32_t*>(memory.data());     // aligned to a page
#pragma once

#include <cstddef>
#include <utility>

namespace testudo::distributor {

class LargeMemory {
 public:
  LargeMemory() = default;
  /// Throws std::bad_alloc when the system refuses.
  explicit LargeMemory(std::size_t bytes);
  LargeMemory(LargeMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  LargeMemory& operator=(LargeMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~LargeMemory();

  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace testudo::distributor
