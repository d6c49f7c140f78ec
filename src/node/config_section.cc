// SPDX-License-Identifier: Apache-2.0
#include "node/config_section.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace testudo::node {
namespace {

using vipa::in_quotes;

constexpr std::size_t kNameMax = 63;
constexpr std::size_t kInterfaceMax = 15;  // IFNAMSIZ less the final zero

bool alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kNameMax && alphanumeric(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_interface(std::string_view text) {
  return !text.empty() && text.size() <= kInterfaceMax && text != "." && text != ".." &&
         std::none_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c == '/' || c == ':' || c > '~'; });
}

/// What keeps a file from being read as a regular one; empty: nothing.
std::string why_unreadable(const std::string& path, bool secret) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fmt::format("cannot be read: {}", std::strerror(errno));
  struct stat status {};
  const int failed = ::fstat(fd, &status);
  ::close(fd);
  if (failed != 0 || !S_ISREG(status.st_mode)) return "is no file";
  if (secret && (status.st_mode & (S_IROTH | S_IWOTH)) != 0) {
    return fmt::format("can be read or written by everybody (mode {:04o}): chmod 0600 is right for a private key",
                       status.st_mode & 07777U);
  }
  return "";
}

}  // namespace

std::string ConfigReport::resolve(const std::string& path) const {
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::absolute(file_, ignored).parent_path();
  return (folder / path).lexically_normal().string();
}

ConfigSection::ConfigSection(const ConfigValue& root, const std::string& name, ConfigReport& report, Need need)
    : title_("[" + name + "]"), report_(report) {
  const ConfigTable& tables = std::get<ConfigTable>(root.value);
  const auto found = tables.find(name);
  if (found == tables.end()) {
    if (need == kRequired) report_.error(0, title_, "this table is missing");
    return;
  }
  line_ = found->second.line;
  table_ = std::get_if<ConfigTable>(&found->second.value);
  if (table_ == nullptr) {
    report_.error(line_, name, fmt::format("is {}: a table {} is expected", found->second.kind(), title_));
  }
}

ConfigSection::ConfigSection(const ConfigValue& table, std::string title, ConfigReport& report, std::nullptr_t)
    : title_(std::move(title)), report_(report), table_(std::get_if<ConfigTable>(&table.value)), line_(table.line) {
  if (table_ == nullptr) report_.error(line_, title_, fmt::format("is {}: a table is expected", table.kind()));
}

std::string ConfigSection::subject(std::string_view key) const { return fmt::format("{} {}", title_, key); }

void ConfigSection::error_at(int line, std::string_view key, std::string message) {
  report_.error(line, subject(key), std::move(message));
}

void ConfigSection::error(std::string_view key, std::string message) {
  const auto found = table_ == nullptr ? ConfigTable::const_iterator() : table_->find(key);
  const bool there = table_ != nullptr && found != table_->end();
  error_at(there ? found->second.line : line_, key, std::move(message));
}

const ConfigValue* ConfigSection::find(std::string_view key, Need need) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  if (table_ == nullptr) return nullptr;
  const auto found = table_->find(key);
  if (found != table_->end()) return &found->second;
  if (need == kRequired) error_at(line_, key, "is missing: this key has no default");
  return nullptr;
}

bool ConfigSection::text(std::string_view key, std::string& out, Need need, std::size_t max) {
  const ConfigValue* value = find(key, need);
  if (value == nullptr) return false;
  const auto* string = std::get_if<std::string>(&value->value);
  if (string == nullptr) {
    error(key, fmt::format("is {}: a string in quotes is expected", value->kind()));
    return false;
  }
  const bool printable = std::none_of(string->begin(), string->end(),
                                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (string->empty() || string->size() > max || !printable) {
    error(key, string->empty()
                   ? "is empty: leave the key out, or give it a value"
                   : fmt::format("{} is too long or has control characters: at most {} printable bytes are "
                                 "expected",
                                 in_quotes(*string), max));
    return false;
  }
  out = *string;
  return true;
}

void ConfigSection::name(std::string_view key, std::string& out, Need need) {
  std::string word;
  if (!text(key, word, need)) return;
  if (is_name(word)) return void(out = word);
  error(key, fmt::format("{} is no name: up to {} letters, digits and . _ - are expected, a letter or digit first",
                         in_quotes(word), kNameMax));
}

void ConfigSection::interface(std::string_view key, std::string& out, Need need) {
  std::string word;
  if (!text(key, word, need)) return;
  if (is_interface(word)) return void(out = word);
  error(key, fmt::format("{} is no interface name: one of at most {} characters, such as eth0, is expected",
                         in_quotes(word), kInterfaceMax));
}

void ConfigSection::address(std::string_view key, IpAddress& out, Need need) {
  std::string word;
  if (!text(key, word, need)) return;
  const auto parsed = IpAddress::parse(word);
  if (parsed && !parsed->is_unspecified()) return void(out = *parsed);
  error(key, fmt::format("{} is not an address of a host: one such as 10.77.0.11 or fd00:77::11 is expected",
                         in_quotes(word)));
}

void ConfigSection::path(std::string_view key, std::string& out, Need need) {
  std::string word;
  if (text(key, word, need, 4095)) out = report_.resolve(word);
}

void ConfigSection::file(std::string_view key, std::string& out, Need need, bool secret) {
  std::string found;
  path(key, found, need);
  if (found.empty()) return;
  const std::string why = why_unreadable(found, secret);
  if (!why.empty()) return error(key, fmt::format("{} {}", found, why));
  out = found;
}

void ConfigSection::flag(std::string_view key, bool& out) {
  const ConfigValue* value = find(key);
  if (value == nullptr) return;
  if (const bool* flag = std::get_if<bool>(&value->value)) return void(out = *flag);
  error(key, fmt::format("is {}: true or false is expected, without quotes", value->kind()));
}

std::optional<std::int64_t> ConfigSection::number(std::string_view key, std::int64_t min, std::int64_t max) {
  const ConfigValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto* integer = std::get_if<std::int64_t>(&value->value);
  if (integer == nullptr) {
    error(key, fmt::format("is {}: an integer of {}–{} is expected, without quotes", value->kind(), min, max));
    return std::nullopt;
  }
  if (*integer < min || *integer > max) {
    error(key, fmt::format("{} is outside {}–{}", *integer, min, max));
    return std::nullopt;
  }
  return *integer;
}

void ConfigSection::not_one_of(std::string_view key, const std::string& word,
                               const std::vector<std::string_view>& names) {
  error(key, fmt::format("{} is not known here: one of \"{}\" is expected", in_quotes(word),
                         fmt::join(names, "\", \"")));
}

void ConfigSection::finish() {
  if (table_ == nullptr) return;
  for (const auto& [key, value] : *table_) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    const std::string_view meant = vipa::nearest(key, known_);
    const std::string printable = vipa::in_quotes(key);
    error_at(value.line, std::string_view(printable).substr(1, printable.size() - 2),
             meant.empty() ? fmt::format("is not a key of {}: its keys are {}", title_, fmt::join(known_, ", "))
                           : fmt::format("is not a key of {}: did you mean {}?", title_, meant));
  }
}

}  // namespace testudo::node
