// SPDX-License-Identifier: Apache-2.0
// Failure detector: which members are dead, as this node judges it from heartbeats on XCF, well before the coupling
// facility's session of a dead member runs out. Every member sends a heartbeat to every other one each period,
// which carries the names of the members that the sender does not hear any more; so each knows what the others
// hear. Pure bookkeeping: what was heard and the time go in, names come out.
//
//   FailureDetector detector("b", {}, now);
//   members by the facility changed → detector.members({"a", "b", "c"}, now);
//   heartbeat came                  → detector.heard("c", {"a"}, now);
//   link events of the bus          → detector.link_up("c", now); detector.link_down("a", now);
//   each period, and at next_timer() → send Heartbeat{silent: detector.silent(now)}, then
//                                      ownership.suspect(detector.dead(now));
//
// When silent() has become longer, a heartbeat is best sent at once: the others wait for it.
//
// What is decided. A member is dead if this node finds it silent and so does a majority of those who can say: of
// all members by the facility but the suspected one, this node included. Who is cut off together with fewer than
// half of the members therefore never finds anybody of the others dead, and takes nothing over from a healthy
// majority. Of two members the one that is left is that majority alone: it cannot tell a dead neighbour from a cut
// cable, and decides for a takeover. That is wrong when the cable was cut, and harmless: the compare-and-set of the
// owner's key settles who owns, its new epoch makes the former owner's words void, and vipa::Ownership does not
// take back what was taken from it. A needless takeover is all it costs; waiting would cost the address for a
// session's TTL whenever a node of two has died. The same goes for two halves of equal size.
//
// Nobody is accused who was not heard at all since it became a member (its links may take their time; its session
// is watched by the facility), nor by a node that was itself stopped and cannot know what it missed.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/time.h"

namespace testudo::vipa {

class FailureDetector {
 public:
  struct Options {
    Duration period = 50ms;  // of heartbeats
    int missed = 4;          // so many periods without a heartbeat: silent
    int paused = 3;          // so many periods without any call: this node was stopped, and listens anew

    [[nodiscard]] Duration timeout() const { return period * missed; }
  };
  using Names = std::set<std::string>;

  FailureDetector(std::string self, Options options, Time now);

  /// All members by the coupling facility; this node may be among them or not.
  void members(const Names& names, Time now);
  /// A heartbeat of `name`, with the names that it finds silent.
  void heard(const std::string& name, Names silent, Time now);
  void link_up(const std::string& name, Time now);
  /// Its control stream has ended: silent at once, not only after the timeout.
  void link_down(const std::string& name, Time now);

  /// For the next heartbeat.
  [[nodiscard]] Names silent(Time now);
  [[nodiscard]] Names dead(Time now);
  /// When the next member will be silent unless it is heard; nothing if none can be.
  [[nodiscard]] std::optional<Time> next_timer() const;
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  struct Member {
    std::optional<Time> heard;  // last; nothing: never since it became a member
    bool down = false;          // its link is, and it was not heard since
    Names accuses;              // in its last heartbeat
  };

  void listen(Time now);
  [[nodiscard]] bool is_silent(const Member& member, Time now) const;
  [[nodiscard]] bool fresh(const Member& member, Time now) const;

  std::string self_;
  Options options_;
  std::map<std::string, Member> members_;  // but this node
  Time last_call_;
  Time listening_since_;  // without a pause
};

}  // namespace testudo::vipa
