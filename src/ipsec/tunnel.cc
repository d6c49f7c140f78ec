// SPDX-License-Identifier: Apache-2.0
#include "ipsec/tunnel.h"

#include "base/check.h"

namespace testudo::ipsec {

TunnelId TunnelNames::intern(std::string_view name) {
  if (name.empty()) return TunnelId(0);
  if (const auto known = ids_.find(name); known != ids_.end()) return *known;
  const TunnelId id(static_cast<std::uint32_t>(names_.size()));
  names_.emplace_back(name);
  ids_.insert(id);
  return id;
}

const std::string& TunnelNames::name(TunnelId id) const {
  CHECK(id.value() < names_.size());
  return names_[id.value()];
}

}  // namespace testudo::ipsec
