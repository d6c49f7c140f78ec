// SPDX-License-Identifier: Apache-2.0
#include "wire/icmp.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"

namespace testudo::wire {
namespace {

struct IcmpHeader {
  std::uint8_t type = 0, code = 0;
  Be<std::uint16_t> checksum;
  Be<std::uint32_t> rest;  // ICMP: the MTU in its lower half; ICMPv6: the MTU
};
static_assert(sizeof(IcmpHeader) == kIcmpHeaderSize && alignof(IcmpHeader) == 1);

bool is_error(bool v4, const IcmpHeader& header) {
  if (!v4) return header.type <= kIcmpv6ErrorMax && header.type != 0;
  return header.type == kIcmpUnreachable || header.type == kIcmpTimeExceeded ||
         header.type == kIcmpParameterProblem;
}

}  // namespace

std::optional<IcmpError> parse_icmp_error(const IpView& ip) {
  if (ip.protocol() != (ip.is_v4() ? kProtocolIcmp : kProtocolIcmpv6)) return std::nullopt;
  const auto message = ip.payload();
  if (message.size() < kIcmpHeaderSize) return std::nullopt;
  const auto& header = *reinterpret_cast<const IcmpHeader*>(message.data());
  if (!is_error(ip.is_v4(), header)) return std::nullopt;
  const auto enclosed = parse_ip_prefix(message.subspan(kIcmpHeaderSize)).view;
  if (!enclosed || enclosed->is_v4() != ip.is_v4()) return std::nullopt;
  IcmpError error{.enclosed = *enclosed};
  error.too_big = ip.is_v4() ? header.type == kIcmpUnreachable && header.code == kIcmpFragmentationNeeded
                             : header.type == kIcmpv6TooBig;
  if (error.too_big) error.mtu = ip.is_v4() ? header.rest.host() & 0xffff : header.rest.host();
  return error;
}

std::size_t build_too_big(IcmpRoom& out, const IpView& about, std::uint32_t mtu) {
  const bool v4 = about.is_v4();
  // RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4: as much as fits.
  const std::size_t head = ip_header_size(about.source()) + kIcmpHeaderSize;
  const std::size_t quoted = std::min((v4 ? kIpv4MtuMin : kIpv6MtuMin) - head, about.packet().size());
  build_ip(out,
           {.source = about.destination(),
            .destination = about.source(),
            .protocol = v4 ? kProtocolIcmp : kProtocolIcmpv6,
            .dont_fragment = false},
           kIcmpHeaderSize + quoted);
  const std::span<std::uint8_t> message(out.data() + head - kIcmpHeaderSize, kIcmpHeaderSize + quoted);
  IcmpHeader header{.type = v4 ? kIcmpUnreachable : kIcmpv6TooBig,
                    .code = v4 ? kIcmpFragmentationNeeded : std::uint8_t{0},
                    .checksum = {},
                    .rest = Be<std::uint32_t>(v4 ? std::min<std::uint32_t>(mtu, 0xffff) : mtu)};
  std::memcpy(message.data() + kIcmpHeaderSize, about.packet().data(), quoted);
  std::memcpy(message.data(), &header, sizeof header);
  const ChecksumSum pseudo =
      v4 ? 0 : pseudo_header_sum(about.destination(), about.source(), kProtocolIcmpv6, message.size());
  header.checksum = Be<std::uint16_t>(fold(add(pseudo, message)));
  std::memcpy(message.data(), &header, sizeof header);
  return head + quoted;
}

}  // namespace testudo::wire
