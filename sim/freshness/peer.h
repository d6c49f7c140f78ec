// SPDX-License-Identifier: Apache-2.0
// Peer: the paths to it, and its replay check (RFC 4303 section 3.4.3) with one or several windows side by side.
//
//   Peer peer(c, dice);
//   peer.send(host, first, count, when);   // times rise per host
//   peer.receive_until(now);               // before anything is sent at `now`
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/time.h"
#include "sim/freshness/case.h"
#include "sim/freshness/dice.h"

namespace testudo::freshness {

class Peer {
 public:
  Peer(const Case& c, Dice& dice);

  void send(std::size_t host, std::uint64_t first, std::uint32_t count, Time when);
  /// What has arrived by then, in the order of arrival.
  void receive_until(Time now);

  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] std::uint64_t beyond_guard() const { return beyond_guard_; }
  [[nodiscard]] const std::vector<Refusals>& refusals() const { return refusals_; }

 private:
  struct Packet {
    Time arrives;
    std::uint64_t number;
    bool beyond_guard;
  };
  struct Path {
    Time last;  // arrival
    std::deque<Packet> packets;
  };
  void receive(const Packet& packet);

  PathDelay delay_;
  Duration guard_;
  Dice& dice_;
  std::vector<Path> paths_;
  std::vector<bool> seen_;  // by number
  std::uint64_t top_ = 0, received_ = 0, beyond_guard_ = 0;
  std::vector<Refusals> refusals_;
};

}  // namespace testudo::freshness
