// SPDX-License-Identifier: Apache-2.0
// IP packets of either version, as the stages see them: IPv4 with its options (RFC 791), IPv6 with its extension
// headers, walked one by one (RFC 8200 section 4).
//
//   if (auto ip = wire::parse_ip(bytes)) {
//     if (ip->is_fragment()) return Drop::kFragment;
//     use(ip->source(), ip->destination(), ip->protocol(), ip->payload());
//   }
//   const std::size_t size = wire::build_ip(head, {.source = peer, .destination = dvipa, .protocol = kProtocolEsp},
//   n);
//
// The walk ends at what is no extension header: TCP, UDP, ICMPv6, ESP, AH (which ipsec/ takes off), an inner
// packet, "no next header", or behind a fragment header that is not the first fragment's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace testudo::wire {

/// Room for any header that build_ip() writes.
inline constexpr std::size_t kIpHeaderSizeMax = kIpv6HeaderSize;  // bytes

/// Headers whose lengths have been checked, and what follows them. A view: valid as long as the bytes are.
class IpView {
 public:
  [[nodiscard]] bool is_v4() const { return bytes_[0] >> 4 == 4; }
  [[nodiscard]] IpAddress source() const { return is_v4() ? IpAddress(v4().source.host()) : v6().source(); }
  [[nodiscard]] IpAddress destination() const {
    return is_v4() ? IpAddress(v4().destination.host()) : v6().destination();
  }
  /// Of what payload() begins with: for IPv6 the next header at the end of the chain.
  [[nodiscard]] std::uint8_t protocol() const { return protocol_; }
  /// DSCP (6 bits) and ECN (2 bits).
  [[nodiscard]] std::uint8_t traffic_class() const { return is_v4() ? v4().traffic_class : v6().traffic_class(); }
  /// IPv4's time to live, IPv6's hop limit.
  [[nodiscard]] std::uint8_t hop_limit() const { return is_v4() ? v4().ttl : v6().hop_limit; }
  /// IPv6 is never fragmented on the way.
  [[nodiscard]] bool dont_fragment() const { return !is_v4() || (v4().flags_offset.host() & kDontFragment) != 0; }
  /// Header with options, or with extension headers. After parse_ip_prefix() and behind a fragment it may still be
  /// that more headers follow in the packet that was cut.
  [[nodiscard]] std::size_t header_size() const { return header_size_; }
  /// Header and payload as the header's length says.
  [[nodiscard]] std::size_t total_size() const {
    return is_v4() ? v4().total_length.host() : kIpv6HeaderSize + v6().payload_length.host();
  }
  /// Any fragment, the first one too; of IPv6 also an atomic one (RFC 6946), which is whole all the same.
  [[nodiscard]] bool is_fragment() const { return fragment_offset_ != 0 || more_fragments_; }
  /// Bytes; 0: not a fragment, or the first one.
  [[nodiscard]] std::size_t fragment_offset() const { return fragment_offset_; }
  [[nodiscard]] bool more_fragments() const { return more_fragments_; }
  /// IPv6: where in the packet the first of the headers that only the destination looks at may be put (ESP and AH
  /// in transport mode: RFC 4303 section 3.1.1): behind hop-by-hop options, routing header and the destination
  /// options before it, and the fragment header. IPv4: behind the options.
  [[nodiscard]] std::size_t protect_offset() const { return protect_offset_; }
  /// Where the byte lies that names what begins at protect_offset().
  [[nodiscard]] std::size_t protect_name_at() const { return protect_name_at_; }
  /// The protocol or next header found there.
  [[nodiscard]] std::uint8_t protect_protocol() const { return bytes_[protect_name_at_]; }
  /// Where the byte lies that names protocol().
  [[nodiscard]] std::size_t protocol_at() const { return protocol_at_; }
  /// An IPv6 fragment header is there, if only an atomic one.
  [[nodiscard]] bool has_fragment_header() const { return has_fragment_header_; }

  /// Headers and payload, without what may follow the total length.
  [[nodiscard]] std::span<const std::uint8_t> packet() const { return {bytes_, present_}; }
  /// What follows the headers. After parse_ip_prefix() it may be cut short.
  [[nodiscard]] std::span<const std::uint8_t> payload() const { return packet().subspan(header_size_); }

 private:
  friend struct IpWalk;
  [[nodiscard]] const Ipv4Header& v4() const { return *reinterpret_cast<const Ipv4Header*>(bytes_); }
  [[nodiscard]] const Ipv6Header& v6() const { return *reinterpret_cast<const Ipv6Header*>(bytes_); }

  const std::uint8_t* bytes_ = nullptr;
  std::size_t present_ = 0;  // bytes of the packet that are there; total_size() unless a prefix was parsed
  std::size_t header_size_ = 0;
  std::size_t protect_offset_ = 0, protect_name_at_ = 0, protocol_at_ = 0;
  std::size_t fragment_offset_ = 0;  // bytes
  std::uint8_t protocol_ = 0;
  bool more_fragments_ = false;
  bool has_fragment_header_ = false;
};

/// Nothing unless all headers are whole and the total length covers them and is there. Bytes after the total length
/// are ignored (Ethernet and TFC padding). Refuses IPv6 with a v4-mapped address, with a hop-by-hop header anywhere
/// but first, a second fragment header, a jumbogram, and more than kIpv6ExtensionsMax extension headers.
[[nodiscard]] std::optional<IpView> parse_ip(std::span<const std::uint8_t> bytes);

/// The beginning of a packet.
struct IpPrefixView {
  std::optional<IpView> view;  // the headers are whole; the payload may be cut short
  /// No view, and not 0: what is there is sound so far, and with so many bytes of the packet the walk gets further
  /// (iterative peek, spec C2).
  std::size_t needed = 0;
};
[[nodiscard]] IpPrefixView parse_ip_prefix(std::span<const std::uint8_t> bytes);

/// The fields that a fresh header does not compute by itself. The version is the addresses'.
struct IpFields {
  IpAddress source, destination;
  std::uint8_t protocol = 0;
  std::uint16_t id = 0;  // IPv4: the caller's counter, unique per (source, destination, protocol) unless DF
  std::uint8_t traffic_class = 0;  // DSCP and ECN
  bool dont_fragment = true;       // IPv4
  std::uint8_t hop_limit = 64;
  std::uint32_t flow_label = 0;  // IPv6
};

/// Bytes of the header that build_ip() writes.
[[nodiscard]] constexpr std::size_t ip_header_size(IpAddress address) {
  return address.is_v4() ? kIpv4HeaderSize : kIpv6HeaderSize;
}

/// Writes a header without options or extension headers, and returns its size. `payload_size` bytes follow it:
/// CHECKed to fit, as are `out` and that both addresses are of one family.
std::size_t build_ip(std::span<std::uint8_t> out, const IpFields& fields, std::size_t payload_size);

}  // namespace testudo::wire
