// SPDX-License-Identifier: Apache-2.0
// Peek (spec C2): what an ESP packet carries, by decrypting no more than the inner IPv4 header and the part of the
// TCP header without options. Nothing is authenticated: the answer is a guess on which no state may be built.
//
//   std::array<ipsec::Peeked, 32> peeked;
//   ipsec::peek(engine, requests, peeked);
//   if (peeked[i].kind == ipsec::Peeked::Kind::kTcp) look_up(peeked[i].source, …);
//
// Threads: the worker that owns engine and SAs. At most crypto::kBurstMax requests at once.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "crypto/engine.h"
#include "ipsec/sa.h"

namespace testudo::ipsec {

struct PeekRequest {
  const Sa* sa = nullptr;             // inbound
  std::span<const std::uint8_t> esp;  // from the SPI to the end of the ICV; not changed
};

struct Peeked {
  enum class Kind : std::uint8_t {
    kUndecidable,  // a fragment, too short, or no IPv4: full processing at the owner decides
    kTcp,          // everything below is set
    kOther,        // another protocol: ports and flags are not set
  };
  Kind kind = Kind::kUndecidable;
  std::uint8_t protocol = 0;
  std::uint8_t tcp_flags = 0;    // wire/tcp.h
  Endpoint source, destination;  // inner
};

/// Sets peeked[i] for each request; `peeked` has at least as many elements.
void peek(crypto::Engine& engine, std::span<const PeekRequest> requests, std::span<Peeked> peeked);

}  // namespace testudo::ipsec
