// SPDX-License-Identifier: Apache-2.0
// Peek (spec C2): what a protected packet carries, by decrypting no more than the inner headers. Nothing is
// authenticated: the answer is a guess on which no state may be built.
//
//   std::array<ipsec::Peeked, 32> peeked;
//   transforms.peek(requests, peeked);                               // ipsec/transforms.h
//   if (peeked[i].kind == ipsec::Peeked::Kind::kTcp) look_up(peeked[i].source, …);
//
// What AH protects, and ESP with NULL encryption, is only read. Else the first 64 bytes are decrypted, and 128 of
// those packets whose IPv4 options or IPv6 extension headers ask for more; headers that go on behind that are
// undecidable. In transport mode the last bytes too, which name the protocol; an extension header there is
// undecidable.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "ipsec/sa.h"

namespace testudo::ipsec {

struct PeekRequest {
  Sa* sa = nullptr;                        // inbound; only its cached key changes
  std::span<const std::uint8_t> packet{};  // as DecapRequest::data; not changed
  std::uint32_t offset = 0;                // as DecapRequest's
  IpAddress source{}, destination{};       // of the outer header: the flow's, in transport mode
};

struct Peeked {
  enum class Kind : std::uint8_t {
    kUndecidable,  // a fragment, too short, or not what it should be: full processing at the owner decides
    kTcp,          // everything below is set
    kOther,        // another protocol
  };
  Kind kind = Kind::kUndecidable;
  std::uint8_t protocol = 0;
  std::uint8_t tcp_flags = 0;                 // wire/tcp.h
  bool has_ports = false;                     // TCP, UDP, SCTP: the endpoints' ports are set
  std::uint8_t icmp_type = 0, icmp_code = 0;  // ICMP and ICMPv6
  Endpoint source, destination;               // inner
};

}  // namespace testudo::ipsec
