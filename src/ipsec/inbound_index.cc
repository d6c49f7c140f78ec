// SPDX-License-Identifier: Apache-2.0
#include "ipsec/inbound_index.h"

#include <utility>

#include "base/check.h"

namespace testudo::ipsec {

void InboundIndex::insert(Sa& sa) {
  if (2 * ++size_ > places_.size()) grow();
  const auto address = reinterpret_cast<std::uintptr_t>(&sa);
  CHECK(address >> (64 - kTagBits) == 0);
  const std::uint64_t h = hash(sa);
  put(std::uint64_t{address} << kTagBits | tag_of(h), h);
}

void InboundIndex::put(std::uint64_t place, std::uint64_t hash) {
  std::size_t at = place_of(hash);
  while (places_[at] != 0) at = next(at);
  places_[at] = place;
}

void InboundIndex::grow() {
  const auto old = std::exchange(places_, std::vector<std::uint64_t>(2 * places_.size()));
  for (const std::uint64_t place : old) {
    if (place != 0) put(place, hash(*sa_of(place)));
  }
}

/// Moves back what follows and could have been there, so that no look-up ever meets a tombstone.
void InboundIndex::erase(const Sa& sa) {
  std::size_t gap = place_of(hash(sa));
  while (places_[gap] != 0 && sa_of(places_[gap]) != &sa) gap = next(gap);
  CHECK(places_[gap] != 0);
  --size_;
  for (std::size_t at = next(gap); places_[at] != 0; at = next(at)) {
    const std::size_t home = place_of(hash(*sa_of(places_[at])));
    if (((at - home) & (places_.size() - 1)) < ((at - gap) & (places_.size() - 1))) continue;
    places_[gap] = places_[at];
    gap = at;
  }
  places_[gap] = 0;
}

}  // namespace testudo::ipsec
