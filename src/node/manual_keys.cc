// SPDX-License-Identifier: Apache-2.0
#include "node/manual_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <span>

namespace testudo::node {
namespace {

constexpr std::size_t kLooksLikeKey = 24;  // hexadecimal digits

/// Without a branch on the digit: -1 for what is none.
int digit_of(std::uint8_t c) {
  const int letter = c | 0x20;
  if (c >= '0' && c <= '9') return c - '0';
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

bool is_space(std::uint8_t c) { return c == ' ' || c == '\t'; }
bool is_quote(std::uint8_t c) { return c == '"' || c == '\''; }

/// What stands before the `=` at `at` ends in "key".
bool names_a_key(std::span<const std::uint8_t> text, std::size_t at) {
  while (at > 0 && (is_space(text[at - 1]) || is_quote(text[at - 1]))) --at;
  constexpr std::string_view kKey = "key";
  return at >= kKey.size() && std::equal(kKey.begin(), kKey.end(), text.data() + at - kKey.size());
}

bool looks_like_a_key(std::span<const std::uint8_t> value) {
  if (value.size() > 2 && value[0] == '0' && (value[1] | 0x20) == 'x') value = value.subspan(2);
  return value.size() >= kLooksLikeKey && std::ranges::all_of(value, [](auto c) { return digit_of(c) >= 0; });
}

/// Where the value behind the `=` at `at` begins and ends, without quotes that are closed on its line.
struct Value {
  std::size_t begin, end;
  bool quoted;
};
Value value_behind(std::span<const std::uint8_t> text, std::size_t at) {
  std::size_t begin = at + 1;
  while (begin < text.size() && is_space(text[begin])) ++begin;
  std::size_t line_end = begin;
  while (line_end < text.size() && text[line_end] != '\n' && text[line_end] != '\r') ++line_end;
  if (begin == line_end || !is_quote(text[begin])) return {begin, line_end, false};
  std::size_t end = begin + 1;
  while (end < line_end && text[end] != text[begin]) ++end;
  // Nothing between two quotes, and another one: a string of several lines.
  if (end == begin + 1 && end + 1 < line_end && text[end + 1] == text[begin]) return {begin, line_end, false};
  return {begin + 1, end, true};
}

constexpr std::string_view kBefore = "(key ";
std::string placeholder(std::size_t number) { return fmt::format("{}{})", kBefore, number); }

}  // namespace

const Secret* TakenKeys::find(std::string_view word) const {
  if (!word.starts_with(kBefore) || !word.ends_with(')')) return nullptr;
  word.remove_prefix(kBefore.size());
  std::size_t number = 0;
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), number);
  const bool whole = code == std::errc() && end == word.data() + word.size() - 1;
  return whole && number >= 1 && number <= keys.size() ? &keys[number - 1] : nullptr;
}

TakenKeys take_keys(Secret& secret) {
  TakenKeys out;
  const std::span<std::uint8_t> text = secret.mutable_bytes();
  std::size_t copied = 0;
  const auto copy_until = [&](std::size_t end) {
    out.text.append(reinterpret_cast<const char*>(text.data()) + copied, end - copied);
    copied = end;
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '=') continue;
    const auto [begin, end, quoted] = value_behind(text, at);
    const std::span<std::uint8_t> value = text.subspan(begin, end - begin);
    if (!names_a_key(text, at) && !looks_like_a_key(value)) continue;
    copy_until(begin);
    if (quoted) {
      out.keys.emplace_back(value);
      out.text += placeholder(out.keys.size());
    } else if (!value.empty()) {
      out.text += "\"(not in quotes)\"";
    }
    zero(value);
    copied = end;
    at = std::max(at, end == 0 ? at : end - 1);
  }
  copy_until(text.size());
  return out;
}

Result<Secret> from_hexadecimal(const Secret& text) {
  std::span<const std::uint8_t> digits = text.bytes();
  if (digits.size() >= 2 && digits[0] == '0' && (digits[1] | 0x20) == 'x') digits = digits.subspan(2);
  if (digits.size() % 2 != 0)
    return fail(fmt::format("has {} hexadecimal digits, an odd number: two are a byte", digits.size()));
  Secret bytes(digits.size() / 2);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const int digit = digit_of(digits[i]);
    if (digit < 0) return fail("has something else than hexadecimal digits");
    std::uint8_t& byte = bytes.mutable_bytes()[i / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | digit);
  }
  return bytes;
}

}  // namespace testudo::node
