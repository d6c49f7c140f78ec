// SPDX-License-Identifier: Apache-2.0
// NodeConfig: what one node is told by its TOML file and the definition block that the file names.
// docs/configuration.md is the manual of the keys.
//
//   node::LoadedConfig loaded = node::load_config("/etc/testudo/t1.toml");
//   for (const vipa::Diagnostic& e : loaded.errors) fmt::print(stderr, "{}\n", e.to_string());
//   if (loaded.errors.empty()) return node::run_daemon(loaded.config);
//
// Everything is checked here that can be checked without starting anything; what needs the running host
// (interfaces, addresses) is in check_live(). All paths come out absolute, relative ones counted from the file's
// folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "policy/range.h"
#include "vipa/definition.h"
#include "vipa/diagnostic.h"

namespace testudo::node {

enum class CryptoBackend : std::uint8_t { kBest, kIpsecMb, kOpenSsl };
enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarning, kError };
enum class LogFormat : std::uint8_t { kText, kJson };

/// [[filter]]: a static filter rule of a DVIPA, given on its owner and its backups; targets get it from the owner.
/// Also in a file of manual SAs (manual_file.h).
struct StaticFilter {
  enum class Action : std::uint8_t { kDeny, kPermit, kProtect };
  enum class Direction : std::uint8_t { kInbound, kOutbound, kBoth };
  using PortRange = policy::PortRange;

  IpAddress dvipa;
  Action action = Action::kDeny;
  Direction direction = Direction::kBoth;
  std::uint8_t protocol = 0;                   // IANA number; 0: any
  std::vector<PortRange> ports;                // of the DVIPA's side; empty: any. Only of protocols that have ports
  std::vector<PortRange> remote_ports;         // of the other side; likewise
  std::vector<PortRange> icmp_types = {};      // type · 256 + code; empty: any. Only with ICMP or ICMPv6
  std::optional<policy::AddressRange> remote;  // the other side, of the DVIPA's family; none: any
  std::uint32_t priority =
      1'000'000;            // lower is looked at first; charon's dynamic filters lie far below the default
  bool log = false;         // connections that it decides are written to the log
  std::string tunnel = {};  // of a manual SA; empty: none. With kProtect
};

struct NodeConfig {
  std::string file;  // that this was read from

  std::string name;  // [node]
  std::string cluster;

  struct Interfaces {
    std::string network;  // towards clients
    std::string xcf;
    std::string tun = "testudo0";
    std::uint16_t tun_mtu = 1400;  // bytes
  } interfaces;

  struct Xcf {
    IpAddress address;
    std::uint16_t control_port = 4750;  // TCP
    std::uint16_t data_port = 4754;     // UDP: GRE (RFC 8086)
    std::uint16_t fast_port = 4755;     // UDP: leases, replay commits
  } xcf;

  struct Tls {  // PEM files
    std::string ca;
    std::string certificate;
    std::string key;
  } tls;

  struct Facility {
    std::vector<std::string> endpoints;  // "host:port" or "https://…": TLS; "http://…": in the clear
    Duration session_ttl = std::chrono::seconds(60);
  } facility;

  struct Ike {
    std::string socket;  // empty: this node runs no charon and can own no IPsec DVIPA
    [[nodiscard]] bool enabled() const { return !socket.empty(); }
  } ike;

  struct Control {
    std::string socket;  // default /run/testudo/NAME.sock
    std::string group;   // empty: only root may connect
  } control;

  std::string definition_file;  // empty: target only
  vipa::Definition definition;  // of definition_file

  struct Ipsec {
    std::uint32_t replay_window = 32;            // packets, the peer's: outbound leases stay inside it (spec E6)
    std::uint32_t inbound_replay_window = 1024;  // packets, ours
    CryptoBackend crypto = CryptoBackend::kBest;
    std::vector<std::string> allow;  // suites that RFC 8221 forbids, allowed here by name
    bool accept_icmp_errors = true;  // inside an SA, when they enclose a packet of its flows (RFC 4301 section 6.2)

    /// What one of charon's connections has otherwise than all.
    struct Connection {
      std::string name;  // in swanctl.conf
      std::uint32_t replay_window = 0, inbound_replay_window = 0;
    };
    std::vector<Connection> connections;  // [[ipsec.connection]], each name once
    /// The windows of an SA of this connection.
    [[nodiscard]] Connection windows_of(const std::string& connection) const;
  } ipsec;

  struct Sequence {
    Duration lease_duration = std::chrono::milliseconds(100);
    Duration skew_guard = std::chrono::microseconds(40);
    std::uint32_t exclusive_lease = 1024;     // numbers
    std::uint64_t ceiling_step = 1ULL << 20;  // numbers set aside in the facility at a time
    bool offers = false;                      // numbers for answers, unasked
  } sequence;

  struct Connections {
    std::uint32_t max = 65'536;
    Duration idle_timeout = std::chrono::seconds(3600);
    Duration closing_timeout = std::chrono::seconds(60);
  } connections;

  struct Hold {  // packets that wait for an SA or for sequence numbers
    std::uint32_t packets = 1024;
    Duration time = std::chrono::milliseconds(1000);
  } hold;

  struct Lifesize {
    std::uint32_t report_percent = 5;  // of the SA's total (spec D2), to begin with
    std::uint32_t report_percent_min = 1;
    std::uint32_t report_percent_max = 5;
    Duration report_interval = std::chrono::milliseconds(1000);
  } lifesize;

  struct Log {
    LogLevel level = LogLevel::kInfo;
    LogFormat format = LogFormat::kText;
  } log;

  struct Debug {
    std::string key_log;  // keys of all SAs go into this file, for Wireshark (key_log.h); empty: none
  } debug;

  std::vector<StaticFilter> filters;
};

struct LoadedConfig {
  NodeConfig config;         // to be used only if there is no error
  vipa::Diagnostics errors;  // of the node file in the order of its lines, then of the definition block
};

[[nodiscard]] LoadedConfig load_config(const std::string& path);

/// What only the running host can tell: the interfaces exist, the XCF address is on the XCF interface.
[[nodiscard]] vipa::Diagnostics check_live(const NodeConfig& config);

}  // namespace testudo::node
