// SPDX-License-Identifier: Apache-2.0
#include "ipsec/sad.h"

#include <utility>

#include "base/check.h"

namespace testudo::ipsec {

Sad::~Sad() {
  for (Sa* sa : by_id_) delete sa;
}

std::unique_ptr<Sa> Sad::install(std::unique_ptr<Sa> sa) {
  if (by_id_.contains(sa->id())) return sa;
  std::unique_ptr<Sa> displaced;
  if (sa->inbound()) {
    if (const Sa* other = find_same(*sa)) displaced = remove(other->id());
    inbound_.insert(*sa);
  } else {
    const std::size_t tunnel = sa->tunnel().value();
    if (outbound_.size() <= tunnel) outbound_.resize(tunnel + 1);
    sa->older_ = std::exchange(outbound_[tunnel], sa.get());
  }
  by_id_.insert(sa.release());
  return displaced;
}

std::unique_ptr<Sa> Sad::remove(SaId id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) return nullptr;
  std::unique_ptr<Sa> sa(*known);
  by_id_.erase(known);
  if (sa->inbound()) {
    inbound_.erase(*sa);
    last_found_ = nullptr;
  } else {
    Sa** link = &outbound_[sa->tunnel().value()];
    while (*link != sa.get()) link = &(*link)->older_;  // a tunnel has few
    *link = std::exchange(sa->older_, nullptr);
  }
  return sa;
}

std::unique_ptr<Sa> Sad::move(SaId id, const Path& path) {
  Sa* sa = find(id);
  if (sa == nullptr) return nullptr;
  if (!sa->inbound()) {
    sa->set_path(path);
    return nullptr;
  }
  inbound_.erase(*sa);
  sa->set_path(path);
  const Sa* other = find_same(*sa);
  std::unique_ptr<Sa> displaced = other == nullptr ? nullptr : remove(other->id());
  inbound_.insert(*sa);
  return displaced;
}

Sa* Sad::find_same(const Sa& sa) const {
  return inbound_.find(InboundIndex::hash(sa), [&sa](const Sa& other) { return same(other, sa); });
}

Sa* Sad::find(SaId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : *found;
}

}  // namespace testudo::ipsec
