// SPDX-License-Identifier: Apache-2.0
// A TOML file as a tree of values that know their line. Keeps the TOML library out of everybody's compile.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vipa/diagnostic.h"

namespace testudo::node {

struct ConfigValue;
using ConfigList = std::vector<ConfigValue>;
using ConfigTable = std::map<std::string, ConfigValue, std::less<>>;

struct ConfigValue {
  int line = 0;
  std::variant<std::monostate, std::string, std::int64_t, bool, double, ConfigList, ConfigTable> value;

  /// "a string", "an integer", …, for messages.
  [[nodiscard]] std::string_view kind() const;
};

struct ConfigFile {
  ConfigValue root;          // always a table
  vipa::Diagnostics errors;  // at most one: the syntax error that ended reading
};

[[nodiscard]] ConfigFile parse_toml(std::string_view text, const std::string& file);

}  // namespace testudo::node
