// SPDX-License-Identifier: Apache-2.0
// testudo check: reads a node file and its definition block as the node would, and starts nothing.
#pragma once

#include <iosfwd>
#include <string>

namespace testudo::cli {

struct CheckOptions {
  std::string config;
  bool json = false;
  bool live = false;  // look at this host's interfaces too, and ask the running node about charon's proposals
};

/// Writes each error on a line of its own, or what the node would do. kOk or kFailed.
[[nodiscard]] int check(const CheckOptions& options, std::ostream& out);

}  // namespace testudo::cli
