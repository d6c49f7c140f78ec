// SPDX-License-Identifier: Apache-2.0
// Segmenter: cuts a TCP or UDP super-segment from the kernel into the packets that go on the wire, and completes
// checksums that the kernel left to the device: what a network card does under the names TSO and USO. Over IPv4 and
// IPv6, with options and extension headers. It also cuts a packet into IP fragments.
//
//   const auto cut = target::Segmenter::of(packet);      // nothing: malformed
//   for (std::uint32_t i = 0; i < cut->count(); ++i) {
//     const target::Segment s = cut->segment(i, header_room);   // s.header lies in the room, s.payload in the
//     packet
//   }
//   if (cut->largest() > mtu && cut->count() == 1) pieces = cut->fragments(mtu, id);
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

namespace testudo::target {

/// IP with options or extension headers, and TCP with all options. More in a packet that must be cut is refused.
using SegmentHeader = std::array<std::uint8_t, 256>;

struct Segment {
  std::span<const std::uint8_t> header;   // all headers; of a packet that is left as it is: all of it
  std::span<const std::uint8_t> payload;  // may be empty
  bool lent = false;                      // ipsec::EncapRequest::lent: the packet goes on around the payload
  [[nodiscard]] std::size_t size() const { return header.size() + payload.size(); }
};

class Segmenter {
 public:
  /// Nothing unless it is a whole IP packet, and no fragment but TCP or UDP if it must be cut or its checksum is
  /// missing.
  static std::optional<Segmenter> of(const wire::Packet& packet);
  /// The same packet in IP fragments of at most `mtu` bytes (RFC 791, RFC 8200 section 4.5), the checksum completed
  /// in the packet itself. `id`: of IPv6. Only when count() is 1. Nothing: it is a fragment already, or `mtu`
  /// leaves no room for 8 bytes.
  [[nodiscard]] std::optional<Segmenter> fragments(std::size_t mtu, std::uint32_t id) const;

  [[nodiscard]] std::uint32_t count() const { return count_; }
  /// Bytes of the largest segment, headers included.
  [[nodiscard]] std::size_t largest() const { return headers_ + (count_ > 1 ? segment_size_ : payload_.size()); }
  /// The segment with this index, complete with checksums (RFC 9293 section 3.1, RFC 791). Its header is written to
  /// `room` if anything in it differs from the packet's.
  [[nodiscard]] Segment segment(std::uint32_t index, SegmentHeader& room) const;

 private:
  enum class What : std::uint8_t {
    kAsItIs,
    kTransport,  // cut or not, its checksums are written
    kFragments,
  };

  Segmenter() = default;
  void find_transport(const wire::IpView& ip);
  void finish_checksum(std::span<std::uint8_t> header, std::span<const std::uint8_t> payload) const;
  void set_lengths(std::span<std::uint8_t> header, std::size_t payload, std::uint32_t index, bool last) const;
  [[nodiscard]] Segment fragment(std::uint32_t index, SegmentHeader& room) const;

  std::span<std::uint8_t> packet_;
  std::span<const std::uint8_t> payload_;  // behind all headers that are repeated
  std::size_t ip_size_ = 0;                // bytes of the IP header, with options or extension headers
  std::size_t headers_ = 0;                // bytes of all headers of a segment
  std::size_t checksum_at_ = 0;            // of the TCP or UDP checksum, from the packet's start; 0: it has none
  std::size_t name_at_ = 0;                // fragments of IPv6: what names the first header that is cut
  std::uint32_t segment_size_ = 0;
  std::uint32_t count_ = 1;
  std::uint32_t id_ = 0;  // fragments of IPv6
  IpAddress source_, destination_;
  std::uint8_t protocol_ = 0;
  What what_ = What::kAsItIs;
};

}  // namespace testudo::target
