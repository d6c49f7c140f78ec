// SPDX-License-Identifier: Apache-2.0
// The [[filter]] rules of the node file as the filters that are distributed with a DVIPA.
#pragma once

#include <vector>

#include "base/address.h"
#include "node/config.h"
#include "xcf/messages.pb.h"

namespace testudo::node {

/// One filter per direction and pair of port ranges or range of ICMP types; without ids. A rule's ports are the
/// DVIPA's side.
[[nodiscard]] std::vector<xcf::v1::Filter> static_filters(const std::vector<StaticFilter>& rules, IpAddress dvipa);

}  // namespace testudo::node
