// SPDX-License-Identifier: Apache-2.0
// IPv4 header (RFC 791): parse with every length checked, and build.
//
//   const std::optional<wire::Ipv4View> ip = wire::parse_ipv4(packet.bytes());
//   if (!ip) return Drop::kTruncated;
//   if (ip->protocol() == wire::kProtocolTcp) use(ip->payload());
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"
#include "base/byte_order.h"
#include "wire/checksum.h"

namespace testudo::wire {

inline constexpr std::uint8_t kProtocolIcmp = 1;
inline constexpr std::uint8_t kProtocolIpip = 4;
inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint8_t kProtocolEsp = 50;

struct Ipv4Header {
  std::uint8_t version_ihl = 0x45;
  std::uint8_t traffic_class = 0;  // DSCP and ECN
  Be<std::uint16_t> total_length;
  Be<std::uint16_t> identification;
  Be<std::uint16_t> flags_fragment;  // reserved, DF, MF, then the offset in units of 8 bytes
  std::uint8_t ttl = 64;
  std::uint8_t protocol = 0;
  Be<std::uint16_t> checksum;
  Be<std::uint32_t> source;
  Be<std::uint32_t> destination;
};
static_assert(sizeof(Ipv4Header) == 20 && alignof(Ipv4Header) == 1);

inline constexpr std::uint16_t kDontFragment = 0x4000;

/// A packet whose header is whole and whose lengths agree. A view of the bytes it was parsed from.
class Ipv4View {
 public:
  Ipv4View(const std::uint8_t* data, std::size_t header_size, std::size_t total)
      : data_(data), header_size_(header_size), total_(total) {}

  [[nodiscard]] const Ipv4Header& header() const { return *reinterpret_cast<const Ipv4Header*>(data_); }
  [[nodiscard]] std::size_t header_size() const { return header_size_; }  // bytes, with options
  [[nodiscard]] Ipv4Address source() const { return Ipv4Address(header().source.host()); }
  [[nodiscard]] Ipv4Address destination() const { return Ipv4Address(header().destination.host()); }
  [[nodiscard]] std::uint8_t protocol() const { return header().protocol; }
  /// Any fragment: the first one too.
  [[nodiscard]] bool is_fragment() const { return (header().flags_fragment.host() & 0x3fff) != 0; }
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {data_, total_}; }
  [[nodiscard]] std::span<const std::uint8_t> payload() const {
    return {data_ + header_size_, total_ - header_size_};
  }

 private:
  const std::uint8_t* data_;
  std::size_t header_size_;
  std::size_t total_;
};

/// Nothing if it is not IPv4, or shorter than its header or its total length say. Bytes after the total length are
/// ignored. The header checksum is not looked at (the kernel has).
[[nodiscard]] inline std::optional<Ipv4View> parse_ipv4(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < sizeof(Ipv4Header) || bytes[0] >> 4 != 4) return std::nullopt;
  const std::size_t header_size = (bytes[0] & 15) * std::size_t{4};
  const std::size_t total = (std::size_t{bytes[2]} << 8) | bytes[3];
  if (header_size < sizeof(Ipv4Header) || total < header_size || total > bytes.size()) return std::nullopt;
  return Ipv4View(bytes.data(), header_size, total);
}

/// The same for the front of a packet of which only `bytes` are at hand (peek): the header must be whole, the total
/// length may say more.
[[nodiscard]] inline std::optional<Ipv4View> parse_ipv4_front(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < sizeof(Ipv4Header) || bytes[0] >> 4 != 4) return std::nullopt;
  const std::size_t header_size = (bytes[0] & 15) * std::size_t{4};
  if (header_size < sizeof(Ipv4Header) || header_size > bytes.size()) return std::nullopt;
  return Ipv4View(bytes.data(), header_size, bytes.size());
}

/// A fresh header without options, checksum filled in. `payload`: bytes that follow it.
struct NewIpv4 {
  Ipv4Address source, destination;
  std::uint8_t protocol = 0;
  std::size_t payload = 0;
  std::uint8_t traffic_class = 0;
  std::uint16_t identification = 0;
  bool dont_fragment = true;
};
[[nodiscard]] inline Ipv4Header build_ipv4(const NewIpv4& of) {
  Ipv4Header header;
  header.traffic_class = of.traffic_class;
  header.total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(sizeof header + of.payload));
  header.identification = Be<std::uint16_t>(of.identification);
  header.flags_fragment = Be<std::uint16_t>(of.dont_fragment ? kDontFragment : 0);
  header.protocol = of.protocol;
  header.source = Be<std::uint32_t>(of.source.value());
  header.destination = Be<std::uint32_t>(of.destination.value());
  header.checksum = Be<std::uint16_t>(checksum({reinterpret_cast<const std::uint8_t*>(&header), sizeof header}));
  return header;
}

}  // namespace testudo::wire
