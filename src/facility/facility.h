// SPDX-License-Identifier: Apache-2.0
// The coupling facility (CF): the little that the cluster must agree on. Keys with values and revisions,
// compare-and-set, watches, and a session whose keys vanish when its node does. Two implementations behind one
// contract test (facility_contract_test.cc): etcd/ and memory/. No key material ever goes in here (spec B6).
//
//   facility.compare_and_set({.key = "/testudo/c1/owner/192.0.2.100", .expected = Revision{0}, .value = record,
//                             .with_session = true},
//                            [](Result<CasOutcome> outcome) { … });
//
// Every call is asynchronous: its callback runs later on the node's Executor, exactly once, also on failure. While
// the facility cannot be reached calls fail after their timeout with an Error; on_reachable tells the changes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/strong.h"
#include "base/time.h"

namespace testudo::facility {

/// The facility's count of changes; grows with every one. 0 is "the key does not exist".
using Revision = Strong<struct RevisionTag, std::uint64_t>;

struct Entry {
  std::string key;
  std::string value{};
  Revision created;   // revision at which the key came to exist
  Revision modified;  // revision of its last change
};

struct Event {
  Entry entry;  // of a deletion: key and `modified` only
  bool deleted = false;
};

struct CompareAndSet {
  std::string key;
  Revision expected{};  // of Entry::modified; 0: the key must not exist
  std::string value{};
  bool with_session = false;  // the key vanishes with this node's session
  /// Not empty: the write happens only if this other key exists with this `created` revision. So a write of an
  /// owner whose epoch is over fails (spec G5).
  std::string fence_key{};
  Revision fence_created{};
};

struct CasOutcome {
  bool done = false;             // false: somebody else was first, or the fence is gone
  Revision revision;             // of the write, if done
  std::optional<Entry> current;  // if not done: what is there instead
};

class Facility {
 public:
  template <typename T>
  using Callback = std::function<void(Result<T>)>;

  Facility() = default;
  Facility(const Facility&) = delete;
  Facility& operator=(const Facility&) = delete;
  virtual ~Facility() = default;

  /// Opens the session. `lost` runs if it ends without close(): its keys are gone, and what depended on them must
  /// stop.
  virtual void open_session(Duration ttl, Callback<void> opened, std::function<void()> lost) = 0;
  /// Ends the session: its keys vanish now.
  virtual void close_session() = 0;

  /// Entries whose key begins with `prefix`, in key order; and the revision at which that was so.
  struct Listing {
    std::vector<Entry> entries;
    Revision at;
  };
  virtual void list(std::string prefix, Callback<Listing> done) = 0;
  virtual void compare_and_set(CompareAndSet request, Callback<CasOutcome> done) = 0;
  /// Deletes the key if its `modified` revision is `expected`.
  virtual void remove(std::string key, Revision expected, Callback<CasOutcome> done) = 0;

  /// First every present entry as an event, then every change, in order, without gaps, for as long as this object
  /// lives (an implementation reconnects, and lists again when history was compacted: deletions are then reported
  /// too).
  virtual void watch(std::string prefix, std::function<void(const Event&)> on_event) = 0;

  /// Called with false when the facility stops answering, with true when it answers again.
  virtual void on_reachable(std::function<void(bool)> changed) = 0;
};

}  // namespace testudo::facility
