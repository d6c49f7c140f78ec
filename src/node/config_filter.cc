// SPDX-License-Identifier: Apache-2.0
#include "node/config_filter.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace testudo::node {
namespace {

using vipa::in_quotes;
using PortRange = StaticFilter::PortRange;

constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17;
constexpr std::size_t kFiltersMax = 1024;
constexpr std::size_t kPortRangesMax = 64;  // of one filter

std::optional<std::uint16_t> port_number(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (code != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

/// 80 or "8000-8100".
std::optional<PortRange> port_range(const ConfigValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) {
    if (*number < 1 || *number > 65535) return std::nullopt;
    return PortRange{static_cast<std::uint16_t>(*number), static_cast<std::uint16_t>(*number)};
  }
  const auto* text = std::get_if<std::string>(&value.value);
  if (text == nullptr) return std::nullopt;
  const std::size_t dash = text->find('-');
  if (dash == std::string::npos) return std::nullopt;
  const auto first = port_number(std::string_view(*text).substr(0, dash));
  const auto last = port_number(std::string_view(*text).substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{*first, *last};
}

void read_ports(ConfigSection& s, std::string_view key, std::uint8_t protocol, std::vector<PortRange>& out) {
  const ConfigValue* value = s.find(key);
  if (value == nullptr) return;
  const auto* list = std::get_if<ConfigList>(&value->value);
  if (list == nullptr || list->empty() || list->size() > kPortRangesMax) {
    return s.error(key,
                   fmt::format("is not a list of 1–{} ports: [80, \"8000-8100\"] is expected", kPortRangesMax));
  }
  for (const ConfigValue& element : *list) {
    const auto range = port_range(element);
    if (!range)
      return s.error_at(element.line, key, "holds something else than ports: 1–65535 or \"8000-8100\" is expected");
    out.push_back(*range);
  }
  if (protocol != kTcp && protocol != kUdp)
    s.error(key, "needs protocol = \"tcp\" or \"udp\": others have no ports");
}

void read_protocol(ConfigSection& s, std::uint8_t& out) {
  const ConfigValue* value = s.find("protocol");
  if (value == nullptr) return;
  if (std::holds_alternative<std::int64_t>(value->value)) return s.integer("protocol", out, 1, 255);
  s.choice<std::uint8_t>("protocol", out, {{"any", 0}, {"icmp", kIcmp}, {"tcp", kTcp}, {"udp", kUdp}});
}

void read_filter(ConfigSection s, NodeConfig& config, bool definition_known) {
  if (!s.present()) return;
  StaticFilter f;
  s.address("dvipa", f.dvipa, ConfigSection::kRequired);
  s.choice("action", f.action,
           {{"permit", StaticFilter::Action::kPermit},
            {"deny", StaticFilter::Action::kDeny},
            {"protect", StaticFilter::Action::kProtect}},
           ConfigSection::kRequired);
  s.choice("direction", f.direction,
           {{"in", StaticFilter::Direction::kInbound},
            {"out", StaticFilter::Direction::kOutbound},
            {"both", StaticFilter::Direction::kBoth}});
  read_protocol(s, f.protocol);
  read_ports(s, "ports", f.protocol, f.ports);
  read_ports(s, "remote-ports", f.protocol, f.remote_ports);
  std::string remote;
  if (s.text("remote", remote)) {
    const auto prefix = IpPrefix::parse(remote);
    prefix ? void(f.remote = *prefix)
           : s.error("remote",
                     fmt::format("{} is no prefix: one such as \"198.51.100.0/24\" is expected, with no bit set "
                                 "after its length",
                                 in_quotes(remote)));
  }
  s.integer("priority", f.priority, 0, 0xffffffff);
  const bool known = config.definition.find_define(f.dvipa) || config.definition.find_backup(f.dvipa);
  if (definition_known && !f.dvipa.is_unspecified() && !known) {
    s.error("dvipa",
            fmt::format("{} is neither defined nor backed up by this node: filters of a DVIPA belong on its owner "
                        "and its backups",
                        f.dvipa.to_string()));
  }
  s.finish();
  config.filters.push_back(std::move(f));
}

}  // namespace

void read_filters(const ConfigValue& root, ConfigReport& report, NodeConfig& config, bool definition_known) {
  const ConfigTable& tables = std::get<ConfigTable>(root.value);
  const auto found = tables.find("filter");
  if (found == tables.end()) return;
  const auto* list = std::get_if<ConfigList>(&found->second.value);
  if (list == nullptr || list->size() > kFiltersMax) {
    return report.error(
        found->second.line, "filter",
        fmt::format("is {}: up to {} tables are expected, each beginning with [[filter]] in two brackets",
                    found->second.kind(), kFiltersMax));
  }
  int number = 0;
  for (const ConfigValue& element : *list) {
    read_filter({element, fmt::format("[[filter]] {}", ++number), report, nullptr}, config, definition_known);
  }
}

}  // namespace testudo::node
