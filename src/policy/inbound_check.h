// SPDX-License-Identifier: Apache-2.0
// What the filters say about a packet that has come in: the tunnel check (spec C4), and the check of what came in
// the clear.
//
//   const policy::Judgement j = policy::judge_protected(table, inner, inner_flow, sa->tunnel());
//   if (j.drop) return drop(*j.drop);                  // j.rule decided, if any: it may ask for a log
//   const policy::Judgement c = policy::judge_clear(table, flow);
#pragma once

#include <optional>

#include "base/drop.h"
#include "policy/filter_table.h"
#include "wire/ip.h"

namespace testudo::policy {

struct Judgement {
  std::optional<Drop> drop;    // nothing: let it pass
  const Rule* rule = nullptr;  // that matched; null: none. Lives as long as the table
};

/// The packet came by an SA of this tunnel, and `flow` is its flow_of(). Passes when the filter demands just that
/// (RFC 4301 section 5.2, step 4). kFilterDenied; kNotSelected: no filter, or one that demands another tunnel or
/// none.
///
/// An ICMP error message that this would refuse, unless a rule denies it, passes if the filters lead the answer to
/// the packet that it encloses to this tunnel, and the message goes where that answer would (RFC 4301 section 6.2):
/// routers on the way complain with addresses of their own, which no selector names.
/// FilterTable::accepts_icmp_errors() turns it off.
[[nodiscard]] Judgement judge_protected(const FilterTable& table, const wire::IpView& inner, const Flow& flow,
                                        ipsec::TunnelId tunnel);

/// Passes when a filter permits it. kFilterDenied, kClearButProtected, kNoFilter.
[[nodiscard]] Judgement judge_clear(const FilterTable& table, const Flow& flow);

/// What goes out: passes when a filter permits or protects it, as the rule says. kFilterDenied, kNoFilter.
[[nodiscard]] Judgement judge_outbound(const FilterTable& table, const Flow& flow);

/// judge_protected() without its exception for ICMP errors.
[[nodiscard]] Judgement judge_selected(const FilterTable& table, const Flow& inner, ipsec::TunnelId tunnel);

}  // namespace testudo::policy
