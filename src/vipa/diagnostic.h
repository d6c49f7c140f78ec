// SPDX-License-Identifier: Apache-2.0
// Diagnostic: one thing that is wrong in a file that an operator wrote: where it stands, what is wrong, what would
// be right.
//
//   backup.vipa:7:12: VIPABACKUP: rank 300 is outside 1–254
//   node.toml:12: [xcf] address: "10.77.0" is not an IPv4 address; …
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace testudo::vipa {

struct Diagnostic {
  std::string file;
  int line = 0;         // from 1; 0: the file as a whole
  int column = 0;       // from 1, in bytes; 0: not shown
  std::string subject;  // statement ("VIPABACKUP") or key ("[xcf] address"); may be empty
  std::string message;  // what is wrong, and what would be right

  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const Diagnostic&, const Diagnostic&) = default;
};

using Diagnostics = std::vector<Diagnostic>;

/// `text` between quotes as it may go on a terminal: unprintable bytes as \xNN, long text cut.
[[nodiscard]] std::string in_quotes(std::string_view text);
/// What `word` was probably meant to be, of `known`; empty if nothing is near. Case does not matter.
[[nodiscard]] std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace testudo::vipa
