// SPDX-License-Identifier: Apache-2.0
#include "node/config.h"

#include <fmt/format.h>
#include <grp.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <utility>

#include "crypto/suite.h"
#include "node/config_filter.h"
#include "node/config_section.h"

namespace testudo::node {
namespace {

using vipa::in_quotes;
using Need = ConfigSection::Need;

constexpr Need kOptional = ConfigSection::kOptional;
constexpr Need kRequired = ConfigSection::kRequired;
constexpr std::size_t kFileMax = 1 << 20;  // bytes

constexpr std::array<std::string_view, 16> kTables = {
    "node",  "interfaces", "xcf",         "tls",  "facility", "ike", "control", "definition",
    "ipsec", "sequence",   "connections", "hold", "lifesize", "log", "debug",   "filter"};

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(fmt::format("cannot be read: {}", std::strerror(errno)));
  std::string text(kFileMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof())) return fail("cannot be read: it is no file");
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kFileMax) return fail(fmt::format("is larger than {} bytes", kFileMax));
  return text;
}

void read_node(ConfigSection s, NodeConfig& c) {
  s.name("name", c.name, kRequired);
  s.name("cluster", c.cluster, kRequired);
  s.finish();
}

void read_interfaces(ConfigSection s, NodeConfig::Interfaces& c) {
  s.interface("network", c.network, kRequired);
  s.interface("xcf", c.xcf, kRequired);
  s.interface("tun", c.tun);
  s.integer("tun-mtu", c.tun_mtu, 576, 9000);
  if (!c.tun.empty() && (c.tun == c.network || c.tun == c.xcf)) {
    s.error("tun",
            fmt::format("{} is also the network or the XCF interface: the TUN device is one of its own, made by "
                        "the node",
                        in_quotes(c.tun)));
  }
  s.finish();
}

void read_xcf(ConfigSection s, NodeConfig::Xcf& c) {
  s.address("address", c.address, kRequired);
  s.integer("control-port", c.control_port, 1, 65535);
  s.integer("data-port", c.data_port, 1, 65535);
  s.integer("fast-port", c.fast_port, 1, 65535);
  if (c.data_port == c.fast_port) {
    s.error("fast-port", fmt::format("{} is the data port too: each needs a UDP port of its own", c.fast_port));
  }
  s.finish();
}

void read_tls(ConfigSection s, NodeConfig::Tls& c) {
  s.file("ca", c.ca, kRequired);
  s.file("certificate", c.certificate, kRequired);
  s.file("key", c.key, kRequired, /*secret=*/true);
  s.finish();
}

/// "host:port" or "https://host:port": TLS with the files of [tls]. "http://host:port": in the clear.
Result<std::string> endpoint(const std::string& text) {
  std::string rest = text;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (rest.starts_with(scheme)) rest.erase(0, scheme.size());
  }
  const std::size_t colon = rest.rfind(':');
  const std::string port = colon == std::string::npos ? "" : rest.substr(colon + 1);
  const bool digits =
      !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  // An IPv6 address has brackets: else its last part would be taken for the port.
  const bool bare = rest.find(':') != colon && !Endpoint::parse(rest);
  if (colon == 0 || !digits || bare || std::stoi(port) < 1 || std::stoi(port) > 65535 ||
      rest.find_first_of("/ \t\"") != std::string::npos) {
    return fail(
        fmt::format("{} is not host:port: one such as \"10.77.0.1:2379\" or \"[fd00:77::1]:2379\" is expected",
                    in_quotes(text)));
  }
  return text;
}

void read_facility(ConfigSection s, NodeConfig::Facility& c) {
  s.duration<std::chrono::seconds>("session-ttl-seconds", c.session_ttl, 2, 600);
  if (const ConfigValue* value = s.find("endpoints", kRequired)) {
    const auto* list = std::get_if<ConfigList>(&value->value);
    if (list == nullptr || list->empty()) {
      s.error("endpoints", "is not a list with at least one endpoint: [\"10.77.0.1:2379\"] is expected");
    }
    for (const ConfigValue& element : list == nullptr ? ConfigList() : *list) {
      const auto* text = std::get_if<std::string>(&element.value);
      const Result<std::string> parsed =
          text == nullptr
              ? fail(fmt::format("holds {}: strings such as \"10.77.0.1:2379\" are expected", element.kind()))
              : endpoint(*text);
      parsed ? c.endpoints.push_back(*parsed) : s.error_at(element.line, "endpoints", parsed.error().message);
    }
  }
  s.finish();
}

