// SPDX-License-Identifier: Apache-2.0
// Lifesize: how much of its life each SA has used, over all hosts together, and when its soft and its hard limit
// are reached (spec D2, E4). charon leaves this to its kernel, so it is the owner's. Pure: reports and time go in.
//
//   Lifesize lifesize;
//   lifesize.add(id, sa.limits, 500, now);                       // reports after 5 %
//   send_to(host, lifesize.share(id, host));                     // what the host may carry of it
//   if (lifesize.used(id, {.host = host, .total = {1400, 1}}, now)) send_to(host, lifesize.share(id, host));
//   for (auto [id, expiry, by_time] : lifesize.due(now)) daemon.expire(…, expiry);
//   executor.run_after(*lifesize.next_due() - now, …);
//
// Hard limits of bytes and packets hold whatever the hosts do and however late their reports come: a host carries
// no more than its share, and all shares together are never more than the limit. A share grows with each report, to
// two thresholds more than the host has used. Shares are not taken back: what an idle host holds is lost to the
// others, and the higher the threshold, the earlier nothing is left to give. Then the SA has run out: its refresh
// is asked for at once if it was not yet, and ReportThresholds hears of it.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/strong.h"
#include "base/time.h"
#include "ike/ike_daemon.h"
#include "ipsec/sa_parameters.h"

namespace testudo::ike {

struct Used {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  friend bool operator==(const Used&, const Used&) = default;
};

/// What one host may do with one SA. Where there is no limit: 0, and it means nothing.
struct Share {
  Used allowed;  // in all; of hard limits
  Used report;   // it reports after this much, and by time as well
  friend bool operator==(const Share&, const Share&) = default;
};

/// What a host has used of an SA since it got it; unlike differences, a report that is lost does no harm.
struct HostUse {
  std::uint32_t host = 0;  // incarnation: the same host that has started anew is another one
  Used total;
  bool refused = false;  // it had to drop packets: its share is too small
};

/// From how much use on a host reports, `level` hundredths of a percent of the SA's total. A field without a limit
/// is 0: report by time only.
[[nodiscard]] Used report_threshold(const ipsec::LifesizeLimits& limits, std::uint32_t level);

class Lifesize {
 public:
  struct Due {
    SaId id;
    Expiry expiry = Expiry::kSoft;
    bool by_time = false;
    friend bool operator==(const Due&, const Due&) = default;
  };

  /// `level`: report_threshold()'s. A soft limit above its hard one is ignored: charon makes one by underflow when
  /// only life_bytes is configured.
  void add(SaId id, const ipsec::LifesizeLimits& limits, std::uint32_t level, Time now);
  void remove(SaId id);
  /// The host's present share; its first one if it has none. Of an unknown SA: nothing.
  Share share(SaId id, std::uint32_t host);
  /// `now`: when the report came, for idle time. True: the host's share has grown. Unknown SAs (deleted meanwhile)
  /// are ignored.
  bool used(SaId id, const HostUse& use, Time now);
  [[nodiscard]] SaUse total(SaId id, Time now) const;
  /// All shares together.
  [[nodiscard]] Used given(SaId id) const;
  /// 0: unknown SA.
  [[nodiscard]] std::uint32_t level(SaId id) const;

  /// Each limit of each SA once, in the order of their ids; a hard one hides a soft one that has not been named
  /// yet.
  [[nodiscard]] std::vector<Due> due(Time now);
  /// SAs of whose hard limit of bytes or packets nothing is left to give, each once.
  [[nodiscard]] std::vector<SaId> take_run_out() { return std::exchange(run_out_, {}); }
  /// Names it again at the next due(): the IKE daemon was away.
  void retry(const Due& due);
  /// When a time limit will be reached next.
  [[nodiscard]] std::optional<Time> next_due() const;

 private:
  struct Account {
    Used allowed, used;
  };
  struct Entry {
    ipsec::LifesizeLimits limits;
    std::uint32_t level = 0;
    Used report;
    Time installed;
    Used sum;                                              // of what the hosts have used
    Used given;                                            // of what they may use
    std::vector<std::pair<std::uint32_t, Account>> hosts;  // few
    std::optional<Time> last_use;
    bool run_out = false;  // nothing is left to give
    bool used_up = false;  // and a host needs more
    bool soft_named = false;
    bool hard_named = false;
  };

  Account& account_of(SaId id, Entry& entry, std::uint32_t host);
  bool extend(SaId id, Entry& entry, Account& account, bool refused);
  void note_given(SaId id, Entry& entry);

  absl::flat_hash_map<SaId, Entry> entries_;
  std::vector<SaId> run_out_;
};

}  // namespace testudo::ike
