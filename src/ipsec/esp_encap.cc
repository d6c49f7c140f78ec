// SPDX-License-Identifier: Apache-2.0
// Outbound ESP (RFC 4303 section 3.3).
#include <array>
#include <cstring>

#include "base/check.h"
#include "ipsec/esp.h"
#include "wire/ipv4.h"

namespace testudo::ipsec {
namespace {

void copy(std::uint8_t* out, std::span<const std::uint8_t> piece) {
  if (!piece.empty()) std::memcpy(out, piece.data(), piece.size());
}

// Section 2.4: padding 1, 2, 3 …; section 2.6: next header IPv4.
void write_trailer(std::uint8_t* after_inner, std::size_t padding) {
  for (std::size_t i = 0; i < padding; ++i) after_inner[i] = static_cast<std::uint8_t>(i + 1);
  after_inner[padding] = static_cast<std::uint8_t>(padding);
  after_inner[padding + 1] = wire::kProtocolIpip;
}

// Everything but the encryption. False: no number or no IV can be used.
bool lay_out(const EncapRequest& request, crypto::Frame& frame) {
  Sa& sa = *request.sa;
  const crypto::SuiteSizes& sizes = crypto::sizes(sa.parameters().suite);
  const std::size_t inner_size = request.header.size() + request.payload.size();
  const std::size_t size = encap_size(sa.parameters().suite, inner_size);
  std::uint8_t* out = request.out;

  // 3.3.3 Sequence number: 64 bits with ESN, else it must not cycle.
  CHECK(request.seq.value() != 0);
  if (!sa.parameters().esn && request.seq.value() >> 32 != 0) return false;
  std::uint8_t* iv = out + wire::kEspHeaderSize;
  if (!sa.next_iv({iv, sizes.iv})) return false;

  wire::EspHeader header;
  header.spi_be = Be<std::uint32_t>(sa.parameters().spi.value());
  header.sequence_be = Be<std::uint32_t>(static_cast<std::uint32_t>(request.seq.value()));
  std::memcpy(out, &header, sizeof header);

  // 3.3.2 step 1: encapsulate the whole inner packet; step 2: add padding.
  std::uint8_t* inner = iv + sizes.iv;
  copy(inner, request.header);
  copy(inner + request.header.size(), request.payload);
  const std::size_t text = size - wire::kEspHeaderSize - sizes.iv - sizes.icv;
  write_trailer(inner + inner_size, text - inner_size - wire::kEspTrailerSize);

  frame = {.context = &sa.cipher(),
           .data = out,
           .size = static_cast<std::uint32_t>(size),
           .sequence_high = static_cast<std::uint32_t>(request.seq.value() >> 32)};
  return true;
}

}  // namespace

void encap(crypto::Engine& engine, std::span<EncapRequest> burst) {
  CHECK(burst.size() <= crypto::kBurstMax);
  std::array<crypto::Frame, crypto::kBurstMax> frames;
  std::size_t n = 0;
  for (EncapRequest& request : burst) {
    request.drop.reset();
    if (!lay_out(request, frames[n])) {
      request.drop = Drop::kSequenceExhausted;
      continue;
    }
    request.sa->count(request.header.size() + request.payload.size());
    ++n;
  }
  // 3.3.2 step 3: encrypt and compute the ICV.
  engine.seal(std::span(frames).first(n));
}

}  // namespace testudo::ipsec
