// SPDX-License-Identifier: Apache-2.0
#include "node/manual_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "ike/ike_daemon.h"
#include "ike/manual_sa.h"
#include "ipsec/replay_window.h"
#include "node/config_filter.h"
#include "node/config_section.h"
#include "node/manual_keys.h"

namespace testudo::node {
namespace {

using vipa::in_quotes;
using Need = ConfigSection::Need;

constexpr Need kRequired = ConfigSection::kRequired;
constexpr std::size_t kFileMax = 1 << 20;          // bytes
constexpr std::size_t kSasMax = 1024;              // in one file
constexpr std::uint32_t kFilterPriority = 50'000;  // before all that charon brings
constexpr std::int64_t kSpiMin = 256;              // RFC 4303 section 2.1
constexpr std::int64_t kNumberMax = std::numeric_limits<std::int64_t>::max();

/// Suites of AH, and what ESP has for encryption alone, that may have keys from a file.
std::vector<std::string_view> integrity_names() {
  std::vector<std::string_view> names;
  for (const crypto::Suite suite : crypto::all_suites()) {
    if (is_ah(suite) && ike::check_manual_suite(suite)) names.push_back(crypto::sizes(suite).name);
  }
  return names;
}
constexpr std::string_view kEncryptions = "NULL, AES-CBC-128, AES-CBC-192 or AES-CBC-256";

/// With whatever integrity algorithm; nothing for a name that is none of ESP's.
std::optional<crypto::Suite> encryption_of(const std::string& name) {
  for (const char* other : {"", "+HMAC-SHA256-128"}) {
    if (const auto suite = crypto::suite_of(name + other); suite && !is_ah(*suite)) return suite;
  }
  return std::nullopt;
}

/// Without the integrity algorithm.
std::string_view encryption_name(crypto::Suite suite) {
  const std::string_view name = crypto::sizes(suite).name;
  return name.substr(0, name.find('+'));
}

class Reader {
 public:
  Reader(ConfigReport& report, const TakenKeys& keys, const vipa::Definition* definition)
      : report_(report), keys_(keys), definition_(definition) {}

  void read_sas(const ConfigValue& root);
  void check_filters(const ConfigValue& root, const std::vector<StaticFilter>& filters);
  [[nodiscard]] std::vector<ipsec::SaParameters> take() { return std::move(sas_); }

 private:
  /// What one header needs.
  struct Header {
    Spi spi;
    crypto::Suite suite;
    Secret key;
  };
  void read_sa(const ConfigValue& table, const std::string& title);
  void read_properties(ConfigSection& s, ipsec::SaParameters& sa);
  void read_limits(ConfigSection& s, const std::string& title, ipsec::LifesizeLimits& limits);
  void read_headers(ConfigSection& s, const std::string& title, ipsec::SaParameters& sa);
  std::optional<Header> read_esp(ConfigSection s);
  std::optional<Header> read_ah(ConfigSection s);
  std::optional<crypto::Suite> read_encryption(ConfigSection& s);
  std::optional<crypto::Suite> read_integrity(ConfigSection& s);
  std::optional<Secret> read_key(ConfigSection& s, std::string_view key, std::size_t size, std::string_view of);
  void check_addresses(ConfigSection& s, const ipsec::SaParameters& sa);
  void check_alone(const std::string& title, int line, const ipsec::SaParameters& sa);

