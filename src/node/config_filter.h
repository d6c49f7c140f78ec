// SPDX-License-Identifier: Apache-2.0
// The [[filter]] tables of a node file.
#pragma once

#include "node/config.h"
#include "node/config_section.h"

namespace testudo::node {

/// Reads them into `config.filters`. `definition_known`: config.definition could be read, so it tells which DVIPAs
/// there are.
void read_filters(const ConfigValue& root, ConfigReport& report, NodeConfig& config, bool definition_known);

}  // namespace testudo::node
