// SPDX-License-Identifier: Apache-2.0
// Be<T>: an integer as it lies on the wire, most significant byte first, without alignment. Mixing it with a host
// integer does not compile; host() and the constructor are the only ways across.
//
//   struct UdpHeader { Be<std::uint16_t> source_port, destination_port, length, checksum; };
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace testudo {

template <std::unsigned_integral T>
class Be {
 public:
  constexpr Be() = default;
  constexpr explicit Be(T host_value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes_[i] = static_cast<std::uint8_t>(host_value >> (8 * (sizeof(T) - 1 - i)));
    }
  }
  [[nodiscard]] constexpr T host() const {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((value << 7 << 1) | bytes_[i]);
    return value;
  }
  friend constexpr bool operator==(const Be&, const Be&) = default;

 private:
  std::array<std::uint8_t, sizeof(T)> bytes_{};
};

static_assert(sizeof(Be<std::uint16_t>) == 2 && alignof(Be<std::uint16_t>) == 1);
static_assert(Be<std::uint32_t>(0x01020304).host() == 0x01020304);

}  // namespace testudo
