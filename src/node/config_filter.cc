// SPDX-License-Identifier: Apache-2.0
#include "node/config_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace testudo::node {
namespace {

using policy::PortRange;
using vipa::in_quotes;

constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kDccp = 33, kIcmpv6 = 58, kSctp = 132, kUdpLite = 136;
constexpr std::array kWithPorts = {kTcp, kUdp, kDccp, kSctp, kUdpLite};
constexpr std::size_t kFiltersMax = 1024;
constexpr std::size_t kRangesMax = 64;  // of one filter

std::optional<std::uint16_t> number(std::string_view text, unsigned min, unsigned max) {
  unsigned value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value < min || value > max) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

/// 80 or "8000-8100".
std::optional<PortRange> port_range(const std::string& text) {
  const auto dash = text.find('-');
  const auto first = number(std::string_view(text).substr(0, dash), 1, 65535);
  const auto last = dash == std::string::npos ? first : number(std::string_view(text).substr(dash + 1), 1, 65535);
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{*first, *last};
}

/// 3 (with any code), "3/4" or "3-4".
std::optional<PortRange> icmp_range(const std::string& text) {
  const std::string_view all = text;
  const auto at = all.find_first_of("/-");
  const auto type = number(all.substr(0, at), 0, 255);
  const auto second = at == std::string::npos ? type : number(all.substr(at + 1), 0, 255);
  if (!type || !second) return std::nullopt;
  if (at != std::string::npos && all[at] == '/') {
    const auto one = static_cast<std::uint16_t>(*type << 8 | *second);
    return PortRange{one, one};
  }
  if (*type > *second) return std::nullopt;
  return PortRange{static_cast<std::uint16_t>(*type << 8), static_cast<std::uint16_t>(*second << 8 | 255)};
}

struct RangeKey {
  std::string_view key;
  std::optional<PortRange> (*read)(const std::string& text);
  std::string_view what, example;
};
constexpr RangeKey kPorts{"ports", port_range, "ports", "80 or \"8000-8100\", from 1 to 65535,"};
constexpr RangeKey kRemotePorts{"remote-ports", port_range, kPorts.what, kPorts.example};
constexpr RangeKey kIcmpTypes{"icmp-types", icmp_range, "ICMP types",
                              "8, \"3-4\" or, with a code, \"3/4\", from 0 to 255,"};

std::optional<PortRange> range_of(const ConfigValue& value, const RangeKey& key) {
  if (const auto* integer = std::get_if<std::int64_t>(&value.value)) return key.read(std::to_string(*integer));
  const auto* text = std::get_if<std::string>(&value.value);
  return text == nullptr ? std::nullopt : key.read(*text);
}

void read_ranges(ConfigSection& s, const RangeKey& key, std::vector<PortRange>& out) {
  const ConfigValue* value = s.find(key.key);
  if (value == nullptr) return;
  const auto* list = std::get_if<ConfigList>(&value->value);
  if (list == nullptr || list->empty() || list->size() > kRangesMax) {
    return s.error(key.key, fmt::format("is not a list of 1–{} {}: in brackets, {} is expected", kRangesMax,
                                        key.what, key.example));
  }
  for (const ConfigValue& element : *list) {
    const auto range = range_of(element, key);
    if (!range) {
      return s.error_at(element.line, key.key,
                        fmt::format("holds something else than {}: {} is expected", key.what, key.example));
    }
    out.push_back(*range);
  }
}

void read_protocol(ConfigSection& s, std::uint8_t& out) {
  const ConfigValue* value = s.find("protocol");
  if (value == nullptr) return;
  if (std::holds_alternative<std::int64_t>(value->value)) return s.integer("protocol", out, 1, 255);
  s.choice<std::uint8_t>("protocol", out,
                         {{"any", 0},
                          {"icmp", kIcmp},
                          {"tcp", kTcp},
                          {"udp", kUdp},
                          {"dccp", kDccp},
                          {"gre", 47},
                          {"icmpv6", kIcmpv6},
                          {"ospf", 89},
                          {"sctp", kSctp},
                          {"udplite", kUdpLite}});
}

void read_selectors(ConfigSection& s, StaticFilter& f) {
  read_protocol(s, f.protocol);
  read_ranges(s, kPorts, f.ports);
  read_ranges(s, kRemotePorts, f.remote_ports);
  read_ranges(s, kIcmpTypes, f.icmp_types);
  const bool has_ports = std::ranges::find(kWithPorts, f.protocol) != kWithPorts.end();
  const char* want = "needs protocol = \"tcp\", \"udp\", \"sctp\", \"dccp\" or \"udplite\": others have no ports";
  if (!has_ports && !f.ports.empty()) s.error(kPorts.key, want);
  if (!has_ports && !f.remote_ports.empty()) s.error(kRemotePorts.key, want);
  if (!f.icmp_types.empty() && f.protocol != kIcmp && f.protocol != kIcmpv6)
    s.error(kIcmpTypes.key, "needs protocol = \"icmp\" or, for IPv6, \"icmpv6\"");
}

/// Both ends of a filter are of one family, and its ICMP is that family's.
void check_family(ConfigSection& s, const StaticFilter& f) {
  const bool v4 = f.dvipa.is_v4();
  if (f.remote && f.remote->first.is_v4() != v4)
    s.error("remote",
            fmt::format("{} is not of the family of the DVIPA {}", f.remote->to_string(), f.dvipa.to_string()));
  if (f.protocol == (v4 ? kIcmpv6 : kIcmp))
    s.error("protocol", fmt::format("is that of the other family: {} is expected for {}",
                                    v4 ? "\"icmp\"" : "\"icmpv6\"", f.dvipa.to_string()));
}

void read_remote(ConfigSection& s, StaticFilter& f) {
  std::string text;
  if (!s.text("remote", text)) return;
  const auto range = policy::AddressRange::parse(text);
  if (range) return void(f.remote = *range);
  s.error("remote", fmt::format("{} is no address, prefix or range: one such as \"198.51.100.0/24\" or "
                                "\"198.51.100.1-198.51.100.9\" is expected ({})",
                                in_quotes(text), range.error().message));
}

void read_tunnel(ConfigSection& s, StaticFilter& f) {
  const bool protects = f.action == StaticFilter::Action::kProtect;
  s.name("tunnel", f.tunnel, protects ? ConfigSection::kRequired : ConfigSection::kOptional);
  if (!protects && !f.tunnel.empty()) s.error("tunnel", "needs action = \"protect\"");
}

void check_dvipa(ConfigSection& s, const StaticFilter& f, const vipa::Definition& definition) {
  if (definition.find_define(f.dvipa) || definition.find_backup(f.dvipa)) return;
  s.error("dvipa",
          fmt::format("{} is neither defined nor backed up by this node: filters of a DVIPA belong on its owner "
                      "and its backups",
                      f.dvipa.to_string()));
}

void read_filter(ConfigSection s, const FilterReading& reading, std::vector<StaticFilter>& out) {
  if (!s.present()) return;
  StaticFilter f;
  f.priority = reading.priority;
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
  read_selectors(s, f);
  read_remote(s, f);
  s.integer("priority", f.priority, 0, 0xffffffff);
  s.flag("log", f.log);
  if (reading.tunnels) read_tunnel(s, f);
  if (f.dvipa != IpAddress()) {
    check_family(s, f);
    if (reading.definition != nullptr) check_dvipa(s, f, *reading.definition);
  }
  s.finish();
  out.push_back(std::move(f));
}

}  // namespace

std::vector<StaticFilter> read_filters(const ConfigValue& root, ConfigReport& report,
                                       const FilterReading& reading) {
  std::vector<StaticFilter> filters;
  const ConfigTable& tables = std::get<ConfigTable>(root.value);
  const auto found = tables.find("filter");
  if (found == tables.end()) return filters;
  const auto* list = std::get_if<ConfigList>(&found->second.value);
  if (list == nullptr || list->size() > kFiltersMax) {
    report.error(found->second.line, "filter",
                 fmt::format("is {}: up to {} tables are expected, each beginning with [[filter]] in two brackets",
                             found->second.kind(), kFiltersMax));
    return filters;
  }
  int number = 0;
  for (const ConfigValue& element : *list) {
    read_filter({element, fmt::format("[[filter]] {}", ++number), report, nullptr}, reading, filters);
  }
  return filters;
}

}  // namespace testudo::node
