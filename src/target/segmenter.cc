// SPDX-License-Identifier: Apache-2.0
#include "target/segmenter.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"
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
  const auto ip = wire::parse_ip(packet.bytes());
  if (!ip) return std::nullopt;
  Segmenter cut;
  cut.packet_ = ip->packet();
  cut.untouched_ = !packet.checksum_missing && packet.segment_size == 0;
  if (cut.untouched_) {
    cut.headers_ = cut.packet_.size();
    return cut;
  }
  if (ip->is_fragment() || !cut.find_transport(*ip)) return std::nullopt;
  cut.payload_ = cut.packet_.subspan(cut.headers_);
  cut.segment_size_ = packet.segment_size;
  if (packet.segment_size != 0 && cut.payload_.size() > packet.segment_size) {
    cut.count_ = static_cast<std::uint32_t>((cut.payload_.size() + packet.segment_size - 1) / packet.segment_size);
  }
  return cut;
}

/// Where headers end and the checksum lies. False: neither TCP nor UDP, or headers that there is no room for.
bool Segmenter::find_transport(const wire::IpView& ip) {
  ip_size_ = ip.header_size();
  source_ = ip.source();
  destination_ = ip.destination();
  protocol_ = ip.protocol();
  if (protocol_ == wire::kProtocolTcp) {
    const auto tcp = wire::parse_tcp(ip.payload());
    if (!tcp) return false;
    headers_ = ip_size_ + tcp->header_size();
    checksum_at_ = ip_size_ + kTcpChecksumAt;
  } else if (protocol_ == wire::kProtocolUdp && wire::parse_udp(ip.payload())) {
    headers_ = ip_size_ + wire::kUdpHeaderSize;
    checksum_at_ = ip_size_ + kUdpChecksumAt;
  } else {
    return false;
  }
  return headers_ <= SegmentHeader{}.size();
}

Segment Segmenter::segment(std::uint32_t index, SegmentHeader& room) const {
  if (untouched_) return {.header = packet_, .payload = {}};
  const std::size_t offset = count_ > 1 ? std::size_t{index} * segment_size_ : 0;
  const auto payload =
      count_ > 1 ? payload_.subspan(offset, std::min<std::size_t>(segment_size_, payload_.size() - offset))
                 : payload_;
  std::memcpy(room.data(), packet_.data(), headers_);
  const auto header = std::span(room).first(headers_);
  if (count_ > 1) {
    set_lengths(header, payload.size(), index);
    if (protocol_ == wire::kProtocolTcp) {
      set_tcp(*reinterpret_cast<wire::TcpHeader*>(room.data() + ip_size_), offset, index);
    }
  }
  finish_checksum(header, payload);
  return {.header = header, .payload = payload};
}

void Segmenter::set_lengths(std::span<std::uint8_t> header, std::size_t payload, std::uint32_t index) const {
  const auto size = static_cast<std::uint16_t>(header.size() + payload);
  if (source_.is_v4()) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(header.data());
    ip->total_length = Be<std::uint16_t>(size);
    ip->id = Be<std::uint16_t>(static_cast<std::uint16_t>(ip->id.host() + index));
    ip->checksum = Be<std::uint16_t>(0);
    ip->checksum = Be<std::uint16_t>(wire::checksum(header.first(ip_size_)));
  } else {
    auto* ip = reinterpret_cast<wire::Ipv6Header*>(header.data());
    ip->payload_length = Be<std::uint16_t>(static_cast<std::uint16_t>(size - wire::kIpv6HeaderSize));
  }
  if (protocol_ == wire::kProtocolUdp) {
    auto* udp = reinterpret_cast<wire::UdpHeader*>(header.data() + ip_size_);
    udp->length = Be<std::uint16_t>(static_cast<std::uint16_t>(size - ip_size_));
  }
}

void Segmenter::set_tcp(wire::TcpHeader& tcp, std::size_t offset, std::uint32_t index) const {
  tcp.sequence = Be<std::uint32_t>(static_cast<std::uint32_t>(tcp.sequence.host() + offset));
  // FIN and PSH belong to the last byte, CWR to the first segment (RFC 3168 section 6.1.2).
  if (index + 1 < count_) tcp.flags &= static_cast<std::uint8_t>(~(wire::kTcpFin | wire::kTcpPsh));
  if (index > 0) tcp.flags &= static_cast<std::uint8_t>(~wire::kTcpCwr);
}

void Segmenter::finish_checksum(std::span<std::uint8_t> header, std::span<const std::uint8_t> payload) const {
  const auto transport = header.subspan(ip_size_);
  store16(header.data() + checksum_at_, 0);
  auto sum = wire::pseudo_header_sum(source_, destination_, protocol_, transport.size() + payload.size());
  sum = wire::add(wire::add(sum, transport), payload);
  std::uint16_t value = wire::fold(sum);
  if (value == 0 && protocol_ == wire::kProtocolUdp) value = 0xffff;  // RFC 768: 0 means "none"
  store16(header.data() + checksum_at_, value);
}

}  // namespace testudo::target
