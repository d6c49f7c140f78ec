// SPDX-License-Identifier: Apache-2.0
// What the simulation of the protocols has in place of packets: an ESP packet is an SA, a number, a flow, and
// whether the peer has made it.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/strong.h"

namespace testudo::sim::protocol {

inline constexpr IpAddress kDvipa{0xc0000264};

struct EspPacket {
  SaId sa;
  std::uint32_t low = 0;  // of the number, as the header has it
  SeqNo covered;          // the whole number, as the ICV covers it
  std::uint32_t tunnel = 0;
  std::uint32_t flow = 0;  // within the tunnel; a forger chooses it as well
  bool genuine = false;

  /// The ICV is right if the receiver completes the number as the sender did.
  [[nodiscard]] bool authentic(SeqNo number) const { return genuine && number == covered; }
};

/// The SAs of a tunnel. Outbound ones live as long as the run; an inbound one is replaced when it is closed.
struct Tunnel {
  SaId outbound;
  SaId inbound;
  bool replacing = false;
};

}  // namespace testudo::sim::protocol
