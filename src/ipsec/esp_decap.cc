// SPDX-License-Identifier: Apache-2.0
// Inbound ESP (RFC 4303 section 3.4). 3.4.1 (reassembly), 3.4.2 (SA lookup) and 3.4.3 (sequence number) are the
// caller's.
#include <array>
#include <cstring>

#include "base/check.h"
#include "ipsec/esp.h"
#include "wire/ipv4.h"

namespace testudo::ipsec {
namespace {

std::uint8_t* bytes_of(const DecapRequest& request) { return request.out != nullptr ? request.out : request.data; }

std::optional<Drop> lay_out(const DecapRequest& request, crypto::Frame& frame) {
  const SaParameters& sa = request.sa->parameters();
  if (!crypto::frame_fits(sa.suite, request.size)) return Drop::kTruncated;
  const auto& header = *reinterpret_cast<const wire::EspHeader*>(request.data);
  const auto high = static_cast<std::uint32_t>(request.seq.value() >> 32);
  if (header.spi() != sa.spi || header.sequence_low() != static_cast<std::uint32_t>(request.seq.value())) {
    return Drop::kMalformed;
  }
  if (!sa.esn && high != 0) return Drop::kMalformed;
  if (request.out != nullptr) std::memcpy(request.out, request.data, request.size);
  frame = {
      .context = &request.sa->cipher(), .data = bytes_of(request), .size = request.size, .sequence_high = high};
  return std::nullopt;
}

// Section 2.4: a receiver checks the padding that the sender was told to write.
bool padding_is_right(std::span<const std::uint8_t> padding) {
  unsigned wrong = 0;
  for (std::size_t i = 0; i < padding.size(); ++i) wrong |= padding[i] ^ static_cast<unsigned>(i + 1);
  return wrong == 0;
}

// 3.4.4.1 step 4, 3.4.4.2 step 3: remove padding, find the inner packet. The text is authentic: nothing here can
// tell an attacker anything.
std::optional<Drop> find_inner(DecapRequest& request) {
  const crypto::SuiteSizes& sizes = crypto::sizes(request.sa->parameters().suite);
  std::uint8_t* text = bytes_of(request) + wire::kEspHeaderSize + sizes.iv;
  const std::size_t text_size = request.size - wire::kEspHeaderSize - sizes.iv - sizes.icv;
  const std::size_t padding = text[text_size - 2];
  const std::uint8_t next_header = text[text_size - 1];
  if (padding + wire::kEspTrailerSize > text_size) return Drop::kBadPadding;
  const std::size_t inner_size = text_size - wire::kEspTrailerSize - padding;
  if (!padding_is_right({text + inner_size, padding})) return Drop::kBadPadding;
  if (next_header != wire::kProtocolIpip) return Drop::kUnsupported;
  // What follows the inner packet's total length is traffic flow padding (section 2.7).
  const auto inner = wire::parse_ipv4({text, inner_size});
  if (!inner) return inner_size < wire::kIpv4HeaderSize ? Drop::kTruncated : Drop::kMalformed;
  request.inner = {text, inner->total_size()};
  return std::nullopt;
}

}  // namespace

void decap(crypto::Engine& engine, std::span<DecapRequest> burst) {
  CHECK(burst.size() <= crypto::kBurstMax);
  std::array<crypto::Frame, crypto::kBurstMax> frames;
  std::array<DecapRequest*, crypto::kBurstMax> framed;
  std::size_t n = 0;
  for (DecapRequest& request : burst) {
    request.authentic = false;
    request.inner = {};
    request.drop = lay_out(request, frames[n]);
    if (!request.drop) framed[n++] = &request;
  }
  // 3.4.4: integrity check value verification and decryption.
  const std::uint64_t authentic = engine.open(std::span(frames).first(n));
  for (std::size_t i = 0; i < n; ++i) {
    DecapRequest& request = *framed[i];
    request.authentic = (authentic >> i & 1) != 0;
    request.drop = request.authentic ? find_inner(request) : Drop::kBadIcv;
    if (!request.drop) request.sa->count(request.inner.size());
  }
}

}  // namespace testudo::ipsec
