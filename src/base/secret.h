// SPDX-License-Identifier: Apache-2.0
// Secret: bytes of a key. Locked in memory (mlock), left out of core dumps, zeroed when destroyed (spec B6). Has no
// way to be printed and none to be compared but in constant time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/locked_memory.h"

namespace testudo {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::span<const std::uint8_t> bytes);
  explicit Secret(std::size_t size);  // zero bytes, to be written through mutable_bytes()
  Secret(const Secret& other) : Secret(other.bytes()) {}
  Secret(Secret&& other) noexcept = default;
  Secret& operator=(Secret other) noexcept {
    block_ = std::move(other.block_);
    return *this;
  }
  ~Secret() = default;

  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {block_.data(), block_.size()}; }
  [[nodiscard]] std::span<std::uint8_t> mutable_bytes() { return {block_.data(), block_.size()}; }
  [[nodiscard]] std::size_t size() const { return block_.size(); }
  /// Constant time in the content.
  [[nodiscard]] bool equals(const Secret& other) const;

 private:
  LockedBlock block_;
};

/// Overwrites with zeros in a way the compiler keeps.
void zero(std::span<std::uint8_t> bytes);

}  // namespace testudo
