// SPDX-License-Identifier: Apache-2.0
// InstallTimes: how long it takes from the IKE daemon's (or the operator's) SA to the moment at which every member
// that is to have it has acknowledged it: the time in which a peer may already use it and a target not yet have it.
//
//   times.began(id, now);
//   times.ended(id, now);          // of an SA that is not known: nothing
//   times.summary().p99;           // of the last thousand
//
// Control thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

#include "base/strong.h"
#include "base/time.h"

namespace testudo::node {

class InstallTimes {
 public:
  struct Summary {
    std::uint64_t count = 0;  // in all; the rest is of the last kKept
    Duration p50{}, p99{}, max{};
  };

  void began(SaId sa, Time now) { under_way_[sa] = now; }
  void ended(SaId sa, Time now);
  /// It was deleted before it was everywhere.
  void forget(SaId sa) { under_way_.erase(sa); }
  [[nodiscard]] Summary summary() const;

 private:
  static constexpr std::size_t kKept = 1000;

  std::map<SaId, Time> under_way_;
  std::array<Duration, kKept> kept_{};
  std::uint64_t count_ = 0;
};

}  // namespace testudo::node
