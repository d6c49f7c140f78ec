// SPDX-License-Identifier: Apache-2.0
// Tunnel names (spec B4) as small integers, so that no string is compared per packet. A filter names a tunnel, an
// SA belongs to one; the control thread interns both through one TunnelNames.
#pragma once

#include <absl/container/flat_hash_set.h>

#include <cstddef>
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
  TunnelNames() = default;
  TunnelNames(TunnelNames&&) = delete;
  /// The same id for the same name; "" has id 0.
  TunnelId intern(std::string_view name);
  /// CHECKs that the id was given out by this object.
  [[nodiscard]] const std::string& name(TunnelId id) const;

 private:
  /// Of ids and of names: the set of a million tunnels has no second copy of a name.
  struct Hash {
    using is_transparent = void;
    const std::deque<std::string>* names;
    std::size_t operator()(std::string_view name) const { return absl::Hash<std::string_view>{}(name); }
    std::size_t operator()(TunnelId id) const { return (*this)((*names)[id.value()]); }
  };
  struct Equal {
    using is_transparent = void;
    const std::deque<std::string>* names;
    bool operator()(TunnelId id, std::string_view name) const { return (*names)[id.value()] == name; }
    bool operator()(TunnelId a, TunnelId b) const { return a == b; }
  };

  std::deque<std::string> names_{""};
  absl::flat_hash_set<TunnelId, Hash, Equal> ids_{0, Hash{&names_}, Equal{&names_}};
};

}  // namespace testudo::ipsec
