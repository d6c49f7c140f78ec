// SPDX-License-Identifier: Apache-2.0
#include "policy/inbound_check.h"

namespace testudo::policy {

Judgement judge_selected(const FilterTable& table, const Flow& inner, ipsec::TunnelId tunnel) {
  const Rule* rule = table.find(Direction::kInbound, inner);
  if (rule == nullptr) return {Drop::kNotSelected, nullptr};
  if (rule->action == Action::kDeny) return {Drop::kFilterDenied, rule};
  if (rule->action == Action::kProtect && rule->tunnel == tunnel) return {std::nullopt, rule};
  return {Drop::kNotSelected, rule};
}

Judgement judge_protected(const FilterTable& table, const wire::IpView& inner, const Flow& flow,
                          ipsec::TunnelId tunnel) {
  const Judgement own = judge_selected(table, flow, tunnel);
  if (own.drop != Drop::kNotSelected || !table.accepts_icmp_errors()) return own;
  const auto answer = answer_to_enclosed(inner);
  if (!answer || answer->destination != flow.destination) return own;
  const Judgement enclosed = judge_selected(table, *answer, tunnel);
  return enclosed.drop ? own : enclosed;
}

Judgement judge_clear(const FilterTable& table, const Flow& flow) {
  const Rule* rule = table.find(Direction::kInbound, flow);
  if (rule == nullptr) return {Drop::kNoFilter, nullptr};
  switch (rule->action) {
    case Action::kDeny:
      return {Drop::kFilterDenied, rule};
    case Action::kProtect:
      return {Drop::kClearButProtected, rule};
    case Action::kPermit:
      return {std::nullopt, rule};
  }
  return {Drop::kNoFilter, rule};
}

Judgement judge_outbound(const FilterTable& table, const Flow& flow) {
  const Rule* rule = table.find(Direction::kOutbound, flow);
  if (rule == nullptr) return {Drop::kNoFilter, nullptr};
  if (rule->action == Action::kDeny) return {Drop::kFilterDenied, rule};
  return {std::nullopt, rule};
}

}  // namespace testudo::policy
