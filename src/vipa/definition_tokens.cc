// SPDX-License-Identifier: Apache-2.0
#include "vipa/definition_tokens.h"

#include <algorithm>
#include <cstddef>
#include <string>

namespace testudo::vipa::definition {
namespace {

char upper_char(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool separates(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == '\f' || c == '\v';
}

bool begins_with(std::string_view word, std::string_view prefix) {
  return word.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), word.begin(), [](char p, char w) { return p == upper_char(w); });
}

}  // namespace

std::vector<Token> tokenize(std::string_view text) {
  std::vector<Token> tokens;
  int line = 1;
  std::size_t line_start = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == ';') {
      i = std::min(text.find('\n', i), text.size());
    } else if (separates(text[i])) {
      if (text[i] == '\n') {
        ++line;
        line_start = i + 1;
      }
      ++i;
    } else {
      const std::size_t begin = i;
      while (i < text.size() && !separates(text[i]) && text[i] != ';') ++i;
      tokens.push_back({text.substr(begin, i - begin), {line, static_cast<int>(begin - line_start) + 1}});
    }
  }
  return tokens;
}

bool is(std::string_view word, std::string_view keyword) {
  const auto shortest = static_cast<std::size_t>(
      std::find_if(keyword.begin(), keyword.end(), [](char c) { return c >= 'a' && c <= 'z'; }) - keyword.begin());
  if (word.size() < shortest || word.size() > keyword.size()) return false;
  return std::equal(word.begin(), word.end(), keyword.begin(),
                    [](char w, char k) { return upper_char(w) == upper_char(k); });
}

std::optional<std::string_view> statement_of(std::string_view word) {
  const auto found = std::find_if(kStatements.begin(), kStatements.end(), [&](auto k) { return is(word, k); });
  if (found == kStatements.end()) return std::nullopt;
  return *found;
}

bool looks_like_statement(std::string_view word) {
  return begins_with(word, "VIPA") || begins_with(word, "ENDVIPA");
}

std::string upper(std::string_view keyword) {
  std::string out(keyword);
  std::transform(out.begin(), out.end(), out.begin(), upper_char);
  return out;
}

}  // namespace testudo::vipa::definition
