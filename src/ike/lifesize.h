// SPDX-License-Identifier: Apache-2.0
// Lifesize: how much of its life each SA has used, over all hosts together, and when its soft and its hard limit
// are reached (spec D2, E4). charon leaves this to its kernel, so it is the owner's. Pure: reports and time go in.
//
//   Lifesize lifesize;
//   lifesize.add(id, sa.limits, now);
//   lifesize.used(id, {.bytes = 1400, .packets = 1}, now);
//   for (auto [id, expiry] : lifesize.due(now)) daemon.expire(…, expiry);
//   executor.run_after(*lifesize.next_due() - now, …);
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/strong.h"
#include "base/time.h"
#include "ike/ike_daemon.h"
#include "ipsec/sa_parameters.h"

namespace testudo::ike {

struct Used {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
};

/// From how much use on a host reports at once, `percent` of the SA's total (spec D2: 5); it reports by time as
/// well. A field without a limit is 0: report by time only.
[[nodiscard]] Used report_threshold(const ipsec::LifesizeLimits& limits, std::uint32_t percent);

class Lifesize {
 public:
  struct Due {
    SaId id;
    Expiry expiry = Expiry::kSoft;
    friend bool operator==(const Due&, const Due&) = default;
  };

  /// A soft limit above its hard one is ignored: charon makes one by underflow when only life_bytes is configured.
  void add(SaId id, const ipsec::LifesizeLimits& limits, Time now);
  void remove(SaId id);
  /// `now`: when the report came, for idle time. Unknown SAs (deleted meanwhile) are ignored.
  void used(SaId id, Used use, Time now);
  [[nodiscard]] SaUse total(SaId id, Time now) const;

  /// Each limit of each SA once, in the order of their ids; a hard one hides a soft one that has not been named
  /// yet.
  [[nodiscard]] std::vector<Due> due(Time now);
  /// Names it again at the next due(): the IKE daemon was away.
  void retry(const Due& due);
  /// When a time limit will be reached next.
  [[nodiscard]] std::optional<Time> next_due() const;

 private:
  struct Entry {
    ipsec::LifesizeLimits limits;
    Time installed;
    Used sum;
    std::optional<Time> last_use;
    bool soft_named = false;
    bool hard_named = false;
  };
  std::map<SaId, Entry> entries_;
};

}  // namespace testudo::ike
