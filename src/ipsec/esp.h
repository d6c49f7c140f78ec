// SPDX-License-Identifier: Apache-2.0
// ESP in tunnel mode over IPv4 (RFC 4303), burst-wise. An ESP packet here runs from the SPI to the end of the ICV;
// the outer IP and UDP headers are the caller's. So are the sequence numbers: none is chosen or judged here.
//
//   std::array<ipsec::EncapRequest, 32> burst;                    // one per segment of a train
//   burst[i] = {.sa = sa, .seq = numbers[i], .header = {…}, .payload = {…}, .out = train + i * size};
//   ipsec::encap(engine, burst);                                  // burst[i].drop says what could not be done
//
//   std::array<ipsec::DecapRequest, 32> in;                       // replay check before, by the caller
//   ipsec::decap(engine, in);
//   if (in[i].authentic) sa->replay().commit(in[i].seq);          // even if a later step drops the packet
//   if (!in[i].drop) deliver(in[i].inner);
//
// Threads: the worker that owns engine and SAs. At most crypto::kBurstMax requests at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/drop.h"
#include "crypto/engine.h"
#include "ipsec/sa.h"
#include "wire/esp.h"

namespace testudo::ipsec {

/// Bytes of the ESP packet around `inner_size` bytes: header, IV, inner, padding, trailer, ICV.
[[nodiscard]] constexpr std::size_t encap_size(crypto::Suite suite, std::size_t inner_size) {
  const crypto::SuiteSizes& s = crypto::sizes(suite);
  const std::size_t text = (inner_size + wire::kEspTrailerSize + s.block - 1) / s.block * s.block;
  return wire::kEspHeaderSize + s.iv + text + s.icv;
}

/// The largest inner packet whose ESP packet is not larger than `esp_size` bytes; 0: none is.
[[nodiscard]] constexpr std::size_t inner_size_max(crypto::Suite suite, std::size_t esp_size) {
  const crypto::SuiteSizes& s = crypto::sizes(suite);
  const std::size_t fixed = wire::kEspHeaderSize + s.iv + s.icv;
  const std::size_t text = esp_size > fixed ? (esp_size - fixed) / s.block * s.block : 0;
  return text > wire::kEspTrailerSize ? text - wire::kEspTrailerSize : 0;
}

/// An inner IPv4 packet in two pieces, because a super-segment is cut: fresh headers, payload where it lies.
struct EncapRequest {
  Sa* sa = nullptr;                       // outbound
  SeqNo seq;                              // not 0
  std::span<const std::uint8_t> header;   // first piece of the inner packet
  std::span<const std::uint8_t> payload;  // second piece; may be empty
  std::uint8_t* out = nullptr;            // takes encap_size() bytes; overlaps no piece
  std::optional<Drop> drop;  // set: kSequenceExhausted (no number or no IV left), and `out` is not a packet
};

/// Protects a burst. Counts bytes and packets on each SA.
void encap(crypto::Engine& engine, std::span<EncapRequest> burst);

struct DecapRequest {
  Sa* sa = nullptr;              // inbound
  SeqNo seq;                     // the full number, as the caller inferred or was told; its low half is checked
  std::uint8_t* data = nullptr;  // the ESP packet; changed, unless `out` is set
  std::uint32_t size = 0;        // bytes
  std::uint8_t* out = nullptr;   // set: works in these `size` bytes, and leaves `data` as it is
  // results
  bool authentic = false;         // the ICV is right
  std::optional<Drop> drop;       // nothing: `inner` is a good packet
  std::span<std::uint8_t> inner;  // one whole IPv4 packet, within `data` or `out`
};

/// Verifies and decrypts a burst. Counts bytes and packets of what it delivers on each SA.
/// Drops: kTruncated, kMalformed (sizes, sequence number), kBadIcv, kBadPadding, kUnsupported (next header is not
/// IPv4; dummy packets too).
void decap(crypto::Engine& engine, std::span<DecapRequest> burst);

/// DSCP and ECN of the outer header for an inner packet: DSCP copied, ECN Not-ECT. The inner header stays untouched
/// by what the outer one met on its way: RFC 6040's compatibility mode.
[[nodiscard]] constexpr std::uint8_t outer_traffic_class(std::uint8_t inner) { return inner & 0xfc; }

}  // namespace testudo::ipsec
