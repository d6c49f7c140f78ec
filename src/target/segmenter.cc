// SPDX-License-Identifier: Apache-2.0
#include "target/segmenter.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "crypto/engine.h"
#include "wire/checksum.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::target {
namespace {

constexpr std::size_t kTcpChecksumAt = 16;  // bytes into the TCP header
constexpr std::size_t kUdpChecksumAt = 6;
constexpr std::uint8_t kOptionEnd = 0, kOptionNop = 1, kOptionCopied = 0x80;  // RFC 791 section 3.1

void store16(std::uint8_t* at, std::size_t value) {
  const Be<std::uint16_t> wire_value(static_cast<std::uint16_t>(value));
  std::memcpy(at, &wire_value, sizeof wire_value);
}

void finish_ipv4(std::uint8_t* header, std::size_t header_size, std::size_t total) {
  auto* ip = reinterpret_cast<wire::Ipv4Header*>(header);
  ip->total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(total));
  ip->checksum = Be<std::uint16_t>(0);
  ip->checksum = Be<std::uint16_t>(wire::checksum({header, header_size}));
}

/// Options that only the first fragment carries become "no operation" in the others: lengths stay.
void blank_options(std::span<std::uint8_t> options) {
  for (std::size_t at = 0; at < options.size() && options[at] != kOptionEnd;) {
    const bool single = options[at] == kOptionNop;
    const std::size_t size = single || at + 1 == options.size() ? 1 : options[at + 1];
    if (size < (single ? 1u : 2u) || at + size > options.size()) return;
    if ((options[at] & kOptionCopied) == 0) std::memset(options.data() + at, kOptionNop, size);
    at += size;
  }
}

}  // namespace

std::optional<Segmenter> Segmenter::of(const wire::Packet& packet) {
  const auto ip = wire::parse_ip(packet.bytes());
  if (!ip) return std::nullopt;
  Segmenter cut;
  cut.packet_ = packet.bytes().first(ip->total_size());
  cut.ip_size_ = ip->header_size();
  cut.headers_ = cut.packet_.size();
  if (!packet.checksum_missing && packet.segment_size == 0) return cut;
  if (ip->is_fragment()) return std::nullopt;
  cut.find_transport(*ip);
  if (cut.checksum_at_ == 0 || cut.headers_ > sizeof(SegmentHeader)) return std::nullopt;
  cut.what_ = What::kTransport;
  cut.payload_ = cut.packet_.subspan(cut.headers_);
  cut.segment_size_ = packet.segment_size;
  if (packet.segment_size != 0 && cut.payload_.size() > packet.segment_size) {
    cut.count_ = static_cast<std::uint32_t>((cut.payload_.size() + packet.segment_size - 1) / packet.segment_size);
  }
  return cut;
}

void Segmenter::find_transport(const wire::IpView& ip) {
  protocol_ = ip.protocol();
  source_ = ip.source();
  destination_ = ip.destination();
  if (protocol_ == wire::kProtocolTcp) {
    const auto tcp = wire::parse_tcp(ip.payload());
    if (!tcp) return;
    headers_ = ip_size_ + tcp->header_size();
    checksum_at_ = ip_size_ + kTcpChecksumAt;
  } else if (protocol_ == wire::kProtocolUdp && ip.payload().size() >= wire::kUdpHeaderSize) {
    headers_ = ip_size_ + wire::kUdpHeaderSize;
    checksum_at_ = ip_size_ + kUdpChecksumAt;
  }
}

Segment Segmenter::segment(std::uint32_t index, SegmentHeader& room) const {
  if (what_ == What::kAsItIs) return {.header = packet_, .payload = {}};
  if (what_ == What::kFragments) return fragment(index, room);
  const std::size_t offset = count_ > 1 ? std::size_t{index} * segment_size_ : 0;
  const auto payload =
      count_ > 1 ? payload_.subspan(offset, std::min<std::size_t>(segment_size_, payload_.size() - offset))
                 : payload_;
  std::memcpy(room.data(), packet_.data(), headers_);
  const std::span<std::uint8_t> header = std::span(room).first(headers_);
  if (count_ > 1) set_lengths(header, payload.size(), index, index + 1 == count_);
  finish_checksum(header, payload);
  const std::size_t behind = payload_.size() - offset - payload.size();
  return {.header = header, .payload = payload, .lent = behind >= crypto::kLentBehind};
}

