// SPDX-License-Identifier: Apache-2.0
#include "policy/filter_table.h"

namespace testudo::policy {

FilterTable::FilterTable(std::span<const Filter> filters, ipsec::TunnelNames& tunnels) {
  std::uint32_t order = 0;  // stands in for the DVIPA, so that every rank is unique
  for (const Filter& filter : filters) insert(Rule::of(filter, IpAddress(order++), tunnels));
}

void FilterTable::insert(const Rule& rule) {
  Part& part = parts_[part_of(rule.direction, rule.box.remote_first)];
  if (!part.networks.insert(rule)) part.ranges.insert(rule);
}

void FilterTable::erase(const Rule& rule) {
  Part& part = parts_[part_of(rule.direction, rule.box.remote_first)];
  if (!part.networks.erase(rule)) part.ranges.erase(rule);
}

const Rule* FilterTable::find(Direction direction, const Flow& flow) const {
  const Point point(direction, flow);
  const Part& part = parts_[part_of(direction, point.remote)];
  const Rule* best = nullptr;
  part.networks.find(point, best);
  part.ranges.find(point, best);
  return best;
}

std::size_t FilterTable::size() const {
  std::size_t size = 0;
  for (const Part& part : parts_) size += part.networks.size() + part.ranges.size();
  return size;
}

}  // namespace testudo::policy
