// SPDX-License-Identifier: Apache-2.0
// The [[filter]] tables of a node file, or of a file of manual SAs.
#pragma once

#include <cstdint>
#include <vector>

#include "node/config.h"
#include "node/config_section.h"

namespace testudo::node {

struct FilterReading {
  const vipa::Definition* definition = nullptr;  // tells which DVIPAs there are; null: not known
  std::uint32_t priority = 1'000'000;            // of a filter that names none
  bool tunnels = false;                          // there may be a key `tunnel`, and "protect" needs it
};

[[nodiscard]] std::vector<StaticFilter> read_filters(const ConfigValue& root, ConfigReport& report,
                                                     const FilterReading& reading);

}  // namespace testudo::node
