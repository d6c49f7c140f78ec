// SPDX-License-Identifier: Apache-2.0
// Transcript: what happened in a simulated cluster, one line per event with its virtual time: log lines of nodes,
// packets sent, faults. The last lines are kept to be read after a failure; a hash over all of them tells whether
// two runs were the same.
//
//   Transcript transcript(time);
//   transcript.line("t1", "packet lost");
//   transcript.print(stderr);
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <utility>

#include "sim/virtual_time.h"

namespace testudo::sim {

class Transcript {
 public:
  explicit Transcript(const VirtualTime& time, std::size_t keep = 400) : time_(time), keep_(keep) {}

  /// `who`: a node, the client, or a part of the world.
  void line(const std::string& who, const std::string& text);
  template <typename... Args>
  void tell(const std::string& who, fmt::format_string<Args...> format, Args&&... args) {
    line(who, fmt::format(format, std::forward<Args>(args)...));
  }
  /// Bytes that count for the hash without being shown.
  void digest(std::uint64_t value);

  /// Print each line as it comes.
  void set_verbose(bool verbose) { verbose_ = verbose; }
  void print(std::FILE* out) const;
  [[nodiscard]] std::uint64_t hash() const { return hash_; }
  [[nodiscard]] std::uint64_t lines() const { return lines_; }

 private:
  const VirtualTime& time_;
  std::size_t keep_;
  bool verbose_ = false;
  std::deque<std::string> last_;
  std::uint64_t hash_ = 0xcbf29ce484222325;
  std::uint64_t lines_ = 0;
};

}  // namespace testudo::sim
