// SPDX-License-Identifier: Apache-2.0
// How large the parts of a protected packet are, from the Shape of its SA. All in bytes.
#pragma once

#include <cstddef>

#include "ipsec/sa.h"
#include "wire/esp.h"
#include "wire/ip.h"
#include "wire/udp.h"

namespace testudo::ipsec {

/// Of ESP padding behind a text.
[[nodiscard]] constexpr std::size_t padding_of(const Shape& shape, std::size_t text) {
  const std::size_t over = (text + wire::kEspTrailerSize) & (shape.esp_block - std::size_t{1});
  return over == 0 ? 0 : shape.esp_block - over;
}

/// AH header, ESP header, IV and ICV: all that does not depend on the text.
[[nodiscard]] constexpr std::size_t fixed_size(const Shape& shape) {
  const std::size_t esp = shape.has_esp() ? wire::kEspHeaderSize + shape.esp_iv + shape.esp_icv : 0;
  return shape.ah + esp;
}

/// From the first byte of AH or ESP to the end of the packet.
[[nodiscard]] constexpr std::size_t protected_size(const Shape& shape, std::size_t text) {
  const std::size_t trailer = shape.has_esp() ? padding_of(shape, text) + wire::kEspTrailerSize : 0;
  return fixed_size(shape) + text + trailer;
}

/// The largest text that makes no more than `size`; 0: none.
[[nodiscard]] constexpr std::size_t text_max(const Shape& shape, std::size_t size) {
  const std::size_t fixed = fixed_size(shape);
  if (size <= fixed) return 0;
  if (!shape.has_esp()) return size - fixed;
  const std::size_t text = (size - fixed) & ~(shape.esp_block - std::size_t{1});
  return text > wire::kEspTrailerSize ? text - wire::kEspTrailerSize : 0;
}

/// Of the outer packet, when `size` is what encapsulation writes.
[[nodiscard]] inline std::size_t outer_size(const Sa& sa, std::size_t size) {
  return sa.udp_encapsulation() ? size + wire::ip_header_size(sa.local()) + wire::kUdpHeaderSize : size;
}

}  // namespace testudo::ipsec
