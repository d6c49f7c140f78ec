// SPDX-License-Identifier: Apache-2.0
// Filters as they cross XCF: policy::Filter to xcf::v1::Filter and back. Every field that comes in is checked here,
// and nowhere else: what passes can be put into a FilterTable.
//
//   Result<policy::Filter> filter = filter_from_message(message);
//   if (!filter) ack.set_refused(filter.error().message);   // "filter 7: source: 10.0.0.9 comes before 10.0.0.1"
#pragma once

#include <string>

#include "base/result.h"
#include "policy/filter.h"
#include "xcf/messages.pb.h"

namespace testudo::ike {

[[nodiscard]] xcf::v1::Filter filter_to_message(const policy::Filter& filter);
/// An id of 0 passes: the filter has not been given one yet.
Result<policy::Filter> filter_from_message(const xcf::v1::Filter& message);

/// "icmp", "tcp", "gre", … or the number; "any" for 0.
[[nodiscard]] std::string protocol_name(std::uint8_t protocol);
/// "any", "80", "8000-8100", "opaque"; with ICMP "8", "3/4", "3/0-4/15", as type and code.
[[nodiscard]] std::string ports_text(const policy::PortRange& ports, std::uint8_t protocol);
/// "in tcp 10.0.0.0/8 > 192.0.2.100/32:80": direction, protocol, both sides with their ports.
[[nodiscard]] std::string selectors_text(const policy::Filter& filter);

}  // namespace testudo::ike
