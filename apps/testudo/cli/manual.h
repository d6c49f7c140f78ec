// SPDX-License-Identifier: Apache-2.0
// testudo sa load, unload and check: files of manual SAs. The node reads the file itself: keys pass neither here
// nor over the control socket.
//
//   request(socket, change_request(/*load=*/true, "branch.toml"), 5s);
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>

namespace testudo::cli {

struct ManualCheck {
  std::string file;
  std::string config;  // of the node that is to take it; empty: the file alone
  bool json = false;
};
/// As `check` does: all errors, or what the file would do. Returns the exit status.
[[nodiscard]] int check_manual(const ManualCheck& options, std::ostream& out);

[[nodiscard]] nlohmann::json change_request(bool load, const std::string& file);
/// The node's answer to it. Returns the exit status.
[[nodiscard]] int write_change(const nlohmann::json& answer, std::ostream& out, std::ostream& err);

}  // namespace testudo::cli
