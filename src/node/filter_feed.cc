// SPDX-License-Identifier: Apache-2.0
#include "node/filter_feed.h"

#include "ike/filter_message.h"

namespace testudo::node {

/// False: another source than before; what was there of the DVIPA is gone.
bool FilterFeed::follows(IpAddress dvipa, Source source) {
  const auto [known, is_new] = sources_.try_emplace(dvipa, source);
  if (!is_new && known->second == source) return true;
  known->second = source;
  set_.erase(dvipa);
  return false;
}

/// The message was checked when it came.
void FilterFeed::put(IpAddress dvipa, const xcf::v1::Filter& filter) {
  set_.put(dvipa, ike::filter_from_message(filter).value());
}

void FilterFeed::apply(IpAddress dvipa, const std::vector<ike::FilterChange>& changes) {
  for (const ike::FilterChange& change : changes) {
    change.filter ? put(dvipa, *change.filter) : set_.erase(dvipa, change.id);
  }
}

std::shared_ptr<const policy::FilterTable> FilterFeed::update(const OwnerRole& owner, ShadowRole& shadow) {
  for (const auto& [dvipa, owned] : owner.owned()) {
    const auto changes = owned.installation->take_filter_changes();
    if (follows(dvipa, {.owned = true, .epoch = owned.epoch})) {
      apply(dvipa, changes);
    } else {
      for (const xcf::v1::Filter& filter : owned.installation->filters()) put(dvipa, filter);
    }
  }
  for (const auto& [dvipa, state] : shadow.dvipas()) {
    const auto changes = shadow.take_filter_changes(dvipa);
    if (owner.owns(dvipa)) continue;
    if (follows(dvipa, {.owned = false, .epoch = state.epoch})) {
      apply(dvipa, changes);
    } else {
      for (const auto& [id, filter] : state.filters) put(dvipa, filter);
    }
  }
  std::erase_if(sources_, [&](const auto& source) {
    if (owner.owns(source.first) || shadow.dvipas().contains(source.first)) return false;
    set_.erase(source.first);
    return true;
  });
  return set_.snapshot();
}

}  // namespace testudo::node
