// SPDX-License-Identifier: Apache-2.0
// Rule: a Filter as workers match packets against it. Its selectors are a box in a space of five dimensions, and a
// packet is a point in it: a rule matches exactly if its box contains the point.
//
//   const Rule rule = Rule::of(filter, dvipa, tunnels);               // control
//   if (rule.box.contains(Point(Direction::kInbound, flow))) …       // worker
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

#include "ipsec/tunnel.h"
#include "policy/filter.h"

namespace testudo::policy {

/// The port of a packet that shows none: ANY reaches up to here, OPAQUE is just this.
inline constexpr std::uint32_t kNoPort = 65'536;

/// A Flow seen from this cluster: the peer's side is the source of what comes in, the destination of what goes out.
struct Point {
  Point(Direction direction, const Flow& flow);

  IpAddress remote, local;
  std::uint32_t remote_port = kNoPort, local_port = kNoPort;
  std::uint8_t protocol = 0;
};

/// Inclusive ends. All addresses that are compared are of one family.
struct Box {
  IpAddress remote_first, remote_last, local_first, local_last;
  std::uint32_t remote_port_first = 0, remote_port_last = 0, local_port_first = 0, local_port_last = 0;
  std::uint8_t protocol_first = 0, protocol_last = 0;

  [[nodiscard]] bool contains(const Point& p) const {
    return remote_first <= p.remote && p.remote <= remote_last && local_port_first <= p.local_port &&
           p.local_port <= local_port_last && remote_port_first <= p.remote_port &&
           p.remote_port <= remote_port_last && local_first <= p.local && p.local <= local_last &&
           protocol_first <= p.protocol && p.protocol <= protocol_last;
  }
  /// Grows until it contains `other`.
  void include(const Box& other);
  friend bool operator==(const Box&, const Box&) = default;
};

/// Which of several rules that match is the one: the smallest.
struct Rank {
  std::uint32_t priority = 0;
  std::uint64_t id = 0;
  IpAddress dvipa;  // filters of two DVIPAs may have one id
  friend constexpr auto operator<=>(const Rank&, const Rank&) = default;
};

/// Two cache lines: nearly always the first one tells that it does not match.
struct alignas(64) Rule {
  Rank rank;  // unique within a table
  Box box;
  ipsec::TunnelId tunnel;  // none unless kProtect
  Direction direction = Direction::kInbound;
  Action action = Action::kDeny;
  bool log = false;

  /// Interns the tunnel's name. Threads: control.
  static Rule of(const Filter& filter, IpAddress dvipa, ipsec::TunnelNames& tunnels);
  friend bool operator==(const Rule&, const Rule&) = default;
};
static_assert(sizeof(Rule) == 128);

}  // namespace testudo::policy
