// SPDX-License-Identifier: Apache-2.0
// FilterSet: the filters of all DVIPAs by their names, as the control thread keeps them, and snapshots of them for
// workers. Each change costs O(log n), however many filters there are.
//
//   policy::FilterSet filters(sa_factory.tunnels());
//   filters.put(dvipa, filter);
//   plane.submit(path::SetFilters{filters.snapshot()});
//
// Threads: control. What a worker has done with must come back to be destroyed here (path::Retired).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "policy/filter_table.h"

namespace testudo::policy {

class FilterSet {
 public:
  explicit FilterSet(ipsec::TunnelNames& tunnels) : tunnels_(tunnels) {}

  /// Replaces the DVIPA's filter with the same id.
  void put(IpAddress dvipa, const Filter& filter);
  void erase(IpAddress dvipa, std::uint64_t id);
  /// All of one DVIPA.
  void erase(IpAddress dvipa);
  void accept_icmp_errors(bool yes);

  /// The filters as they are now. The same object while nothing changes.
  [[nodiscard]] std::shared_ptr<const FilterTable> snapshot();
  [[nodiscard]] std::size_t size() const { return rules_.size(); }

 private:
  using Name = std::pair<IpAddress, std::uint64_t>;  // DVIPA, id

  ipsec::TunnelNames& tunnels_;
  std::map<Name, Rule> rules_;
  FilterTable table_;
  std::shared_ptr<const FilterTable> snapshot_;  // null: table_ has changed
};

}  // namespace testudo::policy
