// SPDX-License-Identifier: Apache-2.0
// A policy::FlowRecord as a line of the log (docs/commands.md, "What filters log").
//
//   log.info("{}", flow_line(record));
//   // "filter 7 of 192.0.2.100, permit: in tcp 198.51.100.7:40312 > 192.0.2.100:80 begins"
#pragma once

#include <string>

#include "policy/flow_log.h"

namespace testudo::node {

[[nodiscard]] std::string flow_line(const policy::FlowRecord& record);

}  // namespace testudo::node
