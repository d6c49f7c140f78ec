// SPDX-License-Identifier: Apache-2.0
#include "policy/filter_set.h"

namespace testudo::policy {

void FilterSet::put(IpAddress dvipa, const Filter& filter) {
  const Rule rule = Rule::of(filter, dvipa, tunnels_);
  const auto [place, is_new] = rules_.try_emplace({dvipa, filter.id}, rule);
  if (!is_new) {
    if (place->second == rule) return;
    table_.erase(place->second);
    place->second = rule;
  }
  table_.insert(rule);
  snapshot_ = nullptr;
}

void FilterSet::erase(IpAddress dvipa, std::uint64_t id) {
  const auto found = rules_.find({dvipa, id});
  if (found == rules_.end()) return;
  table_.erase(found->second);
  rules_.erase(found);
  snapshot_ = nullptr;
}

void FilterSet::erase(IpAddress dvipa) {
  const auto begin = rules_.lower_bound({dvipa, 0});
  auto end = begin;
  for (; end != rules_.end() && end->first.first == dvipa; ++end) table_.erase(end->second);
  if (begin != end) snapshot_ = nullptr;
  rules_.erase(begin, end);
}

void FilterSet::accept_icmp_errors(bool yes) {
  table_.set_accepts_icmp_errors(yes);
  snapshot_ = nullptr;
}

std::shared_ptr<const FilterTable> FilterSet::snapshot() {
  if (snapshot_ == nullptr) {
    table_.set_generation(table_.generation() + 1);
    snapshot_ = std::make_shared<const FilterTable>(table_);
  }
  return snapshot_;
}

}  // namespace testudo::policy
