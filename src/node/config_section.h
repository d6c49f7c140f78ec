// SPDX-License-Identifier: Apache-2.0
// ConfigSection: one table of the node file, read key by key. Each get-function takes the key if it is there,
// checks it, and reports what is wrong; finish() reports keys that nobody asked for.
//
//   ConfigSection xcf(root, "xcf", report);
//   xcf.address("address", config.xcf.address, ConfigSection::kRequired);
//   xcf.integer("control-port", config.xcf.control_port, 1, 65535);
//   xcf.finish();
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "node/config_file.h"

namespace testudo::node {

/// Collects the errors of one file.
class ConfigReport {
 public:
  explicit ConfigReport(std::string file) : file_(std::move(file)) {}
  void error(int line, std::string subject, std::string message) {
    errors_.push_back({file_, line, 0, std::move(subject), std::move(message)});
  }
  [[nodiscard]] vipa::Diagnostics& errors() { return errors_; }
  /// Absolute; a relative one is counted from the file's folder.
  [[nodiscard]] std::string resolve(const std::string& path) const;

 private:
  std::string file_;
  vipa::Diagnostics errors_;
};

class ConfigSection {
 public:
  enum Need : std::uint8_t { kOptional, kRequired };

  /// Table `name` of the file; `need` kRequired: it is an error if it is missing.
  ConfigSection(const ConfigValue& root, const std::string& name, ConfigReport& report, Need need = kOptional);
  /// A table that is an element of a list; `title` is what errors call it.
  ConfigSection(const ConfigValue& table, std::string title, ConfigReport& report, std::nullptr_t);

  [[nodiscard]] bool present() const { return table_ != nullptr; }
  /// The key as it stands; nullptr if it is not there. From now on it counts as known.
  const ConfigValue* find(std::string_view key, Need need = kOptional);

  /// Not empty, at most `max` bytes, printable.
  bool text(std::string_view key, std::string& out, Need need = kOptional, std::size_t max = 255);
  /// Letters, digits and ". _ -": what may stand in a key of the facility, a certificate and a file name.
  void name(std::string_view key, std::string& out, Need need = kOptional);
  void interface(std::string_view key, std::string& out, Need need = kOptional);
  void address(std::string_view key, IpAddress& out, Need need = kOptional);
  void path(std::string_view key, std::string& out, Need need = kOptional);
  /// A path of a file that exists and can be read; of a secret: not by everybody.
  void file(std::string_view key, std::string& out, Need need, bool secret = false);
  void flag(std::string_view key, bool& out);

  template <std::integral T>
  void integer(std::string_view key, T& out, std::int64_t min, std::int64_t max) {
    if (const auto value = number(key, min, max)) out = static_cast<T>(*value);
  }
  template <typename Unit>
  void duration(std::string_view key, Duration& out, std::int64_t min, std::int64_t max) {
    if (const auto value = number(key, min, max)) out = Unit(*value);
  }
  template <typename T>
  void choice(std::string_view key, T& out, std::initializer_list<std::pair<std::string_view, T>> choices,
              Need need = kOptional) {
    std::string word;
    if (!text(key, word, need)) return;
    std::vector<std::string_view> names;
    for (const auto& [choice_name, value] : choices) {
      if (word == choice_name) return void(out = value);
      names.push_back(choice_name);
    }
    not_one_of(key, word, names);
  }

  void error(std::string_view key, std::string message);
  /// For a key that is not there: says it at the table.
  void error_at(int line, std::string_view key, std::string message);
  void finish();

 private:
  [[nodiscard]] std::optional<std::int64_t> number(std::string_view key, std::int64_t min, std::int64_t max);
  void not_one_of(std::string_view key, const std::string& word, const std::vector<std::string_view>& names);
  [[nodiscard]] std::string subject(std::string_view key) const;

  std::string title_;  // "[xcf]", "[[filter]] 2"
  ConfigReport& report_;
  const ConfigTable* table_ = nullptr;
  int line_ = 0;
  std::vector<std::string_view> known_;
};

}  // namespace testudo::node
