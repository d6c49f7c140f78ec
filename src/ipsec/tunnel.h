// SPDX-License-Identifier: Apache-2.0
// Tunnel names (spec B4) as small integers, so that no string is compared per packet. A filter names a tunnel, an
// SA belongs to one; the control thread interns both through one TunnelNames.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "base/strong.h"

namespace testudo::ipsec {

/// Dense, from 1 on; only within one node. 0 is "none".
using TunnelId = Strong<struct TunnelIdTag, std::uint32_t>;

/// Threads: the control thread. Ids are never reused.
class TunnelNames {
 public:
  /// The same id for the same name; "" has id 0.
  TunnelId intern(std::string_view name);
  /// CHECKs that the id was given out by this object.
  [[nodiscard]] const std::string& name(TunnelId id) const;

 private:
  std::deque<std::string> names_{""};  // does not move its elements: the map's keys point to them
  absl::flat_hash_map<std::string_view, TunnelId> ids_{{"", TunnelId(0)}};
};

}  // namespace testudo::ipsec
