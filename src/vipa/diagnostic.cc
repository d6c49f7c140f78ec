// SPDX-License-Identifier: Apache-2.0
#include "vipa/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>

namespace testudo::vipa {
namespace {

constexpr std::size_t kQuotedMax = 60;  // bytes
constexpr std::size_t kNearestLengthMax = 64;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Levenshtein distance without regard to case.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

/// What may do something to a terminal, as \xNN: a file's name and a parser's message hold whatever they want.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

/// How far a mistyped form of `word` may be from it.
std::size_t tolerated(std::string_view word) {
  return word.size() <= 3 ? word.size() / 3 : std::max<std::size_t>(2, word.size() / 3);
}

}  // namespace

std::string Diagnostic::to_string() const {
  std::string out = file;
  if (line > 0) out += fmt::format(":{}", line);
  if (line > 0 && column > 0) out += fmt::format(":{}", column);
  if (!subject.empty()) out += ": " + subject;
  return printable(out + ": " + message);
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, kQuotedMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + (text.size() > kQuotedMax ? "…\"" : "\"");
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  if (word.size() > kNearestLengthMax) return {};
  std::string_view best;
  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const std::string_view candidate : known) {
    const std::size_t d = distance(word, candidate);
    if (d <= tolerated(candidate) && d < best_distance) {
      best = candidate;
      best_distance = d;
    }
  }
  if (!best.empty() || word.size() < 3) return best;
  const auto part = std::find_if(known.begin(), known.end(),
                                 [&](std::string_view k) { return k.find(word) != std::string_view::npos; });
  return part == known.end() ? std::string_view() : *part;
}

}  // namespace testudo::vipa
