// SPDX-License-Identifier: Apache-2.0
// Report: a case and its result as one JSON object per window.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "sim/freshness/case.h"

namespace testudo::freshness {

void append(nlohmann::json& all, const std::string& group, const Case& c, const Result& result);

}  // namespace testudo::freshness
