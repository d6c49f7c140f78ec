// SPDX-License-Identifier: Apache-2.0
// Inbound processing: ESP (RFC 4303 section 3.4), AH (RFC 4302 section 3.4). Reassembly, SA look-up and replay
// check (3.4.1–3.4.3 of both) are the caller's.
#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "ipsec/ecn.h"
#include "ipsec/restore.h"
#include "ipsec/transforms.h"
#include "wire/ah.h"
#include "wire/checksum.h"
#include "wire/esp.h"
#include "wire/ip.h"

namespace testudo::ipsec {
namespace {

/// Where it is worked. Bare ESP in transport mode leaves room for the header that it will get.
std::uint8_t* bytes_of(const DecapRequest& request) {
  if (request.out == nullptr) return request.data;
  return decap_needs_out(*request.sa, request.offset) ? request.out + kRestoredHeader : request.out;
}

// What is authenticated or handed on must be right to the last byte.
[[gnu::noinline]] std::optional<Drop> check_whole_head(const DecapRequest& request) {
  const auto ip = wire::parse_ip_prefix({request.data, request.size}).view;
  const bool right = ip && ip->total_size() == request.size && ip->header_size() == request.offset &&
                     ip->protocol() == static_cast<std::uint8_t>(request.sa->protocol());
  return right ? std::nullopt : std::optional(Drop::kMalformed);
}

// The headers before AH and ESP are whole, and say the packet's size.
std::optional<Drop> check_head(const DecapRequest& request) {
  const Sa& sa = *request.sa;
  if (request.offset == 0) return sa.shape().has_ah() ? std::optional(Drop::kMalformed) : std::nullopt;
  const bool v4 = sa.local().is_v4();
  const std::size_t fixed = v4 ? wire::kIpv4HeaderSize : wire::kIpv6HeaderSize;
  if (request.offset > request.size || request.offset < fixed) return Drop::kTruncated;
  if (request.data[0] >> 4 != (v4 ? 4 : 6)) return Drop::kMalformed;
  return sa.transport() || sa.shape().has_ah() ? check_whole_head(request) : std::nullopt;
}

[[gnu::noinline]] std::optional<Drop> check_ah(const DecapRequest& request) {
  const Sa& sa = *request.sa;
  const std::size_t here = request.size - request.offset;
  if (here < sa.shape().ah) return Drop::kTruncated;
  const auto& ah = *reinterpret_cast<const wire::AhHeader*>(request.data + request.offset);
  if (ah.spi() != sa.spi() || ah.sequence_low() != static_cast<std::uint32_t>(request.seq.value())) {
    return Drop::kMalformed;
  }
  if (ah.size() != sa.shape().ah) return Drop::kMalformed;
  if (sa.shape().has_esp() && ah.next_header != wire::kProtocolEsp) return Drop::kMalformed;
  return std::nullopt;
}

// `number`: the header's, unless AH's before it counts.
std::optional<Drop> check_esp(const DecapRequest& request, Spi spi, std::size_t at) {
  const Shape& shape = request.sa->shape();
  const std::size_t fixed = wire::kEspHeaderSize + shape.esp_iv + shape.esp_icv;
  const std::size_t here = request.size - at;
  if (here <= fixed || ((here - fixed) & (shape.esp_block - std::size_t{1})) != 0) return Drop::kTruncated;
  const auto& header = *reinterpret_cast<const wire::EspHeader*>(request.data + at);
  if (header.spi() != spi) return Drop::kMalformed;
  if (!shape.has_ah() && header.sequence_low() != static_cast<std::uint32_t>(request.seq.value())) {
    return Drop::kMalformed;
  }
  return std::nullopt;
}

/// What was protected, without padding.
struct Content {
  std::uint8_t* data = nullptr;
  std::size_t size = 0;
  std::uint8_t next = 0;
};

// RFC 4303 section 2.4: a receiver checks the padding that the sender was told to write.
bool padding_is_right(std::span<const std::uint8_t> padding) {
  unsigned wrong = 0;
  for (std::size_t i = 0; i < padding.size(); ++i) wrong |= padding[i] ^ static_cast<unsigned>(i + 1);
  return wrong == 0;
}

// RFC 4303 section 3.4.4.1 step 4, 3.4.4.2 step 3. The text is authentic: nothing here can tell an attacker
// anything.
std::optional<Drop> take_off_esp(const Shape& shape, std::uint8_t* esp, std::size_t size, Content& content) {
  content.data = esp + wire::kEspHeaderSize + shape.esp_iv;
  const std::size_t text_size = size - wire::kEspHeaderSize - shape.esp_iv - shape.esp_icv;
  const std::size_t padding = content.data[text_size - 2];
  content.next = content.data[text_size - 1];
  if (padding + wire::kEspTrailerSize > text_size) return Drop::kBadPadding;
  content.size = text_size - wire::kEspTrailerSize - padding;
  if (!padding_is_right({content.data + content.size, padding})) return Drop::kBadPadding;
  if (content.next == wire::kProtocolNoNext) return Drop::kDummy;  // section 2.6
  return std::nullopt;
}

std::uint8_t outer_traffic_class(const DecapRequest& request, const std::uint8_t* bytes) {
  if (request.offset == 0) return request.traffic_class;
  return bytes[0] >> 4 == 4 ? bytes[1] : static_cast<std::uint8_t>(bytes[0] << 4 | bytes[1] >> 4);
}

bool is_ip(std::uint8_t protocol) { return protocol == wire::kProtocolIpip || protocol == wire::kProtocolIpv6; }

// What wire::parse_ip() says, without its walk where there is nothing to walk: IPv4 without options.
bool measure(const Content& content, std::size_t& size, std::uint8_t& traffic_class) {
  if (content.data[0] == 0x45) {
    const auto& ip = *reinterpret_cast<const wire::Ipv4Header*>(content.data);
    size = ip.total_length.host();
    traffic_class = ip.traffic_class;
    return size >= wire::kIpv4HeaderSize && size <= content.size;
  }
  const auto ip = wire::parse_ip({content.data, content.size});
  if (!ip) return false;
  size = ip->total_size();
  traffic_class = ip->traffic_class();
  return true;
}

// What follows the inner packet's total length is traffic flow padding (RFC 4303 section 2.7).
std::optional<Drop> take_inner(DecapRequest& request, const Content& content, std::uint8_t outer_class) {
  if (!is_ip(content.next)) return Drop::kWrongMode;
  const bool v4 = content.next == wire::kProtocolIpip;
  if (content.size < (v4 ? wire::kIpv4HeaderSize : wire::kIpv6HeaderSize)) return Drop::kTruncated;
  if (content.data[0] >> 4 != (v4 ? 4 : 6)) return Drop::kMalformed;
  std::size_t size = 0;
  std::uint8_t inner_class = 0;
  if (!measure(content, size, inner_class)) return Drop::kMalformed;
  const auto ecn = decapsulated_ecn(inner_class, outer_class);
  if (!ecn) return Drop::kEcn;
  request.inner = {content.data, size};
  if (*ecn != (inner_class & kEcnMask)) set_ecn(request.inner, *ecn);
  return std::nullopt;
}

[[gnu::noinline]] std::optional<Drop> restore_packet(DecapRequest& request, const Content& content,
                                                     std::uint8_t* bytes) {
  if (is_ip(content.next)) return Drop::kWrongMode;
  std::span<std::uint8_t> text(content.data, content.size);
  if (request.offset != 0) {
    request.inner = restore_header({bytes, request.offset}, text, content.next);
  } else {
    const wire::IpFields fields{.source = request.source,
                                .destination = request.destination,
                                .protocol = content.next,
                                .traffic_class = request.traffic_class};
    request.inner = write_header(fields, text);
  }
  // What the peer put behind AH or ESP may be extension headers of any kind: whoever gets the packet can parse it.
  const auto whole = wire::parse_ip(request.inner);
  if (!whole || whole->is_fragment()) {  // RFC 4303 section 3.1.1: transport mode protects whole datagrams
    request.inner = {};
    return whole ? Drop::kFragment : Drop::kMalformed;
  }
  // RFC 3948 section 3.1.2: the peer computed the checksum over the address that it had before the NAT.
  if (request.sa->udp_encapsulation()) renew_checksum(request.inner, text, content.next);
  return std::nullopt;
}

}  // namespace

std::optional<Drop> Transforms::place(const DecapRequest& request) {
  const Sa& sa = *request.sa;
  CHECK(request.out != nullptr || !decap_needs_out(sa, request.offset));
  if (!sa.esn() && request.seq.value() >> 32 != 0) return Drop::kMalformed;
  if (const auto drop = check_head(request)) return drop;
  if (sa.shape().has_ah()) {
    if (const auto drop = check_ah(request)) return drop;
  }
  const std::size_t at = request.offset + std::size_t{sa.shape().ah};
  if (sa.shape().has_esp()) {
    if (const auto drop = check_esp(request, sa.esp_spi(), at)) return drop;
  }
  if (request.out != nullptr) std::memcpy(bytes_of(request), request.data, request.size);
  return std::nullopt;
}

void Transforms::add_frame(const DecapRequest& request, std::size_t index) {
  Sa& sa = *request.sa;
  const std::size_t at = request.offset + std::size_t{sa.shape().ah};
  crypto::Frame& frame = frames_[frames_count_];
  frame.context = &keys_->get(sa.esp_key());
  frame.data = bytes_of(request) + at;
  frame.size = static_cast<std::uint32_t>(request.size - at);
  frame.sequence_high = static_cast<std::uint32_t>(request.seq.value() >> 32);
  request_of_[frames_count_++] = static_cast<std::uint8_t>(index);
}

void Transforms::finish(DecapRequest& request) const {
  const Shape& shape = request.sa->shape();
  std::uint8_t* bytes = bytes_of(request);
  const std::size_t at = request.offset + std::size_t{shape.ah};
  request.authentic = true;
  Content content{.data = bytes + at, .size = request.size - at, .next = 0};
  if (shape.has_esp()) {
    request.drop = take_off_esp(shape, bytes + at, request.size - at, content);
    if (request.drop) return;
  } else {
    content.next = reinterpret_cast<const wire::AhHeader*>(bytes + request.offset)->next_header;
  }
  request.drop = request.sa->transport() ? restore_packet(request, content, bytes)
                                         : take_inner(request, content, outer_traffic_class(request, bytes));
}

// AH first, which is outside: what it finds wrong is not decrypted.
void Transforms::open_ah(std::span<DecapRequest> burst, std::uint64_t members) {
  for (std::uint64_t good = verify(burst, members); good != 0; good &= good - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(good));
    burst[i].sa->shape().has_esp() ? add_frame(burst[i], i) : finish(burst[i]);
  }
}

void Transforms::decap(std::span<DecapRequest> burst) {
  CHECK(burst.size() <= crypto::kBurstMax);
  keys_->begin_burst();
  prefetch_keys(burst);
  frames_count_ = 0;
  std::uint64_t with_ah = 0;
  for (std::size_t i = 0; i < burst.size(); ++i) {
    DecapRequest& request = burst[i];
    request.authentic = false;
    request.inner = {};
    request.drop = place(request);
    if (request.drop) continue;
    if (request.sa->shape().has_ah()) {
      with_ah |= std::uint64_t{1} << i;
    } else {
      add_frame(request, i);
    }
  }
  // 3.4.4: integrity check value verification and decryption, from the outermost header inwards.
  if (with_ah != 0) open_ah(burst, with_ah);
  const std::uint64_t authentic = engine_->open(std::span(frames_).first(frames_count_));
  for (std::size_t k = 0; k < frames_count_; ++k) {
    DecapRequest& request = burst[request_of_[k]];
    if ((authentic >> k & 1) != 0) {
      finish(request);
    } else {
      request.drop = Drop::kBadIcv;
    }
  }
}

}  // namespace testudo::ipsec
