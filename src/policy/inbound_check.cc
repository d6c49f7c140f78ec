// SPDX-License-Identifier: Apache-2.0
#include "policy/inbound_check.h"

namespace testudo::policy {

std::optional<Drop> check_protected(const FilterTable& table, const Flow& inner, ipsec::TunnelId tunnel) {
  const Rule* rule = table.find(Direction::kInbound, inner);
  if (rule == nullptr) return Drop::kNotSelected;
  if (rule->action == Action::kDeny) return Drop::kFilterDenied;
  if (rule->action == Action::kProtect && rule->tunnel == tunnel) return std::nullopt;
  return Drop::kNotSelected;
}

std::optional<Drop> check_clear(const FilterTable& table, const Flow& flow) {
  const Rule* rule = table.find(Direction::kInbound, flow);
  if (rule == nullptr) return Drop::kNoFilter;
  switch (rule->action) {
    case Action::kDeny:
      return Drop::kFilterDenied;
    case Action::kProtect:
      return Drop::kClearButProtected;
    case Action::kPermit:
      return std::nullopt;
  }
  return Drop::kNoFilter;
}

}  // namespace testudo::policy
