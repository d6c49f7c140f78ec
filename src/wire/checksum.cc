// SPDX-License-Identifier: Apache-2.0
#include "wire/checksum.h"

#include <cstring>

#include "base/byte_order.h"

namespace testudo::wire {

// One's complement sums do not care about byte order until the end (RFC 1071 section 2 (B)): native words are
// added, in 64 bits, and the result is swapped once.
std::uint64_t sum(std::span<const std::uint8_t> bytes, std::uint64_t start) {
  std::uint64_t total = 0;
  const std::uint8_t* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::memcpy(&a, p, 4);
    std::memcpy(&b, p + 4, 4);
    total += std::uint64_t{a} + b;
  }
  for (; left >= 2; left -= 2, p += 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, p, 2);
    total += word;
  }
  if (left == 1) total += *p;  // little endian: the odd byte is the high half of its big-endian word
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return start + __builtin_bswap16(static_cast<std::uint16_t>(total));
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

std::uint64_t pseudo_header(Ipv4Address source, Ipv4Address destination, std::uint8_t protocol,
                            std::size_t length) {
  const auto halves = [](Ipv4Address a) { return std::uint64_t{a.value() >> 16} + (a.value() & 0xffff); };
  return halves(source) + halves(destination) + protocol + length;
}

std::uint16_t finish(std::uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace testudo::wire
