// SPDX-License-Identifier: Apache-2.0
// The daemon's log: spdlog to standard error, as text or one JSON object a line.
#pragma once

#include <memory>

#include "node/log.h"

namespace testudo::node {

[[nodiscard]] std::unique_ptr<Log> make_log(const NodeConfig& config);

}  // namespace testudo::node
