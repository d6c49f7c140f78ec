// SPDX-License-Identifier: Apache-2.0
// What a member has said of itself when its link came up.
//
//   readiness.link_down(xcf::number_of(hello));
#pragma once

#include <cstdint>

#include "base/strong.h"
#include "xcf/messages.pb.h"

namespace testudo::xcf {

/// The node's number in the cluster: 16 bits, though the field has more.
[[nodiscard]] inline NodeId number_of(const v1::Hello& hello) {
  return NodeId(static_cast<std::uint16_t>(hello.node_id()));
}

}  // namespace testudo::xcf
