// SPDX-License-Identifier: Apache-2.0
// One watch of an etcd prefix that never ends: it lists, then follows the changes, resumes after a break at the
// revision it has reached, and lists again when etcd no longer has that history.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "facility/etcd/etcd_client.h"
#include "facility/facility.h"

namespace testudo::facility {

class EtcdWatch {
 public:
  EtcdWatch(EtcdClient& client, std::string prefix, std::function<void(const Event&)> on_event);
  /// Leaves the present stream for one to the server that is now in use.
  void restart();

 private:
  void begin();
  void list();
  void listed(const etcdserverpb::RangeResponse& response);
  void follow();
  void received(const etcdserverpb::WatchResponse& response);
  void again_after(Duration delay);
  bool report(Event event);

  EtcdClient& client_;
  std::string prefix_;
  std::function<void(const Event&)> on_event_;
  std::map<std::string, Revision> known_;  // keys that were reported and not deleted, and their `modified`
  bool listed_ = false;
  std::int64_t seen_ = 0;      // everything up to this revision has been reported
  std::uint64_t attempt_ = 0;  // what belongs to an earlier attempt is ignored
  std::shared_ptr<EtcdWatchStream> stream_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

/// The end of the range of keys that begin with `prefix`, as etcd wants it.
std::string range_end(std::string prefix);
Entry entry_of(const etcdserverpb::KeyValue& kv);

}  // namespace testudo::facility
