// SPDX-License-Identifier: Apache-2.0
// LocalSas: the SAs in this node's own data plane, its SA cache and shadow SA caches alike (spec B2, B4), what of
// their use has not been reported yet (spec D2, E4), and this node's share of each SA's lifesize.
//
//   if (auto done = sas.install(parameters, epoch, owner, now, share); !done) refuse(done.error());
//   for (const LocalSas::Use& use : sas.take_use(now)) report(use);
//   sas.allow(id, larger_share);              // the answer
//   sas.remove(id);
//
// Control thread only. Counters are read while the worker writes them: each SA lives until the worker has given it
// back.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/strong.h"
#include "base/time.h"
#include "ike/lifesize.h"
#include "ike/sa_message.h"
#include "ipsec/sa.h"
#include "node/data_plane.h"
#include "node/key_log.h"

namespace testudo::node {

class LocalSas {
 public:
  struct Options {
    Duration report_interval = 1s;  // at the latest; a share's threshold may come before
  };
  struct Use {
    SaId sa;
    IpAddress dvipa;
    ike::Used used;        // in all, since it is here
    bool refused = false;  // packets were dropped, for the share was used up
  };
  struct Entry {
    ipsec::Sa* sa = nullptr;    // the worker's: only what any thread may call
    ipsec::SaParameters shown;  // without keys: what the worker's object has, as far as control may read it
    Epoch epoch;
    NodeId owner;
    Time installed;  // here
    ike::Share share;
    ike::Used reported;
    Time last_report;
    bool refusal_told = false;  // since the last allow()
    bool repeat = false;        // the last report may be lost
  };

  /// `key_log`: is told the keys of each SA that is installed; null, as a rule: nobody is.
  LocalSas(const Options& options, ipsec::SaFactory& factory, DataPlane& plane, KeyLog* key_log = nullptr)
      : options_(options), factory_(factory), plane_(plane), key_log_(key_log) {}

  /// Repeating an SA that is here changes nothing but its path and its share. `first`: the first sequence number
  /// that may be granted, if this node is the owner.
  Result<void> install(ipsec::SaParameters parameters, Epoch epoch, NodeId owner, Time now, const ike::Share& share,
                       SeqNo first = SeqNo(1));
  /// This node's share has grown. One that is smaller than what is known is older, and ignored.
  void allow(SaId sa, const ike::Share& share);
  /// Its peer is at another address or port. An SA that is not here is left alone.
  void move(const ike::SaMove& move);
  /// Its owner has deleted it. What was used and not reported is in the next take_use().
  void remove(SaId sa, Time now);
  /// The DVIPA's SAs have another owner now, or another epoch, and go on. All that was used is due.
  void follow_owner(IpAddress dvipa, Epoch epoch, NodeId owner);
  void remove_all(IpAddress dvipa, Time now);

  /// The worker has given the SA back, for whatever reason: it is not looked at any more. What was used and not
  /// reported is in the next take_use().
  void retired(const ipsec::Sa& sa);

  /// What is due: by the share's threshold, by time, or because the share comes to its end.
  [[nodiscard]] std::vector<Use> take_use(Time now);
  /// The DVIPA's owner may have missed reports: all that was used is due.
  void report_again(IpAddress dvipa);

  [[nodiscard]] const std::map<SaId, Entry>& all() const { return entries_; }
  /// Those of one DVIPA.
  [[nodiscard]] std::vector<SaId> of(IpAddress dvipa) const;
  [[nodiscard]] bool has(SaId sa) const { return entries_.contains(sa); }

 private:
  static ike::Used total(const ipsec::Sa& sa) {
    return {.bytes = sa.totals().bytes.value(), .packets = sa.totals().packets.value()};
  }
  [[nodiscard]] bool due(const Entry& entry, const ike::Used& sum, Time now) const;
  void take(SaId id, Entry& entry, Time now);
  void follow(const ipsec::SaParameters& shown, const ipsec::SaParameters& now);

  Options options_;
  ipsec::SaFactory& factory_;
  DataPlane& plane_;
  KeyLog* key_log_;
  std::map<SaId, Entry> entries_;
  std::vector<Use> uses_;  // of SAs that were removed, and what take_use() gathers
};

}  // namespace testudo::node
