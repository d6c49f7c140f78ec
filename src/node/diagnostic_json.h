// SPDX-License-Identifier: Apache-2.0
// Diagnostics as answers have them (docs/commands.md).
#pragma once

#include <nlohmann/json.hpp>

#include "vipa/diagnostic.h"

namespace testudo::node {

[[nodiscard]] inline nlohmann::json errors_json(const vipa::Diagnostics& errors) {
  nlohmann::json list = nlohmann::json::array();
  for (const vipa::Diagnostic& e : errors) {
    list.push_back(
        {{"file", e.file}, {"line", e.line}, {"column", e.column}, {"subject", e.subject}, {"message", e.message}});
  }
  return list;
}

}  // namespace testudo::node
