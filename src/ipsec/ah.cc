// SPDX-License-Identifier: Apache-2.0
#include "ipsec/ah.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "wire/ip.h"

namespace testudo::ipsec {
namespace {

// IPv4 options (RFC 4302 appendix A1). Whatever is not in its list of immutable ones is zeroed as a whole.
constexpr std::uint8_t kEndOfOptions = 0, kNoOperation = 1;
constexpr std::uint8_t kLooseRoute = 131, kStrictRoute = 137;

constexpr bool is_immutable(std::uint8_t option) {
  switch (option) {
    case 130:  // security
    case 133:  // extended security
    case 134:  // commercial security
    case 148:  // router alert
    case 149:  // sender directed multi-destination delivery
      return true;
    default:
      return false;
  }
}

// A route whose pointer is not behind its last address: the destination will change.
bool is_on_its_way(std::span<const std::uint8_t> option) {
  return (option[0] == kLooseRoute || option[0] == kStrictRoute) && option.size() > 2 && option[2] <= option.size();
}

std::optional<Drop> zero_options_v4(std::span<std::uint8_t> options) {
  while (!options.empty() && options[0] != kEndOfOptions) {
    if (options[0] == kNoOperation) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return Drop::kMalformed;
    const auto option = options.first(options[1]);
    if (is_on_its_way(option)) return Drop::kUnsupported;
    if (!is_immutable(option[0])) std::memset(option.data(), 0, option.size());
    options = options.subspan(option.size());
  }
  return std::nullopt;
}

// Section 3.3.3.1.1.
std::optional<Drop> zero_v4(std::span<std::uint8_t> head) {
  auto& ip = *reinterpret_cast<wire::Ipv4Header*>(head.data());
  ip.traffic_class = 0;
  ip.flags_offset = Be<std::uint16_t>(0);
  ip.ttl = 0;
  ip.checksum = Be<std::uint16_t>(0);
  if (head.size() == wire::kIpv4HeaderSize) return std::nullopt;
  return zero_options_v4(head.subspan(wire::kIpv4HeaderSize));
}

// Section 3.3.3.1.2.2: an option whose third-highest bit says that its data may change keeps type and length.
std::optional<Drop> zero_options_v6(std::span<std::uint8_t> options) {
  constexpr std::uint8_t kPad1 = 0, kMayChange = 0x20;
  while (!options.empty()) {
    if (options[0] == kPad1) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || std::size_t{2} + options[1] > options.size()) return Drop::kMalformed;
    const auto data = options.subspan(2, options[1]);
    if ((options[0] & kMayChange) != 0) std::memset(data.data(), 0, data.size());
    options = options.subspan(2 + data.size());
  }
  return std::nullopt;
}

// Section 3.3.3.1.2.1 and appendix A2: as the final destination sees it. Types 0 (RFC 2460 section 4.4) and 2 (RFC
// 6275 section 6.4) hold addresses, of which the last is the final destination; each hop swaps one with the
// header's.
std::optional<Drop> rearrange(wire::Ipv6Header& ip, std::span<std::uint8_t> routing) {
  using Address = std::array<std::uint8_t, 16>;
  const std::uint8_t type = routing[2];
  const std::size_t left = routing[3];
  if (left == 0) return std::nullopt;
  if (type != 0 && type != 2) return Drop::kUnsupported;
  const auto list = routing.subspan(8);
  const std::size_t count = list.size() / sizeof(Address);
  if (list.size() % sizeof(Address) != 0 || left > count) return Drop::kMalformed;
  std::uint8_t* next = list.data() + (count - left) * sizeof(Address);
  Address final_destination;
  std::memcpy(final_destination.data(), list.data() + (count - 1) * sizeof(Address), sizeof(Address));
  std::memmove(next + sizeof(Address), next, (left - 1) * sizeof(Address));
  std::memcpy(next, ip.destination_bytes, sizeof(Address));
  std::memcpy(ip.destination_bytes, final_destination.data(), sizeof(Address));
  routing[3] = 0;
  return std::nullopt;
}

std::optional<Drop> zero_extension(wire::Ipv6Header& ip, std::uint8_t kind, std::span<std::uint8_t> header) {
  switch (kind) {
    case wire::kProtocolHopByHop:
    case wire::kProtocolDestinationOptions:
      return zero_options_v6(header.subspan(2));
    case wire::kProtocolRouting:
      return rearrange(ip, header);
    default:  // a fragment header: AH protects whole packets only
      return Drop::kUnsupported;
  }
}

std::optional<Drop> zero_v6(std::span<std::uint8_t> head) {
  auto& ip = *reinterpret_cast<wire::Ipv6Header*>(head.data());
  ip.version_class_label = Be<std::uint32_t>(6u << 28);
  ip.hop_limit = 0;
  std::uint8_t kind = ip.next_header;
  for (auto rest = head.subspan(wire::kIpv6HeaderSize); !rest.empty();) {
    if (rest.size() < 8) return Drop::kMalformed;
    const std::size_t size = reinterpret_cast<const wire::Ipv6Extension*>(rest.data())->size();
    if (kind == wire::kProtocolFragment) return Drop::kUnsupported;
    if (size > rest.size()) return Drop::kMalformed;
    const std::uint8_t next = rest[0];
    if (const auto drop = zero_extension(ip, kind, rest.first(size))) return drop;
    kind = next;
    rest = rest.subspan(size);
  }
  return std::nullopt;
}

}  // namespace

std::optional<Drop> zero_mutable(std::span<std::uint8_t> head) {
  if (head.size() < wire::kIpv4HeaderSize) return Drop::kTruncated;
  if (head[0] >> 4 == 4) return zero_v4(head);
  return head.size() < wire::kIpv6HeaderSize ? std::optional(Drop::kTruncated) : zero_v6(head);
}

}  // namespace testudo::ipsec
