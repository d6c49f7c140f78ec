// SPDX-License-Identifier: Apache-2.0
// FilterFeed: the filters of both roles as one table for the data plane. Of a DVIPA that this node owns the owner's
// filters count, else those that its owner has sent. Takes changes one by one: 100,000 filters that come one at a
// time are 100,000 small changes.
//
//   FilterFeed feed(factory.tunnels());
//   plane.submit(path::SetFilters{.table = feed.update(owner, shadow)});
//
// Control thread only.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/strong.h"
#include "node/owner_role.h"
#include "node/shadow_role.h"
#include "policy/filter_set.h"

namespace testudo::node {

class FilterFeed {
 public:
  explicit FilterFeed(ipsec::TunnelNames& tunnels) : set_(tunnels) {}

  void accept_icmp_errors(bool yes) { set_.accept_icmp_errors(yes); }
  /// Takes what has changed since the last call. The same table when nothing has.
  [[nodiscard]] std::shared_ptr<const policy::FilterTable> update(const OwnerRole& owner, ShadowRole& shadow);

 private:
  /// Whose filters of a DVIPA are in the set.
  struct Source {
    bool owned = false;
    Epoch epoch;
    friend bool operator==(const Source&, const Source&) = default;
  };
  bool follows(IpAddress dvipa, Source source);
  void put(IpAddress dvipa, const xcf::v1::Filter& filter);
  void apply(IpAddress dvipa, const std::vector<ike::FilterChange>& changes);

  policy::FilterSet set_;
  std::map<IpAddress, Source> sources_;
};

}  // namespace testudo::node
