// SPDX-License-Identifier: Apache-2.0
// Secret: bytes of a key. Locked in memory (mlock), left out of core dumps, zeroed when destroyed (spec B6). Has no
// way to be printed and none to be compared but in constant time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace testudo {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::span<const std::uint8_t> bytes);
  explicit Secret(std::size_t size);  // zero bytes, to be written through mutable_bytes()
  Secret(const Secret& other) : Secret(other.bytes()) {}
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret other) noexcept;
  ~Secret();

  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {data_, size_}; }
  [[nodiscard]] std::span<std::uint8_t> mutable_bytes() { return {data_, size_}; }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Constant time in the content.
  [[nodiscard]] bool equals(const Secret& other) const;

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Overwrites with zeros in a way the compiler keeps.
void zero(std::span<std::uint8_t> bytes);

}  // namespace testudo
