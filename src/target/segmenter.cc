// SPDX-License-Identifier: Apache-2.0
#include "target/segmenter.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::target {
namespace {

constexpr std::size_t kTcpChecksumAt = 16;  // bytes into the TCP header
constexpr std::size_t kUdpChecksumAt = 6;

void store16(std::uint8_t* at, std::uint16_t value) {
  const Be<std::uint16_t> wire_value(value);
  std::memcpy(at, &wire_value, sizeof wire_value);
}

}  // namespace

std::optional<Segmenter> Segmenter::of(const wire::Packet& packet) {
  const auto ip = wire::parse_ipv4(packet.bytes());
  if (!ip) return std::nullopt;
  Segmenter cut;
  cut.packet_ = ip->packet();
  cut.ip_size_ = ip->header_size();
  cut.untouched_ = !packet.checksum_missing && packet.segment_size == 0;
  if (cut.untouched_) {
    cut.headers_ = cut.packet_.size();
    return cut;
  }
  if (ip->is_fragment()) return std::nullopt;
  if (ip->protocol() == wire::kProtocolTcp) {
    const auto tcp = wire::parse_tcp(ip->payload());
    if (!tcp) return std::nullopt;
    cut.headers_ = cut.ip_size_ + tcp->header_size();
    cut.checksum_at_ = cut.ip_size_ + kTcpChecksumAt;
  } else if (ip->protocol() == wire::kProtocolUdp && packet.segment_size == 0 && wire::parse_udp(ip->payload())) {
    cut.headers_ = cut.ip_size_ + wire::kUdpHeaderSize;
    cut.checksum_at_ = cut.ip_size_ + kUdpChecksumAt;
  } else {
    return std::nullopt;
  }
  cut.payload_ = cut.packet_.subspan(cut.headers_);
  cut.segment_size_ = packet.segment_size;
  if (packet.segment_size != 0 && cut.payload_.size() > packet.segment_size) {
    cut.count_ = static_cast<std::uint32_t>((cut.payload_.size() + packet.segment_size - 1) / packet.segment_size);
  }
  return cut;
}

Segment Segmenter::segment(std::uint32_t index, SegmentHeader& room) const {
  if (untouched_) return {.header = packet_, .payload = {}};
  const std::size_t offset = count_ > 1 ? std::size_t{index} * segment_size_ : 0;
  const auto payload =
      count_ > 1 ? payload_.subspan(offset, std::min<std::size_t>(segment_size_, payload_.size() - offset))
                 : payload_;
  std::memcpy(room.data(), packet_.data(), headers_);
  if (count_ > 1) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(room.data());
    auto* tcp = reinterpret_cast<wire::TcpHeader*>(room.data() + ip_size_);
    ip->total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(headers_ + payload.size()));
    ip->id = Be<std::uint16_t>(static_cast<std::uint16_t>(ip->id.host() + index));
    tcp->sequence = Be<std::uint32_t>(static_cast<std::uint32_t>(tcp->sequence.host() + offset));
    // FIN and PSH belong to the last byte, CWR to the first segment (RFC 3168 section 6.1.2).
    if (index + 1 < count_) tcp->flags &= static_cast<std::uint8_t>(~(wire::kTcpFin | wire::kTcpPsh));
    if (index > 0) tcp->flags &= static_cast<std::uint8_t>(~wire::kTcpCwr);
    ip->checksum = Be<std::uint16_t>(0);
    ip->checksum = Be<std::uint16_t>(wire::checksum({room.data(), ip_size_}));
  }
  finish_checksum(std::span(room).first(headers_), payload);
  return {.header = std::span(room).first(headers_), .payload = payload};
}

void Segmenter::finish_checksum(std::span<std::uint8_t> header, std::span<const std::uint8_t> payload) const {
  const auto* ip = reinterpret_cast<const wire::Ipv4Header*>(header.data());
  const auto transport = header.subspan(ip_size_);
  store16(header.data() + checksum_at_, 0);
  auto sum = wire::pseudo_header_sum(IpAddress(ip->source.host()), IpAddress(ip->destination.host()),
                                     ip->protocol, transport.size() + payload.size());
  sum = wire::add(wire::add(sum, transport), payload);
  std::uint16_t value = wire::fold(sum);
  if (value == 0 && ip->protocol == wire::kProtocolUdp) value = 0xffff;  // RFC 768: 0 means "none"
  store16(header.data() + checksum_at_, value);
}

}  // namespace testudo::target
