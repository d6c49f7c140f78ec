// SPDX-License-Identifier: Apache-2.0
// Table: text in aligned columns, for people.
//
//   Table t({"MEMBER", "ID"}, {Align::kLeft, Align::kRight});
//   t.row({"t1", "3"});
//   out << t.text();
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace testudo::cli {

enum class Align : std::uint8_t { kLeft, kRight };

class Table {
 public:
  /// Columns without an alignment are left-aligned.
  explicit Table(std::vector<std::string> head, std::vector<Align> align = {})
      : align_(std::move(align)), rows_{std::move(head)} {}
  /// As many cells as the head has. Unprintable bytes become "?".
  void row(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.size() == 1; }
  /// The head and the rows, two blanks between columns, each line with a line end.
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Align> align_;
  std::vector<std::vector<std::string>> rows_;
};

/// 1234567 → "1.2 MB" (powers of 1000).
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);
/// 65000 → "1 m 5 s"; below 10 s with milliseconds.
[[nodiscard]] std::string milliseconds_text(std::uint64_t ms);

}  // namespace testudo::cli
