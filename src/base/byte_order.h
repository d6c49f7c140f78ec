// SPDX-License-Identifier: Apache-2.0
// Be<T>: an integer as it lies on the wire, most significant byte first, without alignment. Mixing it with a host
// integer does not compile; host() and the constructor are the only ways across.
//
//   struct UdpHeader { Be<std::uint16_t> source_port, destination_port, length, checksum; };
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace testudo {

template <std::unsigned_integral T>
class Be {
 public:
  constexpr Be() = default;
  constexpr explicit Be(T host_value) : bytes_(std::bit_cast<Bytes>(swapped(host_value))) {}
  [[nodiscard]] constexpr T host() const { return swapped(std::bit_cast<T>(bytes_)); }
  friend constexpr bool operator==(const Be&, const Be&) = default;

 private:
  using Bytes = std::array<std::uint8_t, sizeof(T)>;

  // One instruction: compilers do not see one in a loop over the bytes, and this is many times in every packet.
  static constexpr T swapped(T value) {
    if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) return value;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  }

  Bytes bytes_{};
};

static_assert(sizeof(Be<std::uint16_t>) == 2 && alignof(Be<std::uint16_t>) == 1);
static_assert(Be<std::uint32_t>(0x01020304).host() == 0x01020304);
static_assert(std::bit_cast<std::array<std::uint8_t, 2>>(Be<std::uint16_t>(0x0102))[0] == 1);

}  // namespace testudo
