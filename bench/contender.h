// SPDX-License-Identifier: Apache-2.0
// Contender: one implementation of ESP in one direction with its SAs. A turn of four bursts is given to it outside
// of the measured time, as a network card would have put it into its buffers; run() is what is measured.
//
//   Turn turn = traffic.next();
//   contender.load(turn);
//   timed([&] { good += contender.run(); });
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bench/suites.h"
#include "ipsec/sa_parameters.h"

namespace testudo::bench {

using ipsec::Direction;

inline constexpr std::size_t kBurst = 32;         // packets, as they come and leave together
inline constexpr std::size_t kTurn = 4 * kBurst;  // packets: small enough for the second-level cache
inline constexpr std::size_t kOuter = 20;         // bytes of the outer IPv4 header
inline constexpr std::uint32_t kWindow = 64;      // packets of the replay window
inline constexpr std::uint32_t kFirstSpi = 0x1000;
inline constexpr std::uint32_t kLocal = 0xc0000264;        // 192.0.2.100, of the outer header
inline constexpr std::uint32_t kFirstRemote = 0x0a000001;  // 10.0.0.1: the peer of SA number 0

/// What the contender is to handle. `bytes`: outbound, an IPv4 packet to be protected; inbound, outer IPv4 header
/// and ESP.
struct TurnPacket {
  std::uint32_t sa =
      0;  // outbound: what the policy look-up has found. Inbound: only for contenders without look-up
  std::span<const std::uint8_t> bytes;
};
using Turn = std::array<TurnPacket, kTurn>;

struct Case {
  const Suite* suite = nullptr;
  Direction direction = Direction::kOutbound;
  std::uint32_t sas = 1;
  friend bool operator<(const Case& a, const Case& b) {
    if (a.suite != b.suite) return a.suite < b.suite;
    return a.direction != b.direction ? a.direction < b.direction : a.sas < b.sas;
  }
};

class Contender {
 public:
  Contender() = default;
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;
  virtual ~Contender() = default;
  /// Copies the packets into buffers of its own.
  virtual void load(const Turn& turn) = 0;
  /// Handles them, burst by burst. Returns how many were good.
  virtual std::size_t run() = 0;
};

}  // namespace testudo::bench
