// SPDX-License-Identifier: Apache-2.0
#include "ipsec/peek.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "wire/esp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace testudo::ipsec {
namespace {

/// The longest IPv4 header, and TCP's without options.
constexpr std::size_t kPeekSize = wire::kIpv4HeaderSizeMax + wire::kTcpHeaderSize;  // bytes
static_assert(kPeekSize <= crypto::kPeekMax && kPeekSize % 16 == 0);

// Bytes of text that can be had; 0: this is no ESP packet of the suite.
std::uint32_t peek_size(const PeekRequest& request) {
  const crypto::Suite suite = request.sa->parameters().suite;
  if (!crypto::frame_fits(suite, request.esp.size())) return 0;
  const crypto::SuiteSizes& sizes = crypto::sizes(suite);
  const std::size_t text = request.esp.size() - wire::kEspHeaderSize - sizes.iv - sizes.icv;
  return static_cast<std::uint32_t>(std::min(text, kPeekSize));
}

Peeked understand(std::span<const std::uint8_t> text) {
  Peeked peeked;
  const auto ip = wire::parse_ipv4_prefix(text);
  if (!ip || ip->is_fragment()) return peeked;
  peeked.protocol = ip->protocol();
  peeked.source.address = ip->source();
  peeked.destination.address = ip->destination();
  if (ip->protocol() != wire::kProtocolTcp) {
    peeked.kind = Peeked::Kind::kOther;
    return peeked;
  }
  if (ip->payload().size() < wire::kTcpHeaderSize) return peeked;
  const auto& tcp = *reinterpret_cast<const wire::TcpHeader*>(ip->payload().data());
  peeked.source.port = tcp.source_port.host();
  peeked.destination.port = tcp.destination_port.host();
  peeked.tcp_flags = tcp.flags;
  peeked.kind = Peeked::Kind::kTcp;
  return peeked;
}

}  // namespace

void peek(crypto::Engine& engine, std::span<const PeekRequest> requests, std::span<Peeked> peeked) {
  CHECK(requests.size() <= crypto::kBurstMax && peeked.size() >= requests.size());
  std::array<std::array<std::uint8_t, kPeekSize>, crypto::kBurstMax> scratch;
  std::array<crypto::PeekRequest, crypto::kBurstMax> jobs;
  std::array<std::size_t, crypto::kBurstMax> request_of;
  std::size_t n = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    peeked[i] = Peeked{};
    const std::uint32_t size = peek_size(requests[i]);
    if (size == 0) continue;
    jobs[n] = {.context = &requests[i].sa->cipher(),
               .data = requests[i].esp.data(),
               .size = size,
               .out = scratch[n].data()};
    request_of[n++] = i;
  }
  engine.peek(std::span(jobs).first(n));
  for (std::size_t k = 0; k < n; ++k) peeked[request_of[k]] = understand({scratch[k].data(), jobs[k].size});
}

}  // namespace testudo::ipsec
