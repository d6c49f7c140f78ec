// SPDX-License-Identifier: Apache-2.0
// Case: what one run of the freshness simulation is asked, and Result: what came out of it.
//
// N targets send packets of one SA. Each gets its sequence numbers by one of the schemes; the packets go to one
// peer, over paths that delay each sender's packets differently. The peer refuses what lies behind its replay
// window.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace testudo::freshness {

enum class Scheme : std::uint8_t {
  kLeases,     // sequence::Sequencer and sequence::Lessee
  kBlocks,     // blocks of numbers from a counter in the coupling facility, fetched ahead; no span rule
  kPerPacket,  // each packet's number is asked for when it is ready
  kPerBurst,   // one request for all packets that are ready
};

/// A message between a target and the sequencer (or the counter): least + a part that is the host's own (hosts are
/// spread evenly) + a part that is drawn for each message, up to `spread`. Each direction is first in, first out.
struct XcfDelay {
  Duration least = 10us, most = 50us;
  Duration spread = 40us;
};

/// A packet on its way to the peer: `base` + jitter, drawn for each packet; each sender is first in, first out.
struct PathDelay {
  Duration base = 20us;
  Duration mean = 5us;      // of an exponential jitter, which has no bound
  Duration uniform_most{};  // not 0: uniform up to this instead
};

/// Packets that answer others: the owner forwards one packet to a target, which answers after a while.
struct Answers {
  bool on = false;
  bool offers = false;
  Duration least = 20us, most = 100us;  // from the packet's arrival at the target to the answer
};

struct Case {
  Scheme scheme = Scheme::kLeases;
  std::uint32_t block = 0;  // kBlocks: numbers in one
  std::uint32_t targets = 4;
  double rate = 0.5e6;  // packets per second that are offered, of all targets
  std::uint32_t burst = 8;
  std::vector<std::uint32_t> windows = {32};  // of the peer. kLeases: one, which the sequencer knows
  Duration guard = 20us;
  XcfDelay xcf = {};
  PathDelay path = {};
  bool owner_sends = false;  // the first target is the owner itself: its messages take no time
  Answers answers = {};
  std::uint64_t packets = 100'000;  // offered; the run lasts packets / rate
  std::uint64_t seed = 1;
};

struct Refusals {
  std::uint32_t window = 0;
  std::uint64_t refused = 0;
  /// Of these: the path alone delayed the packet by more than the guard beyond its least delay.
  std::uint64_t by_jitter = 0;
};

struct Result {
  std::uint64_t offered = 0, sent = 0, received = 0;         // packets
  std::uint64_t overflowed = 0;                              // had no room to wait
  std::uint64_t late = 0;                                    // dropped, as their lease was over
  std::uint64_t granted = 0;                                 // numbers, used or skipped
  std::uint64_t messages = 0;                                // datagrams, both directions
  std::uint64_t offers = 0, offers_used = 0;                 // numbers granted unasked
  double seconds = 0;                                        // of virtual time in which these packets were sent
  double wait_p50_us = 0, wait_p99_us = 0, wait_max_us = 0;  // from ready to numbered
  double beyond_guard = 0;         // share of packets whose path's jitter exceeded the guard
  std::vector<Refusals> refusals;  // by window

  [[nodiscard]] double rate() const { return seconds > 0 ? static_cast<double>(sent) / seconds : 0; }
};

/// The most packets per second in shared mode: a window of numbers per round trip and guard.
double bound(const Case& c);

Result run(const Case& c);

}  // namespace testudo::freshness
