// SPDX-License-Identifier: Apache-2.0
// Every reason for which a packet is dropped: one list, from which the enum, the names and the counters are made.
// To add one, add a line here and use it; status, metrics and docs/counters.md's check follow.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace testudo {

// X(enumerator, "name in counters", "what it means, for operators")
#define TESTUDO_DROPS(X)                                                                                       \
  X(kTruncated, "truncated", "shorter than its headers say, or than its protocol needs")                       \
  X(kMalformed, "malformed", "a header with an impossible value")                                              \
  X(kUnknownSpi, "unknown_spi", "no SA with this SPI, protocol and source")                                    \
  X(kBadIcv, "bad_icv", "integrity check value is wrong: corrupted, forged, or the wrong key")                 \
  X(kBadPadding, "bad_padding", "ESP padding is not 1, 2, 3 … or is longer than the packet")                   \
  X(kDummy, "dummy", "an ESP packet without content, sent to hide how much is sent")                           \
  X(kWrongMode, "wrong_mode", "no IP packet inside a tunnel-mode SA, or one inside a transport-mode SA")       \
  X(kEcn, "ecn", "congestion was marked on the way, and the inner packet's sender does not know the mark")     \
  X(kReplay, "replay", "sequence number was seen before")                                                      \
  X(kReplayTooOld, "replay_too_old", "sequence number is behind the replay window")                            \
  X(kNotSelected, "not_selected", "inner packet is outside the selectors of the SA it came by (tunnel check)") \
  X(kFilterDenied, "filter_denied", "a filter rule denies it")                                                 \
  X(kClearButProtected, "clear_but_protected", "came in the clear, and a filter says it must be protected")    \
  X(kNotForDvipa, "not_for_dvipa", "its destination is no DVIPA of this node")                                 \
  X(kNoConnection, "no_connection", "TCP segment of no known connection, and not a SYN")                       \
  X(kNoTarget, "no_target", "no target is ready for this port")                                                \
  X(kConnectionTableFull, "connection_table_full", "the connection table is full")                             \
  X(kStaleEpoch, "stale_epoch", "sent under an ownership epoch that is over")                                  \
  X(kNotXcf, "not_xcf", "XCF data from an address that is no member's")                                        \
  X(kUnsupported, "unsupported", "a protocol or an option that this node does not handle")                     \
  X(kFragment, "fragment", "an IP fragment where a whole packet is needed")                                    \
  X(kFragmentOverlap, "fragment_overlap", "a fragment that overlaps another one of its packet")                \
  X(kFragmentLost, "fragment_lost", "a fragment whose packet was not completed, or made room")                 \
  X(kIcmpUnverified, "icmp_unverified", "an ICMP error about protected packets, unproven")                     \
  X(kTooBig, "too_big", "does not fit the path's MTU after protection")                                        \
  X(kNoOutboundSa, "no_outbound_sa", "a filter says protect, and no SA is installed")                          \
  X(kNoFilter, "no_filter", "no filter matches: the default is to drop")                                       \
  X(kHoldFull, "hold_full", "the queue of packets that wait for an SA or for sequence numbers is full")        \
  X(kHoldExpired, "hold_expired", "waited too long for an SA or for sequence numbers")                         \
  X(kUnconfirmed, "unconfirmed",                                                                               \
    "the owner itself accepted it, and its first backup did not confirm the number in time")                   \
  X(kLeaseExpired, "lease_expired",                                                                            \
    "its sequence number's lease ran out between encryption and sending: never sent late")                     \
  X(kSequenceExhausted, "sequence_exhausted", "the SA has no sequence number left")                            \
  X(kLifesize, "lifesize", "this node may carry no more of its SA: the rest of the hard limit is others'")     \
  X(kPortFull, "port_full", "the kernel or the queue to it took no more")                                      \
  X(kBridgeFull, "bridge_full", "charon does not take IKE messages fast enough, or is away")

enum class Drop : std::uint8_t {
#define X(enumerator, name, text) enumerator,
  TESTUDO_DROPS(X)
#undef X
};

inline constexpr std::array kDropNames = {
#define X(enumerator, name, text) std::string_view(name),
    TESTUDO_DROPS(X)
#undef X
};
inline constexpr std::array kDropTexts = {
#define X(enumerator, name, text) std::string_view(text),
    TESTUDO_DROPS(X)
#undef X
};

/// A counter that one thread writes and any thread reads: no locked instruction on the writer's side.
class Counter {
 public:
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class DropCounters {
 public:
  void count(Drop reason, std::uint64_t n = 1) { counters_[static_cast<std::size_t>(reason)].add(n); }
  [[nodiscard]] std::uint64_t value(Drop reason) const {
    return counters_[static_cast<std::size_t>(reason)].value();
  }

 private:
  std::array<Counter, kDropNames.size()> counters_;
};

}  // namespace testudo
