// SPDX-License-Identifier: Apache-2.0
// Asks a running node over its control socket: one line of JSON there, one back.
//
//   Result<nlohmann::json> status = cli::ask("/run/testudo/t1.sock", "status", 5s);
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace testudo::cli {

/// The answer; an Error when no node answers within `timeout`.
[[nodiscard]] Result<nlohmann::json> ask(const std::string& socket, const std::string& command, Duration timeout);
/// The same for a whole request, {"command": …}.
[[nodiscard]] Result<nlohmann::json> request(const std::string& socket, const nlohmann::json& whole,
                                             Duration timeout);

/// The control socket to ask: `socket` if given, else that of node file `config`, else the only one in
/// /run/testudo.
[[nodiscard]] Result<std::string> control_socket(const std::string& socket, const std::string& config);

}  // namespace testudo::cli