void check_socket(ConfigSection& s, const std::string& socket) {
  constexpr std::size_t kMax = sizeof(sockaddr_un::sun_path) - 1;
  if (socket.size() <= kMax) return;
  s.error("socket",
          fmt::format("{} is too long: a Unix socket's path has at most {} bytes", in_quotes(socket), kMax));
}

void read_ike(ConfigSection s, NodeConfig::Ike& c) {
  s.path("socket", c.socket);
  check_socket(s, c.socket);
  s.finish();
}

void read_control(ConfigSection s, NodeConfig& c) {
  if (!c.name.empty()) c.control.socket = fmt::format("/run/testudo/{}.sock", c.name);
  s.path("socket", c.control.socket);
  check_socket(s, c.control.socket);
  if (s.text("group", c.control.group) && ::getgrnam(c.control.group.c_str()) == nullptr) {
    s.error("group",
            fmt::format("there is no group {} on this host: name one of /etc/group", in_quotes(c.control.group)));
  }
  s.finish();
}

void read_definition(ConfigSection s, NodeConfig& c, vipa::Diagnostics& errors) {
  s.file("file", c.definition_file, s.present() ? kRequired : kOptional);
  s.finish();
  if (c.definition_file.empty()) return;
  const Result<std::string> text = read_file(c.definition_file);
  if (!text) return s.error("file", fmt::format("{} {}", c.definition_file, text.error().message));
  vipa::ParsedDefinition parsed = vipa::parse_definition(*text, c.definition_file);
  c.definition = std::move(parsed.definition);
  errors = std::move(parsed.errors);
}

/// "None" for what is no IP address.
IpAddress address_of(const sockaddr& socket_address) {
  if (socket_address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &socket_address, sizeof v4);
    return IpAddress(ntohl(v4.sin_addr.s_addr));
  }
  if (socket_address.sa_family != AF_INET6) return {};
  sockaddr_in6 v6{};
  std::memcpy(&v6, &socket_address, sizeof v6);
  return IpAddress(std::span<const std::uint8_t, 16>(v6.sin6_addr.s6_addr));
}

void read_windows(ConfigSection& s, std::uint32_t& peer, std::uint32_t& own) {
  s.integer("replay-window", peer, 32, 65536);
  s.integer("inbound-replay-window", own, 32, 65536);
}

void read_allow(ConfigSection& s, std::vector<std::string>& out) {
  const ConfigValue* value = s.find("allow");
  if (value == nullptr) return;
  const auto* list = std::get_if<ConfigList>(&value->value);
  if (list == nullptr) return s.error("allow", "is not a list of suites: [\"AES-GCM-128\"] is expected");
  for (const ConfigValue& element : *list) {
    const auto* text = std::get_if<std::string>(&element.value);
    if (text == nullptr || !crypto::suite_of(*text)) {
      s.error_at(element.line, "allow",
                 fmt::format("{} is no suite: names as testudo sa shows them are expected, such as \"AES-GCM-128\"",
                             text == nullptr ? element.kind() : in_quotes(*text)));
      continue;
    }
    out.push_back(*text);
  }
}

/// After the windows of all connections have been read.
void read_connections(ConfigSection& s, ConfigReport& report, NodeConfig::Ipsec& c) {
  const ConfigValue* value = s.find("connection");
  if (value == nullptr) return;
  const auto* list = std::get_if<ConfigList>(&value->value);
  if (list == nullptr) {
    return s.error("connection",
                   fmt::format("is {}: tables are expected, each beginning with [[ipsec.connection]] in "
                               "two brackets",
                               value->kind()));
  }
  for (const ConfigValue& element : *list) {
    ConfigSection one(element, fmt::format("[[ipsec.connection]] {}", c.connections.size() + 1), report, nullptr);
    NodeConfig::Ipsec::Connection connection = c.windows_of("");
    one.text("name", connection.name, kRequired);
    if (std::ranges::find(c.connections, connection.name, &NodeConfig::Ipsec::Connection::name) !=
        c.connections.end())
      one.error("name",
                fmt::format("{} has a table already: write one for each connection", in_quotes(connection.name)));
    read_windows(one, connection.replay_window, connection.inbound_replay_window);
    one.finish();
    c.connections.push_back(std::move(connection));
  }
}

