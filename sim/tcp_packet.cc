// SPDX-License-Identifier: Apache-2.0
#include "sim/tcp_packet.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace testudo::sim {
namespace {

constexpr std::size_t kTimestampsSize = 12;  // two no-operations, then the option

}  // namespace

Bytes build_tcp(const TcpPacket& tcp, Checksum checksum) {
  const std::size_t options = tcp.number != 0 ? kTimestampsSize : 0;
  const std::size_t tcp_size = wire::kTcpHeaderSize + options + tcp.payload.size();
  Bytes packet(wire::kIpv4HeaderSize + tcp_size);
  wire::build_ipv4(
      std::span(packet).first<wire::kIpv4HeaderSize>(),
      {.source = tcp.source.address, .destination = tcp.destination.address, .protocol = wire::kProtocolTcp},
      tcp_size);
  wire::TcpHeader header;
  header.source_port = Be<std::uint16_t>(tcp.source.port);
  header.destination_port = Be<std::uint16_t>(tcp.destination.port);
  header.sequence = Be<std::uint32_t>(tcp.sequence);
  header.acknowledgement = Be<std::uint32_t>(tcp.acknowledgement);
  header.offset_reserved = static_cast<std::uint8_t>((wire::kTcpHeaderSize + options) / 4 << 4);
  header.flags = tcp.flags;
  header.window = Be<std::uint16_t>(65535);
  std::uint8_t* at = packet.data() + wire::kIpv4HeaderSize;
  std::memcpy(at, &header, sizeof header);
  if (options != 0) {
    const Be<std::uint32_t> number(tcp.number);
    const std::uint8_t kind[] = {1, 1, 8, 10};
    std::memcpy(at + wire::kTcpHeaderSize, kind, sizeof kind);
    std::memcpy(at + wire::kTcpHeaderSize + sizeof kind, &number, sizeof number);
  }
  std::copy(tcp.payload.begin(), tcp.payload.end(), at + wire::kTcpHeaderSize + options);
  const auto pseudo =
      wire::pseudo_header_sum(tcp.source.address, tcp.destination.address, wire::kProtocolTcp, tcp_size);
  const std::uint16_t whole = wire::fold(wire::add(pseudo, {at, tcp_size}));
  header.checksum =
      Be<std::uint16_t>(checksum == Checksum::kWhole ? whole : static_cast<std::uint16_t>(~wire::fold(pseudo)));
  std::memcpy(at, &header, sizeof header);
  return packet;
}

std::optional<TcpPacket> read_tcp(std::span<const std::uint8_t> packet) {
  const auto ip = wire::parse_ipv4(packet);
  if (!ip || !ip->checksum_is_right() || ip->is_fragment() || ip->protocol() != wire::kProtocolTcp) return {};
  const auto segment = ip->payload();
  const auto pseudo = wire::pseudo_header_sum(ip->source(), ip->destination(), wire::kProtocolTcp, segment.size());
  const auto tcp = wire::parse_tcp(segment);
  if (!tcp || wire::fold(wire::add(pseudo, segment)) != 0) return {};
  const wire::TcpHeader& header = tcp->header();
  TcpPacket result{.source = {ip->source(), header.source_port.host()},
                   .destination = {ip->destination(), header.destination_port.host()},
                   .sequence = header.sequence.host(),
                   .acknowledgement = header.acknowledgement.host(),
                   .flags = header.flags,
                   .payload = tcp->payload()};
  if (tcp->header_size() == wire::kTcpHeaderSize + kTimestampsSize) {
    Be<std::uint32_t> number;
    std::memcpy(&number, segment.data() + wire::kTcpHeaderSize + 4, sizeof number);
    result.number = number.host();
  }
  return result;
}

}  // namespace testudo::sim
