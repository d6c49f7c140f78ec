// SPDX-License-Identifier: Apache-2.0
// Plan: what one seed decides about a run of the protocols before it begins: how many hosts, which windows, how
// much traffic, which faults and how often.
//
//   const Plan plan = plan_of(seed);
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "sequence/lessee.h"
#include "sequence/sequencer.h"

namespace testudo::sim::protocol {

/// The mean time between two faults of a kind, in the whole cluster; zero: it never happens.
using Every = Duration;

struct Plan {
  std::uint32_t hosts = 4;    // 2 to 16; each is a target
  std::uint32_t backups = 2;  // hosts that may become the owner, apart from the first owner; by rank
  std::uint32_t tunnels = 2;  // each with an SA in either direction
  std::uint32_t flows = 4;    // connections per tunnel
  std::uint32_t peer_window = 32;
  std::uint32_t our_window = 32;
  std::uint32_t ledger = 256;           // numbers
  std::uint32_t pending_groups = 4096;  // of all ledgers of an owner (distributor::ReplayMemory)
  bool esn = false;
  std::uint64_t outbound_first = 1;  // number of each SA
  std::uint64_t inbound_first = 1;

  Duration length = 200ms;  // with faults; then calm
  Duration burst_every{};   // of packets to send, per host and tunnel
  std::uint32_t burst_most = 44;
  Duration packet_every{};  // from the peer, per tunnel
  Duration attack_every{};  // zero: nobody attacks

  double loss = 0, duplication = 0;  // of datagrams between hosts
  double late = 0;                   // probability that one comes up to kLateMost late
  double peer_loss = 0;              // likewise, from the peer to the owner
  double peer_late = 0;
  bool path_within_guard = true;  // the jitter of the paths to the peer is below the skew guard

  Every target_crash{}, owner_crash{}, both_crash{};
  Every target_pause{}, owner_pause{};
  Duration pause_most = 200ms;
  double preemption = 0;  // probability, between the last look at the clock and the network
  bool drift = false;     // clocks are up to 5 % fast or slow
  Every clock_jump{};
  Every facility_away{};  // for one host or all
  Every false_alarm{};    // a backup takes over from an owner that lives
  Every reassign{};       // a connection moves to another target

  Duration session_ttl = 300ms;  // of a host's session with the facility
  Duration detection = 150ms;    // until the owner knows that a target has gone
  sequence::SequencerConfig sequencer;
  sequence::LesseeConfig lessee;

  /// Nothing goes wrong but what an attacker does: each genuine packet must arrive.
  [[nodiscard]] bool peaceful() const;
  [[nodiscard]] std::string text() const;
};

/// A datagram that is later than this never comes. A host needs longer to start again.
inline constexpr Duration kLateMost = 120ms;
inline constexpr Duration kRestartLeast = 150ms;

[[nodiscard]] Plan plan_of(std::uint64_t seed);

}  // namespace testudo::sim::protocol