void read_ipsec(ConfigSection s, ConfigReport& report, NodeConfig::Ipsec& c) {
  read_windows(s, c.replay_window, c.inbound_replay_window);
  read_connections(s, report, c);
  s.flag("accept-icmp-errors", c.accept_icmp_errors);
  s.choice("crypto", c.crypto,
           {{"best", CryptoBackend::kBest},
            {"ipsec-mb", CryptoBackend::kIpsecMb},
            {"openssl", CryptoBackend::kOpenSsl}});
  read_allow(s, c.allow);
  s.finish();
}

void read_sequence(ConfigSection s, NodeConfig::Sequence& c) {
  s.duration<std::chrono::milliseconds>("lease-duration-ms", c.lease_duration, 1, 10'000);
  s.duration<std::chrono::microseconds>("skew-guard-us", c.skew_guard, 0, 100'000);
  s.integer("exclusive-lease", c.exclusive_lease, 1, 1 << 20);
  s.integer("ceiling-step", c.ceiling_step, 1 << 12, 1LL << 28);
  s.flag("offers", c.offers);
  if (c.ceiling_step < c.exclusive_lease) {
    s.error("ceiling-step", fmt::format("{} is less than exclusive-lease, {}: it is at least as large",
                                        c.ceiling_step, c.exclusive_lease));
  }
  s.finish();
}

/// Unless the file says otherwise, the range reaches to where it starts.
void read_lifesize(ConfigSection s, NodeConfig::Lifesize& c) {
  s.integer("report-percent", c.report_percent, 1, 50);
  c.report_percent_max = std::max(c.report_percent_max, c.report_percent);
  s.integer("report-percent-max", c.report_percent_max, 1, 50);
  s.integer("report-percent-min", c.report_percent_min, 1, 50);
  if (c.report_percent_min > c.report_percent || c.report_percent > c.report_percent_max) {
    s.error("report-percent", fmt::format("{} is not from report-percent-min, {}, to report-percent-max, {}",
                                          c.report_percent, c.report_percent_min, c.report_percent_max));
  }
  s.duration<std::chrono::milliseconds>("report-interval-ms", c.report_interval, 10, 60'000);
  s.finish();
}

void read_limits(const ConfigValue& root, ConfigReport& report, NodeConfig& c) {
  ConfigSection connections(root, "connections", report);
  connections.integer("max", c.connections.max, 1, 1 << 24);
  connections.duration<std::chrono::seconds>("idle-timeout-seconds", c.connections.idle_timeout, 1, 2'592'000);
  connections.duration<std::chrono::seconds>("closing-timeout-seconds", c.connections.closing_timeout, 1, 3600);
  connections.finish();

  ConfigSection hold(root, "hold", report);
  hold.integer("packets", c.hold.packets, 1, 1 << 16);
  hold.duration<std::chrono::milliseconds>("milliseconds", c.hold.time, 1, 60'000);
  hold.finish();

  read_lifesize(ConfigSection(root, "lifesize", report), c.lifesize);
}

void read_log(ConfigSection s, NodeConfig::Log& c) {
  s.choice("level", c.level,
           {{"trace", LogLevel::kTrace},
            {"debug", LogLevel::kDebug},
            {"info", LogLevel::kInfo},
            {"warning", LogLevel::kWarning},
            {"error", LogLevel::kError}});
  s.choice("format", c.format, {{"text", LogFormat::kText}, {"json", LogFormat::kJson}});
  s.finish();
}

void read_debug(ConfigSection s, NodeConfig::Debug& c) {
  s.path("key-log", c.key_log);
  s.finish();
}

void unknown_tables(const ConfigValue& root, ConfigReport& report) {
  for (const auto& [name, value] : std::get<ConfigTable>(root.value)) {
    if (std::find(kTables.begin(), kTables.end(), name) != kTables.end()) continue;
    const std::string_view meant = vipa::nearest(name, kTables);
    report.error(value.line, in_quotes(name),
                 meant.empty() ? "is not a table of a node file: docs/configuration.md lists them"
                               : fmt::format("is not a table of a node file: did you mean [{}]?", meant));
  }
}

vipa::Diagnostics read_all(const ConfigValue& root, ConfigReport& report, NodeConfig& c) {
  vipa::Diagnostics definition_errors;
  unknown_tables(root, report);
  read_node({root, "node", report, kRequired}, c);
  read_interfaces({root, "interfaces", report, kRequired}, c.interfaces);
  read_xcf({root, "xcf", report, kRequired}, c.xcf);
  read_tls({root, "tls", report, kRequired}, c.tls);
  read_facility({root, "facility", report, kRequired}, c.facility);
  read_ike({root, "ike", report}, c.ike);
  read_control({root, "control", report}, c);
  read_definition({root, "definition", report}, c, definition_errors);
  read_ipsec({root, "ipsec", report}, report, c.ipsec);
  read_sequence({root, "sequence", report}, c.sequence);
  read_limits(root, report, c);
  read_log({root, "log", report}, c.log);
  read_debug({root, "debug", report}, c.debug);
  const bool named = std::get<ConfigTable>(root.value).contains("definition");
  const bool known = definition_errors.empty() && (!named || !c.definition_file.empty());
  c.filters = read_filters(root, report, {.definition = known ? &c.definition : nullptr});
  return definition_errors;
}

}  // namespace

NodeConfig::Ipsec::Connection NodeConfig::Ipsec::windows_of(const std::string& connection) const {
  const auto own = std::ranges::find(connections, connection, &Connection::name);
  if (own != connections.end()) return *own;
  return {.name = connection, .replay_window = replay_window, .inbound_replay_window = inbound_replay_window};
}

LoadedConfig load_config(const std::string& path) {
  LoadedConfig out;
  out.config.file = path;
  const Result<std::string> text = read_file(path);
  if (!text) {
    out.errors.push_back({path, 0, 0, "", text.error().message});
    return out;
  }
  ConfigFile file = parse_toml(*text, path);
  if (!file.errors.empty()) {
    out.errors = std::move(file.errors);
    return out;
  }
  ConfigReport report(path);
  vipa::Diagnostics definition_errors = read_all(file.root, report, out.config);
  out.errors = std::move(report.errors());
  std::stable_sort(out.errors.begin(), out.errors.end(),
                   [](const vipa::Diagnostic& a, const vipa::Diagnostic& b) { return a.line < b.line; });
  std::move(definition_errors.begin(), definition_errors.end(), std::back_inserter(out.errors));
  return out;
}

vipa::Diagnostics check_live(const NodeConfig& config) {
  vipa::Diagnostics out;
  const auto error = [&](const char* key, std::string message) {
    out.push_back({config.file, 0, 0, key, std::move(message)});
  };
  const auto exists = [&](const char* key, const std::string& name) {
    const bool found = ::if_nametoindex(name.c_str()) != 0;
    if (!found)
      error(key, fmt::format("there is no interface {} on this host: `ip link` lists those there are", name));
    return found;
  };
  exists("[interfaces] network", config.interfaces.network);
  if (!exists("[interfaces] xcf", config.interfaces.xcf)) return out;

  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) {
    error("[xcf] address", fmt::format("this host's addresses cannot be read: {}", std::strerror(errno)));
    return out;
  }
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr != nullptr && config.interfaces.xcf == at->ifa_name &&
        address_of(*at->ifa_addr) == config.xcf.address) {
      return out;
    }
  }
  error("[xcf] address",
        fmt::format("{} is not an address of {}: give the interface that address, or name another one",
                    config.xcf.address.to_string(), config.interfaces.xcf));
  return out;
}

}  // namespace testudo::node
