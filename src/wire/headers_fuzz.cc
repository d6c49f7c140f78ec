// SPDX-License-Identifier: Apache-2.0
// Headers from outside: no parser reads past the end, and what a view offers lies within the bytes.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "wire/checksum.h"
#include "wire/esp.h"
#include "wire/gre.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::wire {
namespace {

// Reads the first and last byte, so that the sanitizer sees a view that is too long.
unsigned touch(std::span<const std::uint8_t> view, std::span<const std::uint8_t> whole) {
  if (view.empty()) return 0;
  CHECK(view.data() >= whole.data() && view.data() + view.size() <= whole.data() + whole.size());
  return unsigned{view.front()} + view.back() + checksum(view);
}

unsigned transport(std::uint8_t protocol, std::span<const std::uint8_t> bytes) {
  unsigned sum = 0;
  if (protocol == kProtocolTcp) {
    if (const auto tcp = parse_tcp(bytes)) sum += touch(tcp->payload(), bytes) + tcp->is_initial_syn();
  } else if (protocol == kProtocolUdp) {
    if (const auto udp = parse_udp(bytes)) sum += touch(udp->payload(), bytes);
  } else if (protocol == kProtocolEsp) {
    if (const auto* esp = parse_esp(bytes)) sum += esp->sequence_low();
  }
  return sum;
}

unsigned parse(std::span<const std::uint8_t> bytes) {
  unsigned sum = static_cast<unsigned>(classify_udp_4500(bytes));
  if (const auto ip = parse_ipv4(bytes)) {
    sum += touch(ip->packet(), bytes) + ip->checksum_is_right();
    sum += transport(ip->protocol(), ip->payload());
  }
  if (const auto ip = parse_ipv4_prefix(bytes)) sum += touch(ip->payload(), bytes);
  if (const auto ip = parse_ip(bytes)) {
    sum += touch(ip->packet(), bytes) + ip->protect_protocol() + ip->packet()[ip->protocol_at()];
    CHECK(ip->protect_offset() <= ip->header_size() && ip->header_size() <= ip->total_size());
    sum += transport(ip->protocol(), ip->payload());
  }
  const IpPrefixView prefix = parse_ip_prefix(bytes);
  CHECK(prefix.view || prefix.needed == 0 || prefix.needed > bytes.size());
  if (prefix.view) sum += touch(prefix.view->payload(), bytes);
  if (const auto gre = parse_gre(bytes)) {
    sum += touch(gre->payload, bytes);
    if (const auto ip = parse_ipv4(gre->payload)) sum += transport(ip->protocol(), ip->payload());
  }
  return sum;
}

}  // namespace

volatile unsigned sink;  // makes the reads count
}  // namespace testudo::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  testudo::wire::sink = testudo::wire::parse({data, size});
  return 0;
}
