// SPDX-License-Identifier: Apache-2.0
// Outbound processing: ESP (RFC 4303 section 3.3), AH (RFC 4302 section 3.3).
#include <array>
#include <cstring>

#include "base/check.h"
#include "ipsec/ah.h"
#include "ipsec/ecn.h"
#include "ipsec/outer_header.h"
#include "ipsec/sizes.h"
#include "ipsec/transforms.h"
#include "wire/ah.h"
#include "wire/checksum.h"
#include "wire/esp.h"
#include "wire/ip.h"

namespace testudo::ipsec {
namespace {

/// The length field's: IPv4's counts the header, IPv6's does not.
std::size_t size_limit(bool v4) { return v4 ? 0xffff : 0xffff + wire::kIpv6HeaderSize; }

/// What becomes of the parts of a packet.
struct Plan {
  bool outer_v4 = false;
  std::size_t head = 0;                             // bytes of the outer header before AH and ESP
  std::uint8_t next = 0;                            // the protocol that AH or ESP carries
  std::span<const std::uint8_t> first{}, second{};  // what it carries
  std::size_t name_at = 0;                          // transport mode: where the header names AH or ESP
  [[nodiscard]] std::size_t text() const { return first.size() + second.size(); }
};

void copy(std::uint8_t* out, std::span<const std::uint8_t> piece) {
  if (!piece.empty()) std::memcpy(out, piece.data(), piece.size());
}

bool is_v4(std::span<const std::uint8_t> header) { return header[0] >> 4 == 4; }

std::uint8_t inner_traffic_class(std::span<const std::uint8_t> header) {
  return is_v4(header) ? header[1] : static_cast<std::uint8_t>(header[0] << 4 | header[1] >> 4);
}

// RFC 4303 section 3.1.2: the whole packet is what is carried.
std::optional<Drop> plan_tunnel(const EncapRequest& request, Plan& plan) {
  const Sa& sa = *request.sa;
  const auto header = request.header;
  const bool v4 = header.size() >= wire::kIpv4HeaderSize && is_v4(header);
  const bool v6 = header.size() >= wire::kIpv6HeaderSize && header[0] >> 4 == 6;
  if (!v4 && !v6) return Drop::kMalformed;
  plan.next = v4 ? wire::kProtocolIpip : wire::kProtocolIpv6;
  plan.head = sa.udp_encapsulation() ? 0 : plan.outer_v4 ? wire::kIpv4HeaderSize : wire::kIpv6HeaderSize;
  plan.first = header;
  plan.second = request.payload;
  return std::nullopt;
}

// RFC 4303 section 3.1.1: what is behind the headers that are read on the way.
[[gnu::noinline]] std::optional<Drop> plan_transport(const EncapRequest& request, Plan& plan) {
  const Sa& sa = *request.sa;
  const auto ip = wire::parse_ip_prefix(request.header).view;
  if (!ip || ip->total_size() != request.header.size() + request.payload.size()) return Drop::kMalformed;
  if (ip->is_fragment() || ip->has_fragment_header()) return Drop::kFragment;
  if (ip->source() != sa.local() || ip->destination() != sa.remote()) return Drop::kNotSelected;
  const bool options = ip->protect_offset() != wire::ip_header_size(sa.local());
  if (sa.udp_encapsulation() && options) return Drop::kUnsupported;
  if (sa.shape().has_ah() && ip->protect_offset() > kAhHeadMax) return Drop::kUnsupported;
  plan.next = ip->protect_protocol();
  plan.name_at = ip->protect_name_at();
  plan.head = sa.udp_encapsulation() ? 0 : ip->protect_offset();
  plan.first = request.header.subspan(ip->protect_offset());
  plan.second = request.payload;
  return std::nullopt;
}

bool outer_dont_fragment(const EncapRequest& request) {
  switch (request.sa->dont_fragment()) {
    case DontFragment::kSet:
      return true;
    case DontFragment::kClear:
      return false;
    case DontFragment::kCopy:
      return !is_v4(request.header) || (request.header[6] & wire::kDontFragment >> 8) != 0;
  }
  return true;
}

// By value: fields whose address nobody takes are registers where they become an IPv4 header.
[[gnu::noinline]] void build_outer_v6(std::uint8_t* out, wire::IpFields fields, std::size_t payload) {
  wire::build_ip({out, wire::kIpv6HeaderSize}, fields, payload);
}

// RFC 4301 section 5.1.2.
void write_outer(const EncapRequest& request, const Plan& plan) {
  const Sa& sa = *request.sa;
  const wire::IpFields fields{.source = sa.local(),
                              .destination = sa.remote(),
                              .protocol = static_cast<std::uint8_t>(sa.protocol()),
                              .id = request.ip_id,
                              .traffic_class = request.traffic_class,
                              .dont_fragment = outer_dont_fragment(request)};
  if (plan.outer_v4) {
    write_outer_v4(request.out, fields, request.size);
  } else {
    build_outer_v6(request.out, fields, request.size - plan.head);
  }
}

// The packet's own header, with AH or ESP as what follows.
[[gnu::noinline]] void write_own(const EncapRequest& request, const Plan& plan) {
  std::uint8_t* out = request.out;
  std::memcpy(out, request.header.data(), plan.head);
  out[plan.name_at] = static_cast<std::uint8_t>(request.sa->protocol());
  if (is_v4(request.header)) {
    auto& ip = *reinterpret_cast<wire::Ipv4Header*>(out);
    ip.total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(request.size));
    ip.checksum = Be<std::uint16_t>(0);
    ip.checksum = Be<std::uint16_t>(wire::checksum({out, plan.head}));
  } else {
    auto& ip = *reinterpret_cast<wire::Ipv6Header*>(out);
    ip.payload_length = Be<std::uint16_t>(static_cast<std::uint16_t>(request.size - wire::kIpv6HeaderSize));
  }
}

[[gnu::noinline]] void write_ah(std::uint8_t* at, const EncapRequest& request, std::uint8_t next) {
  const Sa& sa = *request.sa;
  wire::AhHeader ah;
  ah.next_header = next;
  ah.length = static_cast<std::uint8_t>(sa.shape().ah / 4 - 2);
  ah.spi_be = Be<std::uint32_t>(sa.spi().value());
  ah.sequence_be = Be<std::uint32_t>(static_cast<std::uint32_t>(request.seq.value()));
  std::memcpy(at, &ah, sizeof ah);
  std::memset(at + sizeof ah, 0, sa.shape().ah - sizeof ah);
}

// SPI and sequence number, in one store.
void write_esp(std::uint8_t* at, Spi spi, SeqNo seq) {
  const Be<std::uint64_t> header(std::uint64_t{spi.value()} << 32 | (seq.value() & 0xffff'ffff));
  static_assert(sizeof header == sizeof(wire::EspHeader));
  std::memcpy(at, &header, sizeof header);
}

// RFC 4303 section 2.4: padding 1, 2, 3 … Short padding, its length and the next header are one store, which may
// reach into the place of the ICV: that has 8 bytes at least, and is written later.
void write_trailer(std::uint8_t* after, std::size_t padding, std::uint8_t next) {
  if (padding <= 6) {
    const std::size_t rest = 56 - 8 * padding;  // bits behind the padding, less 8
    const std::uint64_t word = 0x0102'0304'0506'0708 >> 8 >> rest << rest << 8 | std::uint64_t{padding} << rest;
    const Be<std::uint64_t> trailer(word | std::uint64_t{next} << rest >> 8);
    std::memcpy(after, &trailer, sizeof trailer);
    return;
  }
  for (std::size_t i = 0; i < padding; ++i) after[i] = static_cast<std::uint8_t>(i + 1);
  after[padding] = static_cast<std::uint8_t>(padding);
  after[padding + 1] = next;
}

}  // namespace

bool Transforms::next_iv(Sa& sa, std::size_t size, std::uint8_t* out) {
  if (size == 8) return sa.iv_counter_->next(std::span<std::uint8_t, 8>(out, 8));
  if (size == 0) return true;
  random_.fill({out, size});
  return true;
}

// All of the packet but what has to be encrypted, which `frame` says where to find.
std::optional<Drop> Transforms::lay_out(EncapRequest& request, std::size_t index, crypto::Frame& frame) {
  Sa& sa = *request.sa;
  const Shape& shape = sa.shape();
  // 3.3.3 Sequence number: 64 bits with ESN, else it must not cycle.
  CHECK(request.seq.value() != 0 && !sa.inbound());
  if (!sa.esn() && request.seq.value() >> 32 != 0) return Drop::kSequenceExhausted;

  Plan plan{.outer_v4 = sa.local().is_v4()};
  if (const auto drop = sa.transport() ? plan_transport(request, plan) : plan_tunnel(request, plan)) return drop;
  const std::size_t size = plan.head + protected_size(shape, plan.text());
  if (outer_size(sa, size) > size_limit(plan.outer_v4)) return Drop::kTooBig;
  request.size = static_cast<std::uint32_t>(size);
  head_[index] = static_cast<std::uint16_t>(plan.head);

  std::uint8_t* at = request.out + plan.head;
  if (shape.has_ah()) {
    write_ah(at, request, shape.has_esp() ? wire::kProtocolEsp : plan.next);
    if (!next_iv(sa, shape.ah_iv, at + wire::kAhFixedSize)) return Drop::kSequenceExhausted;
    at += shape.ah;
  }
  std::uint8_t* text = at;
  if (shape.has_esp()) {
    write_esp(at, sa.esp_spi(), request.seq);
    if (!next_iv(sa, shape.esp_iv, at + wire::kEspHeaderSize)) return Drop::kSequenceExhausted;
    text += wire::kEspHeaderSize + shape.esp_iv;
  }
  // 3.3.2 step 1: encapsulate; step 2: add padding.
  if (shape.has_esp()) {
    frame.first = plan.first;
    frame.second = plan.second;
    frame.lent = request.lent;
    write_trailer(text + plan.text(), padding_of(shape, plan.text()), plan.next);
  } else {
    copy(text, plan.first);
    copy(text + plan.first.size(), plan.second);
  }

  const std::uint8_t inner_class = inner_traffic_class(request.header);
  request.traffic_class = inner_class;
  if (!sa.transport()) {
    const std::uint8_t dscp = sa.copy_dscp() ? inner_class & ~kEcnMask & 0xff : 0;
    request.traffic_class = static_cast<std::uint8_t>(dscp | encapsulated_ecn(inner_class));
  }
  if (plan.head != 0) sa.transport() ? write_own(request, plan) : write_outer(request, plan);
  return std::nullopt;
}

void Transforms::encap(std::span<EncapRequest> burst) {
  CHECK(burst.size() <= crypto::kBurstMax);
  keys_->begin_burst();
  prefetch_keys(burst);
  std::size_t n = 0;
  std::uint64_t to_sign = 0;
  for (std::size_t i = 0; i < burst.size(); ++i) {
    EncapRequest& request = burst[i];
    crypto::Frame& frame = frames_[n];
    request.drop = lay_out(request, i, frame);
    if (request.drop) continue;
    Sa& sa = *request.sa;
    if (sa.shape().has_ah()) to_sign |= std::uint64_t{1} << i;
    if (!sa.shape().has_esp()) continue;
    const std::size_t at = head_[i] + std::size_t{sa.shape().ah};
    // Field by field: a frame that is put together elsewhere and copied costs more.
    frame.context = &keys_->get(sa.esp_key());
    frame.data = request.out + at;
    frame.size = static_cast<std::uint32_t>(request.size - at);
    frame.sequence_high = static_cast<std::uint32_t>(request.seq.value() >> 32);
    ++n;
  }
  // 3.3.2 step 3: encrypt and compute the ICV.
  engine_->seal(std::span(frames_).first(n));
  if (to_sign != 0) sign(burst, to_sign);
}

}  // namespace testudo::ipsec
