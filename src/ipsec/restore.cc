// SPDX-License-Identifier: Apache-2.0
#include "ipsec/restore.h"

#include <cstddef>
#include <cstring>

#include "ipsec/ecn.h"
#include "wire/checksum.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::ipsec {
namespace {

std::uint16_t load16(const std::uint8_t* at) {
  Be<std::uint16_t> value;
  std::memcpy(&value, at, sizeof value);
  return value.host();
}

void store16(std::uint8_t* at, std::uint16_t value) {
  const Be<std::uint16_t> be(value);
  std::memcpy(at, &be, sizeof be);
}

void set_ecn_v4(std::uint8_t* ip, std::uint8_t ecn) {
  constexpr std::size_t kChecksumAt = offsetof(wire::Ipv4Header, checksum);
  const std::uint16_t before = load16(ip);  // version, header length, traffic class
  const auto after = static_cast<std::uint16_t>((before & ~kEcnMask) | ecn);
  if (before == after) return;
  store16(ip, after);
  store16(ip + kChecksumAt, wire::update_checksum(load16(ip + kChecksumAt), before, after));
}

// Where the checksum lies in the segment; 0: it has none.
std::size_t checksum_at(std::uint8_t protocol) {
  switch (protocol) {
    case wire::kProtocolTcp:
      return offsetof(wire::TcpHeader, checksum);
    case wire::kProtocolUdp:
      return offsetof(wire::UdpHeader, checksum);
    case wire::kProtocolIcmpv6:
      return 2;
    default:
      return 0;
  }
}

}  // namespace

void set_ecn(std::span<std::uint8_t> packet, std::uint8_t ecn) {
  if (packet[0] >> 4 == 4) return set_ecn_v4(packet.data(), ecn);
  packet[1] = static_cast<std::uint8_t>((packet[1] & ~(kEcnMask << 4)) | ecn << 4);
}

std::span<std::uint8_t> restore_header(std::span<std::uint8_t> head, std::span<std::uint8_t> text,
                                       std::uint8_t protocol) {
  const auto view = wire::parse_ip_prefix(head).view;
  if (!view) return {};
  const std::size_t name_at = view->protocol_at();
  std::uint8_t* at = text.data() - head.size();
  std::memmove(at, head.data(), head.size());
  const std::size_t size = head.size() + text.size();
  at[name_at] = protocol;
  if (at[0] >> 4 == 4) {
    auto& ip = *reinterpret_cast<wire::Ipv4Header*>(at);
    ip.total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(size));
    ip.checksum = Be<std::uint16_t>(0);
    ip.checksum = Be<std::uint16_t>(wire::checksum({at, head.size()}));
  } else {
    auto& ip = *reinterpret_cast<wire::Ipv6Header*>(at);
    ip.payload_length = Be<std::uint16_t>(static_cast<std::uint16_t>(size - wire::kIpv6HeaderSize));
  }
  return {at, size};
}

std::span<std::uint8_t> write_header(const wire::IpFields& fields, std::span<std::uint8_t> text) {
  const std::size_t head = wire::ip_header_size(fields.source);
  if (head + text.size() > 0xffff) return {};
  std::uint8_t* at = text.data() - head;
  wire::build_ip({at, head}, fields, text.size());
  return {at, head + text.size()};
}

void renew_checksum(std::span<const std::uint8_t> packet, std::span<std::uint8_t> segment, std::uint8_t protocol) {
  const std::size_t at = checksum_at(protocol);
  const auto ip = wire::parse_ip(packet);
  if (!ip || at == 0 || segment.size() < at + 2 || ip->is_fragment()) return;
  const bool udp = protocol == wire::kProtocolUdp;
  if (udp && ip->is_v4() && load16(segment.data() + at) == 0) return;
  store16(segment.data() + at, 0);
  const auto sum = wire::pseudo_header_sum(ip->source(), ip->destination(), protocol, segment.size());
  const std::uint16_t value = wire::fold(wire::add(sum, segment));
  store16(segment.data() + at, value == 0 && udp ? 0xffff : value);
}

}  // namespace testudo::ipsec
