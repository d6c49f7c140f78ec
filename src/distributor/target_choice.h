// SPDX-License-Identifier: Apache-2.0
// TargetChoice: which ready target a new connection goes to: each in turn, for each DVIPA and port by itself.
//
//   choice.set_distribution(table);                                            // after each change
//   NodeId target = choice.choose(*dvipa, 443, TargetChoice::Protection::kIpsec);   // 0: no target is ready
//
// Thread: one worker. Only set_distribution() allocates.
#pragma once

#include <cstdint>
#include <vector>

#include "base/strong.h"
#include "distributor/distribution.h"

namespace testudo::distributor {

class TargetChoice {
 public:
  enum class Protection : std::uint8_t { kClear, kIpsec };

  /// Each port goes on with the target after the one that was chosen last.
  void set_distribution(const Distribution& distribution);

  /// `dvipa`: of the distribution that was set. None (0): no target is ready that takes such connections.
  [[nodiscard]] NodeId choose(const Dvipa& dvipa, std::uint16_t port, Protection protection);

 private:
  struct Turn {
    IpAddress dvipa;
    std::uint16_t port = 0;
    NodeId last;  // 0: none yet
  };
  [[nodiscard]] Turn* turn(IpAddress dvipa, std::uint16_t port);

  std::vector<Turn> turns_;  // by DVIPA and port
};

}  // namespace testudo::distributor