void Segmenter::set_lengths(std::span<std::uint8_t> header, std::size_t payload, std::uint32_t index,
                            bool last) const {
  if (header[0] >> 4 == 4) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(header.data());
    ip->id = Be<std::uint16_t>(static_cast<std::uint16_t>(ip->id.host() + index));
    finish_ipv4(header.data(), ip_size_, headers_ + payload);
  } else {
    store16(header.data() + offsetof(wire::Ipv6Header, payload_length), headers_ + payload - wire::kIpv6HeaderSize);
  }
  if (protocol_ == wire::kProtocolUdp) {
    return store16(header.data() + ip_size_ + offsetof(wire::UdpHeader, length), wire::kUdpHeaderSize + payload);
  }
  auto* tcp = reinterpret_cast<wire::TcpHeader*>(header.data() + ip_size_);
  tcp->sequence = Be<std::uint32_t>(tcp->sequence.host() + index * segment_size_);
  // FIN and PSH belong to the last byte, CWR to the first segment (RFC 3168 section 6.1.2).
  if (!last) tcp->flags &= static_cast<std::uint8_t>(~(wire::kTcpFin | wire::kTcpPsh));
  if (index > 0) tcp->flags &= static_cast<std::uint8_t>(~wire::kTcpCwr);
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

std::optional<Segmenter> Segmenter::fragments(std::size_t mtu, std::uint32_t id) const {
  CHECK(count_ == 1);
  const auto ip = wire::parse_ip(packet_);
  if (!ip || ip->is_fragment() || ip->has_fragment_header()) return std::nullopt;
  const std::size_t head = ip->protect_offset();  // what every fragment repeats
  const std::size_t headers = head + (ip->is_v4() ? 0 : wire::kIpv6FragmentSize);
  if (headers > sizeof(SegmentHeader) || mtu < headers + 8) return std::nullopt;
  if (what_ == What::kTransport) finish_checksum(packet_.first(headers_), payload_);
  Segmenter cut = *this;
  cut.what_ = What::kFragments;
  cut.payload_ = packet_.subspan(head);
  cut.ip_size_ = head;
  cut.headers_ = headers;
  cut.name_at_ = ip->protect_name_at();
  cut.segment_size_ = static_cast<std::uint32_t>((mtu - headers) / 8 * 8);
  cut.count_ = static_cast<std::uint32_t>((cut.payload_.size() + cut.segment_size_ - 1) / cut.segment_size_);
  cut.id_ = id;
  return cut;
}

Segment Segmenter::fragment(std::uint32_t index, SegmentHeader& room) const {
  const std::size_t offset = std::size_t{index} * segment_size_;
  const auto payload = payload_.subspan(offset, std::min<std::size_t>(segment_size_, payload_.size() - offset));
  const bool more = index + 1 < count_;
  std::memcpy(room.data(), packet_.data(), ip_size_);
  if (room[0] >> 4 == 4) {
    auto* ip = reinterpret_cast<wire::Ipv4Header*>(room.data());
    ip->flags_offset =
        Be<std::uint16_t>(static_cast<std::uint16_t>(offset / 8 | (more ? wire::kMoreFragments : 0)));
    if (index > 0) blank_options(std::span(room).first(ip_size_).subspan(wire::kIpv4HeaderSize));
    finish_ipv4(room.data(), ip_size_, headers_ + payload.size());
  } else {
    const wire::Ipv6Fragment fragment{
        .next_header = packet_[name_at_],
        .offset_more = Be<std::uint16_t>(static_cast<std::uint16_t>(offset | (more ? 1u : 0u))),
        .id = Be<std::uint32_t>(id_)};
    room[name_at_] = wire::kProtocolFragment;
    store16(room.data() + offsetof(wire::Ipv6Header, payload_length),
            headers_ + payload.size() - wire::kIpv6HeaderSize);
    std::memcpy(room.data() + ip_size_, &fragment, sizeof fragment);
  }
  return {.header = std::span(room).first(headers_), .payload = payload};
}

}  // namespace testudo::target
