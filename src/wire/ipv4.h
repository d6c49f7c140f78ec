// SPDX-License-Identifier: Apache-2.0
// IPv4 headers (RFC 791): parse and build.
//
//   if (auto ip = wire::parse_ipv4(bytes)) {
//     if (ip->is_fragment()) return Drop::kFragment;
//     use(ip->source(), ip->destination(), ip->protocol(), ip->payload());
//   }
//   wire::build_ipv4(head, {.source = peer, .destination = dvipa, .protocol = wire::kProtocolEsp}, esp.size());
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "base/address.h"
#include "base/byte_order.h"
#include "base/check.h"
#include "wire/checksum.h"

namespace testudo::wire {

inline constexpr std::uint8_t kProtocolIcmp = 1;
inline constexpr std::uint8_t kProtocolIpip = 4;
inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint8_t kProtocolEsp = 50;
inline constexpr std::uint8_t kProtocolAh = 51;

inline constexpr std::uint16_t kDontFragment = 0x4000;
inline constexpr std::uint16_t kMoreFragments = 0x2000;
inline constexpr std::uint16_t kFragmentOffsetMask = 0x1fff;  // units of 8 bytes

inline constexpr std::size_t kIpv4HeaderSize = 20;     // bytes, without options
inline constexpr std::size_t kIpv4HeaderSizeMax = 60;  // bytes, with options

/// As on the wire, without options.
struct Ipv4Header {
  std::uint8_t version_ihl = 0x45;  // version, header length in units of 4 bytes
  std::uint8_t traffic_class = 0;   // DSCP (6 bits), ECN (2 bits)
  Be<std::uint16_t> total_length;   // bytes, header included
  Be<std::uint16_t> id;
  Be<std::uint16_t> flags_offset;  // kDontFragment, kMoreFragments, fragment offset
  std::uint8_t ttl = 0;
  std::uint8_t protocol = 0;
  Be<std::uint16_t> checksum;  // of the header, options included
  Be<std::uint32_t> source, destination;
};
static_assert(sizeof(Ipv4Header) == kIpv4HeaderSize && alignof(Ipv4Header) == 1);

/// A header whose lengths have been checked, and what follows it. A view: valid as long as the bytes are.
class Ipv4View {
 public:
  [[nodiscard]] const Ipv4Header& header() const { return *reinterpret_cast<const Ipv4Header*>(bytes_); }
  [[nodiscard]] IpAddress source() const { return IpAddress(header().source.host()); }
  [[nodiscard]] IpAddress destination() const { return IpAddress(header().destination.host()); }
  [[nodiscard]] std::uint8_t protocol() const { return header().protocol; }
  [[nodiscard]] std::size_t header_size() const { return std::size_t{header().version_ihl & 0xfu} * 4; }
  [[nodiscard]] std::size_t total_size() const { return header().total_length.host(); }
  /// Any fragment, the first one too.
  [[nodiscard]] bool is_fragment() const {
    return (header().flags_offset.host() & (kMoreFragments | kFragmentOffsetMask)) != 0;
  }
  [[nodiscard]] bool is_first_fragment() const {
    return is_fragment() && (header().flags_offset.host() & kFragmentOffsetMask) == 0;
  }
  [[nodiscard]] bool dont_fragment() const { return (header().flags_offset.host() & kDontFragment) != 0; }
  /// Header and payload, without what may follow the total length.
  [[nodiscard]] std::span<const std::uint8_t> packet() const { return {bytes_, present_}; }
  /// What follows the header. After parse_ipv4_prefix() it may be cut short.
  [[nodiscard]] std::span<const std::uint8_t> payload() const { return packet().subspan(header_size()); }
  /// RFC 1122 section 3.2.1.2. parse_ipv4() does not check it.
  [[nodiscard]] bool checksum_is_right() const;

 private:
  friend std::optional<Ipv4View> parse_ipv4(std::span<const std::uint8_t> bytes);
  friend std::optional<Ipv4View> parse_ipv4_prefix(std::span<const std::uint8_t> bytes);
  Ipv4View(const std::uint8_t* bytes, std::size_t present) : bytes_(bytes), present_(present) {}

  const std::uint8_t* bytes_;
  std::size_t present_;  // bytes of the packet that are there; total_size() unless a prefix was parsed
};

/// Nothing unless it is version 4, the header is whole with its options, and the total length covers the header and
/// is there. Bytes after the total length are ignored (Ethernet and TFC padding).
[[nodiscard]] std::optional<Ipv4View> parse_ipv4(std::span<const std::uint8_t> bytes);

/// The same for the beginning of a packet: the header must be whole, the payload may be cut short.
[[nodiscard]] std::optional<Ipv4View> parse_ipv4_prefix(std::span<const std::uint8_t> bytes);

/// The fields that a fresh header does not compute by itself.
struct Ipv4Fields {
  IpAddress source, destination;
  std::uint8_t protocol = 0;
  std::uint16_t id = 0;            // the caller's counter: unique per (source, destination, protocol) unless DF
  std::uint8_t traffic_class = 0;  // DSCP and ECN
  bool dont_fragment = true;
  std::uint8_t ttl = 64;
};

/// Writes a header without options, checksum included. `payload_size` bytes follow it: CHECKed to fit.
inline void build_ipv4(std::span<std::uint8_t, kIpv4HeaderSize> out, const Ipv4Fields& fields,
                       std::size_t payload_size) {
  CHECK(payload_size <= 0xffff - kIpv4HeaderSize);
  const auto total = static_cast<std::uint16_t>(kIpv4HeaderSize + payload_size);
  const std::uint16_t flags = fields.dont_fragment ? kDontFragment : std::uint16_t{0};
  Ipv4Header header;
  header.traffic_class = fields.traffic_class;
  header.total_length = Be<std::uint16_t>(total);
  header.id = Be<std::uint16_t>(fields.id);
  header.flags_offset = Be<std::uint16_t>(flags);
  header.ttl = fields.ttl;
  header.protocol = fields.protocol;
  header.source = Be<std::uint32_t>(fields.source.v4());
  header.destination = Be<std::uint32_t>(fields.destination.v4());
  // Of the values, not of bytes that were written a moment ago, which the CPU would have to wait for.
  const ChecksumSum sum = ChecksumSum{0x4500} + fields.traffic_class + total + fields.id + flags +
                          (std::uint32_t{fields.ttl} << 8 | fields.protocol) + fields.source.v4() +
                          fields.destination.v4();
  header.checksum = Be<std::uint16_t>(fold(sum));
  std::memcpy(out.data(), &header, sizeof header);
}

}  // namespace testudo::wire
