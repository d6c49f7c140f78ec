// SPDX-License-Identifier: Apache-2.0
// Which consecutive TCP segments can be joined to one super-segment, so that cutting it again (TSO) gives exactly
// the same packets: the rules of the kernel's GRO.
//
//   const std::size_t n = io::joinable(burst);           // ≥ 1: the first n are one run
//   if (n > 1) io::JoinedHeader header(burst.first(n));  // header.bytes(), then each segment's payload
//
// One run: IPv4 without options, or IPv6 without extension headers, not a fragment; same addresses, TTL, traffic
// class, DF, flow label; IPv4 identifications that rise by one (with DF any); TCP ports, acknowledgement, window
// and options equal; contiguous sequence numbers; flags ACK, and PSH only on the last; equal payload sizes, the
// last may be shorter but not empty; correct TCP checksums; 64 KiB in all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "wire/packet.h"

namespace testudo::io {

inline constexpr std::size_t kJoinedSegmentsMax = 64;

/// How many of the first packets can be joined: 1 if the first one stands alone. `burst` is not empty.
[[nodiscard]] std::size_t joinable(std::span<const wire::Outgoing> burst);

/// The IP and TCP headers of a joined run, checksum offload style: the TCP checksum holds the pseudo header's sum.
class JoinedHeader {
 public:
  /// `run` is what joinable() has counted, at least one packet.
  explicit JoinedHeader(std::span<const wire::Outgoing> run);
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }
  [[nodiscard]] std::uint16_t segment_size() const { return segment_size_; }  // bytes of payload
  [[nodiscard]] std::size_t ip_size() const { return ip_size_; }              // bytes of IP header

 private:
  std::array<std::uint8_t, 40 + 60> bytes_{};
  std::size_t size_ = 0;
  std::size_t ip_size_ = 0;
  std::uint16_t segment_size_ = 0;
};

}  // namespace testudo::io
