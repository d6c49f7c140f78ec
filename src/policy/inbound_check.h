// SPDX-License-Identifier: Apache-2.0
// What the filters say about a packet that has come in: the tunnel check (spec C4), and the check of what came in
// the clear.
//
//   if (auto drop = policy::check_protected(table, inner_flow, sa->tunnel())) return *drop;
//   if (auto drop = policy::check_clear(table, flow)) return *drop;
#pragma once

#include <optional>

#include "base/drop.h"
#include "policy/filter_table.h"

namespace testudo::policy {

/// The packet came by an SA of this tunnel. Nothing: the filter demands just that. kFilterDenied; kNotSelected: no
/// filter, or one that demands another tunnel or none (RFC 4301 section 5.2, step 4).
[[nodiscard]] std::optional<Drop> check_protected(const FilterTable& table, const Flow& inner,
                                                  ipsec::TunnelId tunnel);

/// Nothing: a filter permits it. kFilterDenied, kClearButProtected, kNoFilter.
[[nodiscard]] std::optional<Drop> check_clear(const FilterTable& table, const Flow& flow);

}  // namespace testudo::policy
