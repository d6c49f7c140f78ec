// SPDX-License-Identifier: Apache-2.0
// What one security association is: the values that charon negotiated, as they travel from the owner's IKE bridge
// to every SA cache (spec B2–B4). Immutable once made. RFC 4301 section 4.4.2 names the fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "base/secret.h"
#include "base/strong.h"
#include "crypto/suite.h"

namespace testudo::ipsec {

enum class Direction : std::uint8_t { kInbound, kOutbound };

/// The outermost header's, as in the IP header before it.
enum class Protocol : std::uint8_t { kEsp = 50, kAh = 51 };

enum class Mode : std::uint8_t { kTunnel, kTransport };

/// The outer IPv4 header's bit in tunnel mode (RFC 4301 section 8.1). An inner IPv6 packet counts as one that has
/// the bit set: nobody on its way may fragment it.
enum class DontFragment : std::uint8_t { kCopy, kSet, kClear };

/// Limits of one kind, over all hosts together. 0: no limit.
struct LifesizeLimits {
  std::uint64_t soft_bytes = 0, hard_bytes = 0;  // of inner packets
  std::uint64_t soft_packets = 0, hard_packets = 0;
  std::uint64_t soft_seconds = 0, hard_seconds = 0;  // since installation
  friend bool operator==(const LifesizeLimits&, const LifesizeLimits&) = default;
};

/// The ESP header behind the AH header of the same packet. One SA with one sequence number space: outbound, both
/// headers carry the AH's number; inbound, the AH's replay window guards both, for nothing is accepted by this SPI
/// alone (docs/decisions/0006-ah-over-esp-is-one-sa.md).
struct InnerEsp {
  Spi spi;
  crypto::Suite suite;
  Secret key;
};

struct SaParameters {
  SaId id;
  Direction direction = Direction::kInbound;
  Protocol protocol = Protocol::kEsp;
  Mode mode = Mode::kTunnel;
  Spi spi;
  IpAddress local;                   // the DVIPA, of the outer header
  IpAddress remote;                  // the peer, of the outer header
  bool udp_encapsulation = false;    // RFC 3948; ESP only
  std::uint16_t local_port = 4500;   // with udp_encapsulation
  std::uint16_t remote_port = 4500;  // with udp_encapsulation
  std::string tunnel;                // tunnel name: what filters refer to (spec B4)
  std::uint32_t reqid = 0;           // charon's number for the CHILD_SA's policies; part of the tunnel name
  crypto::Suite suite = crypto::Suite::kAesGcm128Icv16;  // ESP's, or with protocol AH one of AH's
  Secret key;                                            // suite-defined: crypto/suite.h says the layout
  std::uint32_t replay_window = 32;     // inbound: ours. outbound: the peer's, which the leases' span follows (E6)
  bool esn = false;                     // not together with inner_esp
  std::optional<InnerEsp> inner_esp{};  // only with protocol AH
  DontFragment dont_fragment = DontFragment::kCopy;  // outbound tunnel mode
  bool copy_dscp = true;  // outbound tunnel mode: outer DSCP from the inner header, else 0
  LifesizeLimits limits;
};

}  // namespace testudo::ipsec
