// SPDX-License-Identifier: Apache-2.0
// A node's answers as tables for people. docs/commands.md has the answers' schema.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace testudo::cli {

/// `command` is "status", "sa", "connections", "counters", "events", "dvipa move" or "drain". An Error when the
/// answer has another shape than the schema's.
[[nodiscard]] Result<std::string> render(const std::string& command, const nlohmann::json& answer);

}  // namespace testudo::cli
