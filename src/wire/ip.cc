// SPDX-License-Identifier: Apache-2.0
#include "wire/ip.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace testudo::wire {

/// One parse: `view` is filled step by step. Each step says whether to go on; `needed` is set when bytes are
/// missing.
struct IpWalk {
  std::span<const std::uint8_t> bytes;
  IpView& view;
  std::size_t needed = 0;

  bool run() {
    if (bytes.empty()) return lacks(1);
    view.bytes_ = bytes.data();
    switch (bytes[0] >> 4) {
      case 4:
        return v4();
      case 6:
        return v6();
      default:
        return false;
    }
  }

 private:
  /// False, and how far the bytes would have to reach.
  bool lacks(std::size_t size) {
    needed = size;
    return false;
  }

  bool v4() {
    if (bytes.size() < kIpv4HeaderSize) return lacks(kIpv4HeaderSize);
    const std::size_t size = std::size_t{bytes[0] & 0xfu} * 4;
    if (size < kIpv4HeaderSize || view.total_size() < size) return false;
    if (size > bytes.size()) return lacks(size);
    view.present_ = std::min(view.total_size(), bytes.size());
    view.header_size_ = view.protect_offset_ = size;
    view.protocol_ = view.v4().protocol;
    view.protect_name_at_ = view.protocol_at_ = offsetof(Ipv4Header, protocol);
    const std::uint16_t fragment = view.v4().flags_offset.host();
    view.fragment_offset_ = static_cast<std::size_t>(fragment & kFragmentOffsetMask) * 8;
    view.more_fragments_ = (fragment & kMoreFragments) != 0;
    return true;
  }

  bool v6() {
    if (bytes.size() < kIpv6HeaderSize) return lacks(kIpv6HeaderSize);
    const Ipv6Header& header = view.v6();
    // A v4-mapped address would be taken for IPv4's. No host has one on the wire (RFC 4038 section 4.2).
    if (header.source().is_v4() || header.destination().is_v4()) return false;
    view.present_ = std::min(view.total_size(), bytes.size());
    view.header_size_ = view.protect_offset_ = kIpv6HeaderSize;
    view.protocol_ = header.next_header;
    view.protect_name_at_ = view.protocol_at_ = offsetof(Ipv6Header, next_header);
    for (std::size_t headers = 0; is_extension(view.protocol_); ++headers) {
      if (headers == kIpv6ExtensionsMax || !extension(headers)) return false;
      if (view.fragment_offset_ != 0) break;  // what follows is from the middle of something
    }
    return true;
  }

  static bool is_extension(std::uint8_t protocol) {
    return protocol == kProtocolHopByHop || protocol == kProtocolRouting || protocol == kProtocolFragment ||
           protocol == kProtocolDestinationOptions || protocol == kProtocolMobility;
  }

  bool extension(std::size_t number) {
    const std::size_t at = view.header_size_;
    const std::uint8_t kind = view.protocol_;
    if (kind == kProtocolHopByHop && number != 0) return false;  // RFC 8200 section 4.1
    if (at + sizeof(Ipv6Fragment) > view.total_size()) return false;
    if (at + sizeof(Ipv6Fragment) > bytes.size()) return lacks(at + sizeof(Ipv6Fragment));
    const auto& header = *reinterpret_cast<const Ipv6Extension*>(bytes.data() + at);
    const std::size_t size = kind == kProtocolFragment ? kIpv6FragmentSize : header.size();
    if (at + size > view.total_size()) return false;
    if (at + size > bytes.size()) return lacks(at + size);
    if (kind == kProtocolFragment && !fragment(at)) return false;
    view.header_size_ = at + size;
    view.protocol_ = header.next_header;
    view.protocol_at_ = at;
    // Destination options count to the front part only when a routing or fragment header follows them: then that
    // header moves the mark behind both.
    if (kind != kProtocolDestinationOptions && kind != kProtocolMobility) {
      view.protect_offset_ = view.header_size_;
      view.protect_name_at_ = at;
    }
    return true;
  }

  bool fragment(std::size_t at) {
    if (view.has_fragment_header_) return false;
    const auto& header = *reinterpret_cast<const Ipv6Fragment*>(bytes.data() + at);
    view.has_fragment_header_ = true;
    view.fragment_offset_ = header.offset();
    view.more_fragments_ = header.more();
    return true;
  }
};

// Views are filled where they are returned: a copy of what was written a moment ago makes the CPU wait.

std::optional<IpView> parse_ip(std::span<const std::uint8_t> bytes) {
  std::optional<IpView> view(std::in_place);
  IpWalk walk{bytes, *view, 0};
  if (!walk.run() || view->total_size() > bytes.size()) view.reset();
  return view;
}

IpPrefixView parse_ip_prefix(std::span<const std::uint8_t> bytes) {
  IpPrefixView prefix{.view = std::optional<IpView>(std::in_place)};
  IpWalk walk{bytes, *prefix.view, 0};
  if (walk.run()) return prefix;
  prefix.view.reset();
  prefix.needed = walk.needed;
  return prefix;
}

namespace {

void build_v6(std::span<std::uint8_t> out, const IpFields& fields, std::size_t payload_size) {
  CHECK(payload_size <= 0xffff && fields.destination.is_v6());
  Ipv6Header header;
  header.version_class_label =
      Be<std::uint32_t>(6u << 28 | std::uint32_t{fields.traffic_class} << 20 | (fields.flow_label & 0xfffff));
  header.payload_length = Be<std::uint16_t>(static_cast<std::uint16_t>(payload_size));
  header.next_header = fields.protocol;
  header.hop_limit = fields.hop_limit;
  const auto source = fields.source.bytes();
  const auto destination = fields.destination.bytes();
  std::memcpy(header.source_bytes, source.data(), source.size());
  std::memcpy(header.destination_bytes, destination.data(), destination.size());
  std::memcpy(out.data(), &header, sizeof header);
}

}  // namespace

std::size_t build_ip(std::span<std::uint8_t> out, const IpFields& fields, std::size_t payload_size) {
  const std::size_t size = ip_header_size(fields.source);
  CHECK(out.size() >= size);
  if (!fields.source.is_v4()) {
    build_v6(out, fields, payload_size);
    return size;
  }
  build_ipv4(out.first<kIpv4HeaderSize>(),
             {.source = fields.source,
              .destination = fields.destination,
              .protocol = fields.protocol,
              .id = fields.id,
              .traffic_class = fields.traffic_class,
              .dont_fragment = fields.dont_fragment,
              .ttl = fields.hop_limit},
             payload_size);
  return size;
}

}  // namespace testudo::wire
