// SPDX-License-Identifier: Apache-2.0
// Takes the keys out of a file's text before a parser makes ordinary strings of it.
//
//   TakenKeys taken = take_keys(text);           // text is a Secret: its keys are overwritten
//   parse_toml(taken.text, path);                // key = "(key 1)" in the place of key = "00112233…"
//   const Secret* key = taken.find("(key 1)");   // what stood there, in locked memory
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace testudo::node {

struct TakenKeys {
  std::string text;  // with each key replaced; as many lines as before
  std::vector<Secret> keys;
  /// Null when this does not stand for a key.
  [[nodiscard]] const Secret* find(std::string_view placeholder) const;
};

/// A key is what stands between quotes on one line behind `key =` or `SOMETHING-key =`, also in a comment; or
/// behind any `=` if it looks like a key: it may be one in the wrong place.
[[nodiscard]] TakenKeys take_keys(Secret& text);

/// Bytes of hexadecimal digits, with or without 0x before them. The error names no digit.
Result<Secret> from_hexadecimal(const Secret& digits);

}  // namespace testudo::node