  ConfigReport& report_;
  const TakenKeys& keys_;
  const vipa::Definition* definition_;
  std::vector<ipsec::SaParameters> sas_;
  std::vector<std::string> titles_;  // of each
};

void Reader::read_sas(const ConfigValue& root) {
  const ConfigTable& tables = std::get<ConfigTable>(root.value);
  const auto found = tables.find("sa");
  if (found == tables.end()) return;
  const auto* list = std::get_if<ConfigList>(&found->second.value);
  if (list == nullptr || list->size() > kSasMax) {
    return report_.error(
        found->second.line, "sa",
        fmt::format("is {}: up to {} tables are expected, each beginning with [[sa]] in two brackets",
                    found->second.kind(), kSasMax));
  }
  int number = 0;
  for (const ConfigValue& element : *list) read_sa(element, fmt::format("[[sa]] {}", ++number));
}

void Reader::read_sa(const ConfigValue& table, const std::string& title) {
  ConfigSection s(table, title, report_, nullptr);
  if (!s.present()) return;
  const std::size_t errors = report_.errors().size();
  ipsec::SaParameters sa;
  sa.key = Secret();
  sa.replay_window = 0;
  read_properties(s, sa);
  read_limits(s, title, sa.limits);
  read_headers(s, title, sa);
  check_addresses(s, sa);
  s.finish();
  if (report_.errors().size() != errors) return;
  check_alone(title, table.line, sa);
  sas_.push_back(std::move(sa));
  titles_.push_back(title);
}

void Reader::read_properties(ConfigSection& s, ipsec::SaParameters& sa) {
  std::string name;
  s.name("tunnel", name, kRequired);
  sa.tunnel = ike::manual_tunnel(name);
  s.address("dvipa", sa.local, kRequired);
  s.address("peer", sa.remote, kRequired);
  s.choice("direction", sa.direction, {{"in", ipsec::Direction::kInbound}, {"out", ipsec::Direction::kOutbound}},
           kRequired);
  s.choice("mode", sa.mode, {{"tunnel", ipsec::Mode::kTunnel}, {"transport", ipsec::Mode::kTransport}});
  s.flag("esn", sa.esn);
  s.integer("replay-window", sa.replay_window, ipsec::kReplayWindowMin, ipsec::kReplayWindowMax);
  s.choice("dont-fragment", sa.dont_fragment,
           {{"copy", ipsec::DontFragment::kCopy},
            {"set", ipsec::DontFragment::kSet},
            {"clear", ipsec::DontFragment::kClear}});
  s.flag("copy-dscp", sa.copy_dscp);
}

void Reader::read_limits(ConfigSection& s, const std::string& title, ipsec::LifesizeLimits& limits) {
  const ConfigValue* value = s.find("limits");
  if (value == nullptr) return;
  ConfigSection l(*value, title + " [sa.limits]", report_, nullptr);
  l.integer("soft-bytes", limits.soft_bytes, 1, kNumberMax);
  l.integer("hard-bytes", limits.hard_bytes, 1, kNumberMax);
  l.integer("soft-packets", limits.soft_packets, 1, kNumberMax);
  l.integer("hard-packets", limits.hard_packets, 1, kNumberMax);
  l.integer("soft-seconds", limits.soft_seconds, 1, std::numeric_limits<std::uint32_t>::max());
  l.integer("hard-seconds", limits.hard_seconds, 1, std::numeric_limits<std::uint32_t>::max());
  l.finish();
}

void Reader::read_headers(ConfigSection& s, const std::string& title, ipsec::SaParameters& sa) {
  const ConfigValue* esp = s.find("esp");
  const ConfigValue* ah = s.find("ah");
  if (esp == nullptr && ah == nullptr)
    return s.error("esp", "is missing: an SA has a table [sa.esp], [sa.ah], or both for AH over ESP");
  std::optional<Header> inner, outer;
  if (esp != nullptr) inner = read_esp({*esp, title + " [sa.esp]", report_, nullptr});
  if (ah != nullptr) outer = read_ah({*ah, title + " [sa.ah]", report_, nullptr});
  if (ah != nullptr && esp != nullptr && sa.esn) {
    s.error("esn",
            "cannot be had with AH over ESP: the two headers would have to agree on a high half that neither "
            "carries");
  }
  if (ah == nullptr) std::swap(inner, outer);
  if (!outer || (esp != nullptr && ah != nullptr && !inner)) return;  // said already
  sa.protocol = ah == nullptr ? ipsec::Protocol::kEsp : ipsec::Protocol::kAh;
  sa.spi = outer->spi;
  sa.suite = outer->suite;
  sa.key = std::move(outer->key);
  if (inner) sa.inner_esp = {.spi = inner->spi, .suite = inner->suite, .key = std::move(inner->key)};
}

std::optional<Reader::Header> Reader::read_esp(ConfigSection s) {
  std::uint32_t spi = 0;
  s.find("spi", kRequired);
  s.integer("spi", spi, kSpiMin, 0xffffffff);
  const auto encryption = read_encryption(s);
  const auto integrity = read_integrity(s);
  std::optional<Secret> first, second;
  if (encryption && integrity) {
    const std::size_t size =
        crypto::sizes({encryption->cipher, integrity->integrity}).key - crypto::sizes(*integrity).key;
    first = size == 0 ? std::optional(Secret()) : read_key(s, "encryption-key", size, encryption_name(*encryption));
    if (size == 0 && s.find("encryption-key") != nullptr)
      s.error("encryption-key", "does not belong here: NULL encrypts nothing");
    second = read_key(s, "integrity-key", crypto::sizes(*integrity).key, crypto::sizes(*integrity).name);
  } else {
    s.find("encryption-key");
    s.find("integrity-key");
  }
  s.finish();
  if (!first || !second) return std::nullopt;
  Secret key(first->size() + second->size());
  std::ranges::copy(first->bytes(), key.mutable_bytes().begin());
  std::ranges::copy(second->bytes(), key.mutable_bytes().begin() + static_cast<std::ptrdiff_t>(first->size()));
  return Header{Spi(spi), {encryption->cipher, integrity->integrity}, std::move(key)};
}

std::optional<Reader::Header> Reader::read_ah(ConfigSection s) {
  std::uint32_t spi = 0;
  s.find("spi", kRequired);
  s.integer("spi", spi, kSpiMin, 0xffffffff);
  const auto suite = read_integrity(s);
  std::optional<Secret> key;
  if (suite) key = read_key(s, "integrity-key", crypto::sizes(*suite).key, crypto::sizes(*suite).name);
  s.find("integrity-key");
  s.finish();
  if (!key) return std::nullopt;
  return Header{Spi(spi), *suite, std::move(*key)};
}

std::optional<crypto::Suite> Reader::read_encryption(ConfigSection& s) {
  std::string name;
  if (!s.text("encryption", name, kRequired)) return std::nullopt;
  const auto suite = encryption_of(name);
  if (!suite) {
    s.error("encryption",
            fmt::format("{} is no encryption algorithm: {} is expected", in_quotes(name), kEncryptions));
    return std::nullopt;
  }
  if (const auto fit = ike::check_manual_suite(*suite, name); !fit) {
    s.error("encryption", fit.error().message);
    return std::nullopt;
  }
  return suite;
}

/// As a suite of AH.
std::optional<crypto::Suite> Reader::read_integrity(ConfigSection& s) {
  std::string name;
  if (!s.text("integrity", name, kRequired)) return std::nullopt;
  const auto suite = crypto::suite_of(name);
  if (!suite || !is_ah(*suite)) {
    s.error("integrity", fmt::format("{} is no integrity algorithm: one of {} is expected", in_quotes(name),
                                     fmt::join(integrity_names(), ", ")));
    return std::nullopt;
  }
  if (const auto fit = ike::check_manual_suite(*suite); !fit) {
    s.error("integrity", fit.error().message);
    return std::nullopt;
  }
  return suite;
}

std::optional<Secret> Reader::read_key(ConfigSection& s, std::string_view key, std::size_t size,
                                       std::string_view of) {
  std::string word;
  if (!s.text(key, word, kRequired)) return std::nullopt;
  const Secret* digits = keys_.find(word);
  if (digits == nullptr) {
    s.error(key, fmt::format("does not stand where it is kept secret: write {} = \"00112233…\" on one line", key));
    return std::nullopt;
  }
  auto bytes = from_hexadecimal(*digits);
  if (!bytes) {
    s.error(key, fmt::format("{}; {} of them are expected for {}", bytes.error().message, 2 * size, of));
    return std::nullopt;
  }
  if (bytes->size() != size) {
    s.error(key,
            fmt::format("has {} bytes: {} needs {}, as {} hexadecimal digits", bytes->size(), of, size, 2 * size));
    return std::nullopt;
  }
  return std::move(*bytes);
}

void Reader::check_addresses(ConfigSection& s, const ipsec::SaParameters& sa) {
  if (sa.local.is_unspecified()) return;  // said already
  if (!sa.remote.is_unspecified() && sa.remote.is_v4() != sa.local.is_v4()) {
    s.error("peer", fmt::format("{} is not of the family of the DVIPA {}: they are the ends of one outer header",
                                sa.remote.to_string(), sa.local.to_string()));
  }
  if (definition_ == nullptr || definition_->find_define(sa.local) || definition_->find_backup(sa.local)) return;
  s.error("dvipa", fmt::format("{} is neither defined nor backed up by this node: give the file to its owner",
                               sa.local.to_string()));
}

/// Against those before it.
void Reader::check_alone(const std::string& title, int line, const ipsec::SaParameters& sa) {
  const bool inbound = sa.direction == ipsec::Direction::kInbound;
  const Secret key = ike::authentication_key(sa);
  for (std::size_t i = 0; i < sas_.size(); ++i) {
    const ipsec::SaParameters& other = sas_[i];
    // Inbound, an SPI names one SA of the DVIPA, whatever the protocol.
    const bool same_spi = other.direction == sa.direction && other.local == sa.local && other.spi == sa.spi;
    if (same_spi && (inbound || (other.protocol == sa.protocol && other.remote == sa.remote)))
      report_.error(line, title, fmt::format("has the SPI of {}: each SA needs one of its own", titles_[i]));
    if (key.equals(ike::authentication_key(other))) {
      report_.error(line, title,
                    fmt::format("has the integrity-key of {}: each SA needs one of its own, or what one carried "
                                "would be taken for the other's",
                                titles_[i]));
    }
  }
}

void Reader::check_filters(const ConfigValue& root, const std::vector<StaticFilter>& filters) {
  const ConfigTable& tables = std::get<ConfigTable>(root.value);
  const auto found = tables.find("filter");
  const auto* list = found == tables.end() ? nullptr : std::get_if<ConfigList>(&found->second.value);
  for (std::size_t i = 0; list != nullptr && i < filters.size(); ++i) {
    const StaticFilter& f = filters[i];
    const bool known = f.tunnel.empty() || std::ranges::any_of(sas_, [&](const ipsec::SaParameters& sa) {
                         return sa.tunnel == ike::manual_tunnel(f.tunnel) && sa.local == f.dvipa;
                       });
    if (known) continue;
    report_.error((*list)[i].line, fmt::format("[[filter]] {} tunnel", i + 1),
                  fmt::format("{} has no SA of {} in this file: a [[sa]] with that tunnel and dvipa is expected",
                              in_quotes(f.tunnel), f.dvipa.to_string()));
  }
}

void unknown_tables(const ConfigValue& root, ConfigReport& report) {
  const ConfigTable& tables = std::get<ConfigTable>(root.value);
  for (const auto& [name, value] : tables) {
    if (name == "sa" || name == "filter") continue;
    report.error(value.line, in_quotes(name), "is not known here: such a file has [[sa]] and [[filter]] tables");
  }
  if (tables.empty()) report.error(0, "", "has no [[sa]] and no [[filter]]: there is nothing to load");
}

/// What is wrong with the file as such; empty: nothing.
std::string why_not_secret(const struct stat& status) {
  if (!S_ISREG(status.st_mode)) return "is no file";
  if (status.st_uid != 0) return fmt::format("belongs to user {}: chown root it, for it has keys", status.st_uid);
  if ((status.st_mode & 077) != 0) {
    return fmt::format("has mode {:04o}: chmod 0600 it and make new keys, for others could read or write these",
                       status.st_mode & 07777U);
  }
  if (static_cast<std::uint64_t>(status.st_size) > kFileMax)
    return fmt::format("is larger than {} bytes", kFileMax);
  return "";
}

Result<Secret> read_secret(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail(fmt::format("cannot be read: {}", std::strerror(errno)));
  struct stat status {};
  std::string wrong = ::fstat(fd, &status) != 0 ? "cannot be read" : why_not_secret(status);
  Secret text(wrong.empty() ? static_cast<std::size_t>(status.st_size) : 0);
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::read(fd, text.mutable_bytes().data() + done, text.size() - done);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  ::close(fd);
  if (wrong.empty() && done != text.size()) wrong = "was changed while it was read: try again";
  if (!wrong.empty()) return fail(std::move(wrong));
  return text;
}

}  // namespace

LoadedManualFile parse_manual_file(Secret text, const std::string& path, const vipa::Definition* definition) {
  LoadedManualFile out;
  out.file.path = path;
  const TakenKeys keys = take_keys(text);
  ConfigFile file = parse_toml(keys.text, path);
  if (!file.errors.empty()) {
    out.errors = std::move(file.errors);
    return out;
  }
  ConfigReport report(path);
  unknown_tables(file.root, report);
  Reader reader(report, keys, definition);
  reader.read_sas(file.root);
  out.file.filters =
      read_filters(file.root, report, {.definition = definition, .priority = kFilterPriority, .tunnels = true});
  if (report.errors().empty()) reader.check_filters(file.root, out.file.filters);
  out.file.sas = reader.take();
  out.errors = std::move(report.errors());
  std::ranges::stable_sort(out.errors, {}, &vipa::Diagnostic::line);
  return out;
}

LoadedManualFile load_manual_file(const std::string& path, const vipa::Definition* definition) {
  std::error_code ignored;
  const std::string absolute = std::filesystem::absolute(path, ignored).lexically_normal().string();
  auto text = read_secret(absolute);
  if (text) return parse_manual_file(std::move(*text), absolute, definition);
  LoadedManualFile out;
  out.file.path = absolute;
  out.errors.push_back({absolute, 0, 0, "", text.error().message});
  return out;
}

}  // namespace testudo::node
