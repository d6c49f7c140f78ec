// SPDX-License-Identifier: Apache-2.0
// Filters as they come over XCF: input is one xcf::v1::Install. A filter that passes goes there and back unchanged,
// has a text, and a table finds it where it matches.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "ike/filter_message.h"
#include "ike/sa_message.h"
#include "policy/filter_set.h"

namespace testudo::ike {
namespace {

policy::Flow corner_of(const policy::Filter& f) {
  policy::Flow flow{.source = f.source.last, .destination = f.destination.first, .protocol = f.protocol};
  flow.has_ports = !f.source_ports.is_opaque() && !f.destination_ports.is_opaque();
  if (flow.has_ports) flow.source_port = f.source_ports.first, flow.destination_port = f.destination_ports.last;
  return flow;
}

bool shows_both_or_none(const policy::Filter& f) {
  const bool one_opaque = f.source_ports.is_opaque() != f.destination_ports.is_opaque();
  return !one_opaque || f.source_ports.is_any() || f.destination_ports.is_any();
}

void one(const xcf::v1::Filter& message, policy::FilterSet& set) {
  const auto filter = filter_from_message(message);
  if (!filter) return;
  const auto again = filter_from_message(filter_to_message(*filter));
  CHECK(again.has_value() && selectors_text(*again) == selectors_text(*filter));
  set.put(IpAddress(1), *filter);
  if (!shows_both_or_none(*filter)) return;
  const policy::Rule* rule = set.snapshot()->find(filter->direction, corner_of(*filter));
  CHECK(rule != nullptr && rule->rank.priority <= filter->priority);
}

}  // namespace
}  // namespace testudo::ike

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  testudo::xcf::v1::Install install;
  if (!install.ParseFromArray(data, static_cast<int>(size))) return 0;
  static_cast<void>(testudo::ike::check_install(install));
  testudo::ipsec::TunnelNames tunnels;
  testudo::policy::FilterSet set(tunnels);
  for (const auto& filter : install.filters()) testudo::ike::one(filter, set);
  return 0;
}
