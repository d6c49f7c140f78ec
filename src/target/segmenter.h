// SPDX-License-Identifier: Apache-2.0
// Segmenter: cuts a super-segment from the kernel into what goes on the wire, TCP segments or UDP datagrams, and
// completes checksums that the kernel left to the device. What a network card does under the names TSO and USO.
//
//   const auto cut = target::Segmenter::of(packet);      // nothing: malformed
//   for (std::uint32_t i = 0; i < cut->count(); ++i) {
//     const target::Segment s = cut->segment(i, header_room);   // s.header lies in the room, s.payload in the
//     packet
//   }
//
// A packet that is no super-segment is its own single segment. Any thread; nothing is kept but views of the packet.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "wire/ip.h"
#include "wire/packet.h"
#include "wire/tcp.h"

namespace testudo::target {

/// IPv4 and TCP headers with all options; IPv6 and TCP headers with 20 bytes of extension headers.
using SegmentHeader = std::array<std::uint8_t, 120>;

struct Segment {
  std::span<const std::uint8_t> header;   // IP and TCP headers; of a packet that is left as it is: all of it
  std::span<const std::uint8_t> payload;  // may be empty
  [[nodiscard]] std::size_t size() const { return header.size() + payload.size(); }
};

class Segmenter {
 public:
  /// Nothing unless it is a whole IP packet, and TCP or UDP if it must be cut or its checksum is missing.
  static std::optional<Segmenter> of(const wire::Packet& packet);

  [[nodiscard]] std::uint32_t count() const { return count_; }
  /// Bytes of the largest segment, headers included.
  [[nodiscard]] std::size_t largest() const { return headers_ + (count_ > 1 ? segment_size_ : payload_.size()); }
  /// The segment with this index, complete with checksums (RFC 9293 section 3.1, RFC 768, RFC 791). Its header is
  /// written to `room` if anything in it differs from the packet's.
  [[nodiscard]] Segment segment(std::uint32_t index, SegmentHeader& room) const;

 private:
  Segmenter() = default;
  bool find_transport(const wire::IpView& ip);
  void set_lengths(std::span<std::uint8_t> header, std::size_t payload, std::uint32_t index) const;
  void set_tcp(wire::TcpHeader& tcp, std::size_t offset, std::uint32_t index) const;
  void finish_checksum(std::span<std::uint8_t> header, std::span<const std::uint8_t> payload) const;

  std::span<const std::uint8_t> packet_;
  std::span<const std::uint8_t> payload_;  // behind all headers
  std::size_t ip_size_ = 0;                // bytes of the IP header
  std::size_t headers_ = 0;                // bytes of all headers
  IpAddress source_, destination_;
  std::uint8_t protocol_ = 0;    // TCP or UDP
  std::size_t checksum_at_ = 0;  // of the TCP or UDP checksum, from the packet's start
  std::uint32_t segment_size_ = 0;
  std::uint32_t count_ = 1;
  bool untouched_ = true;  // one segment whose checksum is there
};

}  // namespace testudo::target
