// SPDX-License-Identifier: Apache-2.0
// World: hosts, messages and virtual time of the freshness simulation.
//
// A host turns as path::Worker does: messages first, then numbers for what waits, train by train (encrypted, sent,
// told to be sent), and what is to be told to others last; its messages leave when the turn's packets have left.
// The turn's clock stands still meanwhile; the deadline of a lease is looked at again before each train leaves.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <queue>
#include <vector>

#include "sim/freshness/case.h"
#include "sim/freshness/dice.h"
#include "sim/freshness/numbering.h"
#include "sim/freshness/peer.h"

namespace testudo::freshness {

class World {
 public:
  explicit World(const Case& c);
  Result run();

 private:
  static constexpr std::uint32_t kTrain = 64;         // packets in one send call
  static constexpr std::uint32_t kWaitMost = 2048;    // packets that may wait at a host
  static constexpr Duration kPacketTakes = 400ns;     // encryption and sending, 1400 bytes on one core
  static constexpr std::size_t kSamples = 4'000'000;  // waits that are kept

  enum class Kind : std::uint8_t { kBurst, kReady, kTurn, kMailToHost, kMailToSource, kSourceTurn };
  struct Event {
    Time when;
    std::uint64_t order;
    Kind kind;
    std::uint32_t host;
    bool operator<(const Event& other) const { return std::pair(when, order) > std::pair(other.when, other.order); }
  };
  struct Waiting {
    Time since;  // Time::max(): no turn has seen it
    std::uint32_t count;
  };
  struct Link {
    Time last;
    std::deque<Mail> mails;
  };
  struct Host {
    Time busy_until;
    Time turn_due = Time::max();  // of the next kTurn that counts
    std::deque<Waiting> waiting;
    std::uint32_t packets = 0;  // that wait
    std::deque<Mail> inbox;
    Link to_source, from_source;
  };

  void at(Time when, Kind kind, std::size_t host) {
    events_.push({when, ++order_, kind, static_cast<std::uint32_t>(host)});
  }
  void handle(const Event& event);
  void next_burst(std::size_t host);
  void ready(std::size_t host);
  void turn_at(std::size_t host, Time when);
  void turn(std::size_t host);
  void send_what_waits(std::size_t host);
  Time send(std::size_t host, const sequence::Numbers& numbers, Time at);
  void note_waits(Host& host, std::uint32_t count);
  void carry(Time when, Link Host::*direction, Kind kind);
  void carry_to_source(Time when);
  void carry_to_hosts();
  Duration xcf_delay(std::size_t host);
  void set_source_timer();
  Result result();

  Case case_;
  Dice traffic_, network_, path_;
  Peer peer_;
  std::unique_ptr<Numbering> numbering_;
  std::vector<Host> hosts_;
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  Time now_{1s};
  Time ends_;                         // of the offered traffic
  Time measured_from_ = Time::max();  // the first lease has come
  Time source_due_ = Time::max();
  Mails mails_;
  std::vector<std::uint32_t> waits_;  // ns
  Result result_;
};

}  // namespace testudo::freshness
