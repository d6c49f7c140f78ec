// SPDX-License-Identifier: Apache-2.0
// Failsafe: what owner and backups of a DVIPA promise each other while the owner does not reach the coupling
// facility. It cannot tell whether the facility is down or it is cut off alone; it goes on beyond its session only
// while every backup has promised over XCF not to take over. Pure bookkeeping of both sides, for all DVIPAs of a
// node.
//
//   at the owner, each ask_period, to every backup:  send(failsafe.ask(dvipa, epoch, now))
//   at a backup that may promise:                    send back(failsafe.promise(ask, now));
//                                                    it takes nothing over before failsafe.bound_until(dvipa)
//   at the owner:                                    failsafe.promised("b", promise, now);
//                                                    it stops at failsafe.until(dvipa, epoch, backups)
//
// A promise is a duration, by the backup's clock and from when it is given, which is after it was asked for. The
// owner counts from when it asked, by its own clock, and nine tenths only: 0.9 / 0.95 < 1 / 1.05, so clocks that
// differ from true time by 5 % each, in opposite directions, do no harm. Nobody takes a promise back; a later one
// prolongs it. What a process forgets as it restarts is a backup's risk that epochs make harmless.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/address.h"
#include "base/strong.h"
#include "base/time.h"

namespace testudo::vipa {

/// Owner to backup: will you leave me the DVIPA for a while?
struct Ask {
  IpAddress dvipa;
  Epoch epoch;
  std::uint64_t number = 0;  // grows with each question for this DVIPA and epoch; several backups are asked one
};

/// Backup to owner: yes, for so long.
struct Promise {
  IpAddress dvipa;
  Epoch epoch;
  std::uint64_t number = 0;  // of the question
  Duration lasts{};
};

class Failsafe {
 public:
  struct Options {
    Duration ask_period = std::chrono::seconds(1);
    Duration promise = std::chrono::seconds(4);  // less than a session's TTL
  };

  explicit Failsafe(Options options) : options_(options) {}

  // At the owner.
  Ask ask(IpAddress dvipa, Epoch epoch, Time now);
  void promised(const std::string& by, const Promise& promise, Time now);
  /// All of `backups` keep still until then. Time::min() if one has not promised, or there is none.
  [[nodiscard]] Time until(IpAddress dvipa, Epoch epoch, const std::set<std::string>& backups) const;
  /// Nothing is asked for it any more.
  void forget(IpAddress dvipa) { asking_.erase(dvipa); }

  // At a backup.
  Promise promise(const Ask& ask, Time now);
  [[nodiscard]] Time bound_until(IpAddress dvipa) const;
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  struct Asking {
    Epoch epoch;
    std::uint64_t last = 0;
    std::deque<std::pair<std::uint64_t, Time>> asked;  // when; the latest few
    std::map<std::string, Time> until;                 // by backup
  };

  Options options_;
  std::map<IpAddress, Asking> asking_;
  std::map<IpAddress, Time> bound_;
};

}  // namespace testudo::vipa
