// SPDX-License-Identifier: Apache-2.0
#include "ipsec/sad.h"

#include <algorithm>
#include <utility>

namespace testudo::ipsec {

Sad::InboundKey Sad::key_of(const Sa& sa) {
  return {.spi = sa.parameters().spi, .remote = sa.parameters().remote, .local = sa.parameters().local};
}

std::unique_ptr<Sa> Sad::install(std::unique_ptr<Sa> sa) {
  if (by_id_.contains(sa->id())) return sa;
  std::unique_ptr<Sa> displaced;
  if (sa->inbound()) {
    if (const auto same = inbound_.find(key_of(*sa)); same != inbound_.end())
      displaced = remove(same->second->id());
    inbound_[key_of(*sa)] = sa.get();
  } else {
    const std::size_t tunnel = sa->tunnel().value();
    if (outbound_.size() <= tunnel) outbound_.resize(tunnel + 1);
    outbound_[tunnel].push_back(sa.get());
  }
  by_id_[sa->id()] = sa.get();
  all_.push_back(std::move(sa));
  return displaced;
}

std::unique_ptr<Sa> Sad::remove(SaId id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end()) return nullptr;
  Sa* sa = known->second;
  by_id_.erase(known);
  if (sa->inbound()) {
    inbound_.erase(key_of(*sa));
  } else {
    std::erase(outbound_[sa->tunnel().value()], sa);
  }
  const auto at = std::ranges::find(all_, sa, &std::unique_ptr<Sa>::get);
  std::unique_ptr<Sa> removed = std::move(*at);
  all_.erase(at);
  return removed;
}

Sa* Sad::find_inbound(Spi spi, IpAddress remote, IpAddress local) const {
  const auto found = inbound_.find(InboundKey{spi, remote, local});
  return found == inbound_.end() ? nullptr : found->second;
}

Sa* Sad::find_outbound(TunnelId tunnel) const {
  if (tunnel.value() >= outbound_.size() || outbound_[tunnel.value()].empty()) return nullptr;
  return outbound_[tunnel.value()].back();
}

Sa* Sad::find(SaId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

}  // namespace testudo::ipsec
