// SPDX-License-Identifier: Apache-2.0
#include "node/config_file.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
// The parser of 3.3 asserts, and without assertions lets the compiler assume, what it then checks properly: that a
// key begins like one. "[=" made it either abort or go on undefined.
#include <toml++/impl/preprocessor.h>
#undef TOML_ASSERT
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT(expression) static_assert(true)
#define TOML_ASSERT_ASSUME(expression) static_assert(true)
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include <array>
#include <sstream>

namespace testudo::node {
namespace {

ConfigValue from_toml(const toml::node& node) {
  ConfigValue out;
  out.line = static_cast<int>(node.source().begin.line);
  if (const auto* text = node.as_string()) {
    out.value = text->get();
  } else if (const auto* integer = node.as_integer()) {
    out.value = integer->get();
  } else if (const auto* flag = node.as_boolean()) {
    out.value = flag->get();
  } else if (const auto* real = node.as_floating_point()) {
    out.value = real->get();
  } else if (const auto* array = node.as_array()) {
    ConfigList list;
    for (const toml::node& element : *array) list.push_back(from_toml(element));
    out.value = std::move(list);
  } else if (const auto* table = node.as_table()) {
    ConfigTable entries;
    for (const auto& [key, value] : *table) entries.emplace(std::string(key.str()), from_toml(value));
    out.value = std::move(entries);
  }
  return out;  // dates and times stay empty: no key wants one
}

}  // namespace

std::string_view ConfigValue::kind() const {
  static constexpr std::array<std::string_view, 7> kKinds = {
      "a date or time", "a string", "an integer", "true or false", "a fraction", "a list", "a table"};
  return kKinds[value.index()];
}

ConfigFile parse_toml(std::string_view text, const std::string& file) {
  ConfigFile out;
  try {
    out.root = from_toml(toml::parse(text, file));
  } catch (const toml::parse_error& e) {
    out.root.value = ConfigTable();
    std::string message(e.description());
    if (message.empty()) message = "cannot be read";
    out.errors.push_back({file, static_cast<int>(e.source().begin.line), static_cast<int>(e.source().begin.column),
                          "", "not TOML: " + message});
  }
  return out;
}

}  // namespace testudo::node
