// SPDX-License-Identifier: Apache-2.0
// ReportThresholds: how much of an SA's lifesize a host may use between two reports to the owner (spec D2, E4). Few
// reports are cheap, but what has not been reported yet makes the owner ask for a refresh too late. So the
// threshold follows how refreshes go, for each tunnel and direction: an SA that ran out before its successor was
// there halves it, and one that was replaced in time raises it by a quarter, up to a maximum.
//
//   ReportThresholds thresholds({.start = 500});
//   lifesize.add(id, limits, thresholds.added(id, dvipa, tunnel, direction), now);
//   thresholds.soft(id);                           // the IKE daemon was asked to refresh it
//   thresholds.ran_out(id);                        // and it is late, if this is still the newest
//   thresholds.removed(id);                        // or in time
//
// A level at which a refresh was late is remembered, and the threshold stays a fifth below it: it is tried again
// after `patience` refreshes in time, one after the other, and twice as many each time that it fails. Late
// refreshes become ever rarer that way, and a threshold that some burst has lowered comes up again.
//
// Pure; no clock. Levels are in hundredths of a percent of the SA's lifesize.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "base/address.h"
#include "base/strong.h"
#include "ipsec/sa_parameters.h"

namespace testudo::ike {

class ReportThresholds {
 public:
  struct Options {
    std::uint32_t start = 500;
    std::uint32_t least = 100;
    std::uint32_t most = 500;
    std::uint32_t patience = 16;  // refreshes in time before a level that failed is tried again
  };
  struct Counts {
    std::uint64_t timely = 0, late = 0;
  };

  /// least <= start <= most, CHECKed.
  explicit ReportThresholds(const Options& options);

  /// Returns the threshold of this new SA. It replaces the one added before it, if that one is still there.
  std::uint32_t added(SaId id, IpAddress dvipa, const std::string& tunnel, ipsec::Direction direction);
  /// Its soft limit of bytes or packets is reached: what happens next says whether that was known in time.
  void soft(SaId id);
  /// Nothing is left of its bytes or packets that a host could be given, or its hard limit is reached.
  void ran_out(SaId id);
  /// Unknown SAs are ignored, here and above.
  void removed(SaId id);

  /// For an SA added now.
  [[nodiscard]] std::uint32_t level(IpAddress dvipa, const std::string& tunnel, ipsec::Direction direction) const;
  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] std::size_t tunnels() const { return lines_.size(); }

 private:
  // Of lines that no SA is left of, so many are remembered for their levels' sake. They are forgotten together: to
  // look for them takes a look at all lines.
  static constexpr std::size_t kIdleMost = 1 << 14;
  static constexpr std::uint32_t kPatienceMost = 1 << 12;

  using Key = std::tuple<IpAddress, std::string, ipsec::Direction>;
  /// The SAs of one tunnel and direction, one after the other.
  struct Line {
    std::uint32_t level = 0;
    std::uint32_t failed = 0;  // level at which a refresh was late; 0: none is remembered
    std::uint32_t patience = 0;
    std::uint32_t in_time = 0;  // refreshes since the last late one
    bool trying = false;        // a level that has failed before
    SaId newest{};
    std::size_t alive = 0;
  };
  using Lines = std::map<Key, Line>;
  struct Member {
    Lines::iterator line;
    std::uint32_t level = 0;
    bool soft = false;
    bool late = false;
  };

  void lower(Line& line, std::uint32_t failed) const;
  void raise(Line& line) const;
  void forget_idle();

  Options options_;
  Lines lines_;
  std::size_t idle_ = 0;  // lines without an SA
  std::map<SaId, Member> members_;
  Counts counts_;
};

}  // namespace testudo::ike
