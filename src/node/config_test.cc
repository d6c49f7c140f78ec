// SPDX-License-Identifier: Apache-2.0
// What good node files become; what is said of bad ones is in apps/testdata/check/.
#include "node/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace testudo::node {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const char* const kLeast = R"(
[node]
name = "t1"
cluster = "demo"
[interfaces]
network = "eth0"
xcf = "eth1"
[xcf]
address = "10.77.0.11"
[tls]
ca = "tls/ca.pem"
certificate = "tls/t1.pem"
key = "tls/t1.key"
[facility]
endpoints = ["10.77.0.9:2379"]
)";

class Config : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "testudo-config-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    std::filesystem::create_directory(folder_ + "/tls");
    for (const char* file : {"ca.pem", "t1.pem", "t1.key", "owner.pem", "owner.key"}) {
      write(std::string("tls/") + file, "x");
      ::chmod((folder_ + "/tls/" + file).c_str(), 0600);
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/" + name) << text; }
  LoadedConfig load(const std::string& text) {
    write("node.toml", text);
    return load_config(folder_ + "/node.toml");
  }
  NodeConfig good(const std::string& text) {
    LoadedConfig loaded = load(text);
    for (const vipa::Diagnostic& e : loaded.errors) ADD_FAILURE() << e.to_string();
    return loaded.config;
  }
  std::string folder_;
};

TEST_F(Config, AddressesOfEitherFamilyAndSuitesByName) {
  std::string text = kLeast;
  text.replace(text.find("10.77.0.11"), 10, "fd00:77::11");
  text.replace(text.find("10.77.0.9:2379"), 14, "[fd00:77::9]:2379");
  const NodeConfig c = good(text + "[ipsec]\nallow = [\"AES-GCM-128\"]\n");
  EXPECT_EQ(c.xcf.address, *IpAddress::parse("fd00:77::11"));
  EXPECT_THAT(c.facility.endpoints, ElementsAre("[fd00:77::9]:2379"));
  EXPECT_THAT(c.ipsec.allow, ElementsAre("AES-GCM-128"));
  text.replace(text.find("[fd00:77::9]:2379"), 17, "fd00:77::9:2379");
  const LoadedConfig bad = load(text + "[ipsec]\nallow = [\"3des\"]\n");
  ASSERT_EQ(bad.errors.size(), 2u);
  EXPECT_THAT(bad.errors[0].message, testing::HasSubstr("\"[fd00:77::1]:2379\" is expected"));
  EXPECT_THAT(bad.errors[1].message, testing::HasSubstr("\"3des\" is no suite"));
}

TEST_F(Config, NoErrorWritesToTheTerminalsControls) {
  const LoadedConfig loaded = load("[node]\nname = f\x1b[2Jalse\n");
  ASSERT_THAT(loaded.errors, testing::SizeIs(1));
  EXPECT_THAT(loaded.errors[0].to_string(), testing::HasSubstr("\\x1b"));
  EXPECT_THAT(loaded.errors[0].to_string(), testing::Not(testing::HasSubstr("\x1b")));
}

TEST_F(Config, DefaultsOfTheLeastFile) {
  const NodeConfig c = good(kLeast);
  EXPECT_EQ(c.name, "t1");
  EXPECT_EQ(c.interfaces.tun, "testudo0");
  EXPECT_EQ(c.interfaces.tun_mtu, 1400);
  EXPECT_EQ(c.xcf.control_port, 4750);
  EXPECT_EQ(c.tls.key, folder_ + "/tls/t1.key");  // relative to the file
  EXPECT_EQ(c.facility.session_ttl, 60s);
  EXPECT_FALSE(c.ike.enabled());
  EXPECT_EQ(c.control.socket, "/run/testudo/t1.sock");
  EXPECT_TRUE(c.definition.defines.empty());
  EXPECT_EQ(c.ipsec.replay_window, 32u);
  EXPECT_EQ(c.sequence.lease_duration, 100ms);
  EXPECT_EQ(c.sequence.skew_guard, 40us);
}

TEST_F(Config, EveryKey) {
  write("o.vipa", "VIPADYNAMIC VIPADEFINE 255.255.255.0 192.0.2.100 ENDVIPADYNAMIC");
  const NodeConfig c = good(R"(
node = {name = "owner", cluster = "c"}
interfaces = {network = "eth0", xcf = "eth1", tun = "t0", tun-mtu = 1280}
xcf = {address = "10.77.0.1", control-port = 1, data-port = 2, fast-port = 3}
tls = {ca = "tls/ca.pem", certificate = "tls/owner.pem", key = "tls/owner.key"}
facility = {endpoints = ["etcd1:2379", "http://10.77.0.9:2379"], session-ttl-seconds = 5}
ike = {socket = "ike.sock"}
control = {socket = "/run/x.sock", group = "root"}
definition = {file = "o.vipa"}
ipsec = {replay-window = 64, inbound-replay-window = 2048, crypto = "openssl", accept-icmp-errors = false, connection = [{name = "big", replay-window = 128}]}
sequence = {lease-duration-ms = 20, skew-guard-us = 0, exclusive-lease = 64, ceiling-step = 65536, offers = true}
connections = {max = 10, idle-timeout-seconds = 11, closing-timeout-seconds = 12}
hold = {packets = 13, milliseconds = 14}
lifesize = {report-percent = 15, report-percent-min = 2, report-interval-ms = 16}
log = {level = "debug", format = "json"}
[[filter]]
dvipa = "192.0.2.100"
action = "protect"
direction = "in"
protocol = "udp"
ports = [53, "8000-8100"]
remote-ports = ["1024-65535"]
remote = "198.51.100.0/24"
priority = 5
[[filter]]
dvipa = "192.0.2.100"
action = "permit"
protocol = 89
[[filter]]
dvipa = "192.0.2.100"
action = "permit"
protocol = "icmp"
icmp-types = [8, "3/4", "11-12"]
remote = "198.51.100.1-198.51.100.9"
log = true
)");
  EXPECT_EQ(c.interfaces.tun_mtu, 1280);
  EXPECT_EQ(c.xcf.fast_port, 3);
  EXPECT_THAT(c.facility.endpoints, ElementsAre("etcd1:2379", "http://10.77.0.9:2379"));
  EXPECT_EQ(c.facility.session_ttl, 5s);
  EXPECT_EQ(c.ike.socket, folder_ + "/ike.sock");
  EXPECT_EQ(c.control.group, "root");
  EXPECT_EQ(c.definition.defines.size(), 1u);
  EXPECT_EQ(c.ipsec.inbound_replay_window, 2048u);
  EXPECT_EQ(c.ipsec.windows_of("big").replay_window, 128u);
  EXPECT_EQ(c.ipsec.windows_of("big").inbound_replay_window, 2048u);
  EXPECT_EQ(c.ipsec.windows_of("other").replay_window, 64u);
  EXPECT_EQ(c.ipsec.crypto, CryptoBackend::kOpenSsl);
  EXPECT_EQ(c.sequence.skew_guard, 0us);
  EXPECT_EQ(c.sequence.ceiling_step, 65536u);
  EXPECT_TRUE(c.sequence.offers);
  EXPECT_EQ(c.connections.closing_timeout, 12s);
  EXPECT_EQ(c.hold.time, 14ms);
  EXPECT_EQ(c.lifesize.report_interval, 16ms);
  EXPECT_EQ(c.lifesize.report_percent_min, 2u);
  EXPECT_EQ(c.lifesize.report_percent_max, 15u);  // as high as it starts
  EXPECT_EQ(c.log.level, LogLevel::kDebug);
  EXPECT_EQ(c.log.format, LogFormat::kJson);
  EXPECT_FALSE(c.ipsec.accept_icmp_errors);
  ASSERT_EQ(c.filters.size(), 3u);
  const StaticFilter& f = c.filters[0];
  EXPECT_EQ(f.action, StaticFilter::Action::kProtect);
  EXPECT_EQ(f.direction, StaticFilter::Direction::kInbound);
  EXPECT_EQ(f.protocol, 17);
  EXPECT_THAT(f.ports, ElementsAre(StaticFilter::PortRange{53, 53}, StaticFilter::PortRange{8000, 8100}));
  EXPECT_THAT(f.remote_ports, ElementsAre(StaticFilter::PortRange{1024, 65535}));
  EXPECT_EQ(f.remote->to_string(), "198.51.100.0/24");
  EXPECT_EQ(f.priority, 5u);
  EXPECT_EQ(c.filters[1].protocol, 89);
  EXPECT_EQ(c.filters[1].direction, StaticFilter::Direction::kBoth);
  EXPECT_FALSE(c.filters[1].log);
  EXPECT_THAT(c.filters[2].icmp_types, ElementsAre(policy::PortRange{0x800, 0x8ff}, policy::PortRange{0x304, 0x304},
                                                   policy::PortRange{0xb00, 0xcff}));
  EXPECT_EQ(c.filters[2].remote->to_string(), "198.51.100.1-198.51.100.9");
  EXPECT_TRUE(c.filters[2].log);
}

TEST_F(Config, ConnectionsThatMakeNoSense) {
  const std::pair<const char*, const char*> rows[] = {
      {"[ipsec]\nconnection = 7", "connection: is an integer: tables are expected"},
      {"[[ipsec.connection]]\nreplay-window = 64", "name: is missing"},
      {"[[ipsec.connection]]\nname = \"a\"\nreplay-window = 31", "replay-window: 31 is outside 32"},
      {"[[ipsec.connection]]\nname = \"a\"\n[[ipsec.connection]]\nname = \"a\"",
       "2 name: \"a\" has a table already"},
  };
  for (const auto& [text, says] : rows) {
    const LoadedConfig loaded = load(std::string(kLeast) + text);
    ASSERT_THAT(loaded.errors, testing::SizeIs(1)) << text;
    EXPECT_THAT(loaded.errors[0].to_string(), testing::HasSubstr(says));
  }
}

TEST_F(Config, FiltersThatMakeNoSense) {
  struct Row {
    const char *line, *says;
  };
  const Row rows[] = {
      {"ports = [80]", "ports: needs protocol"},
      {"protocol = \"udp\"\nremote-ports = [0]", "remote-ports: holds something else than ports"},
      {"protocol = \"udp\"\nports = [\"9-8\"]", "ports: holds something else"},
      {"protocol = \"udp\"\nicmp-types = [8]", "icmp-types: needs protocol = \"icmp\""},
      {"protocol = \"icmp\"\nicmp-types = [256]", "icmp-types: holds something else than ICMP types"},
      {"protocol = \"icmp\"\nicmp-types = [\"3/4/5\"]", "icmp-types: holds something else"},
      {"protocol = \"icmpv6\"", "protocol: is that of the other family"},
      {"remote = \"2001:db8::/32\"", "remote: 2001:db8::/32 is not of the family of the DVIPA"},
      {"remote = \"198.51.100.9-198.51.100.1\"", "wrong way round"},
      {"remote = \"198.51.100.1/24\"", "no address, prefix or range"},
  };
  for (const Row& row : rows) {
    const LoadedConfig loaded =
        load(std::string("[[filter]]\ndvipa = \"192.0.2.100\"\naction = \"deny\"\n") + row.line + "\n");
    const bool said = std::ranges::any_of(loaded.errors, [&](const vipa::Diagnostic& e) {
      return e.to_string().find(row.says) != std::string::npos;
    });
    EXPECT_TRUE(said) << row.line;
  }
}

/// docs/configuration.md: keys by "[table]", and the first block of TOML.
struct Manual {
  std::map<std::string, std::set<std::string>> keys;
  std::string example;
};

Manual manual() {
  Manual out;
  std::ifstream in("docs/configuration.md");
  std::string line, table;
  bool example = false;
  while (std::getline(in, line)) {
    if (line == "```") example = false;
    if (example) out.example += line + "\n";
    if (line == "```toml") example = true;
    if (line.starts_with("## ") || line.starts_with("### [[")) table = line.substr(line.find(' ') + 1);
    if (line.starts_with("| `")) out.keys[table].insert(line.substr(3, line.find('`', 3) - 3));
  }
  return out;
}

TEST_F(Config, ManualsExampleIsRight) {
  write("owner.vipa", "VIPADYNAMIC VIPADEFINE 255.255.255.0 192.0.2.101 ENDVIPADYNAMIC");
  EXPECT_EQ(good(manual().example).filters.size(), 1u);
}

// A table tells its keys when it meets one that resembles none: they are those of the manual.
TEST_F(Config, ManualHasEveryKey) {
  const Manual m = manual();
  EXPECT_EQ(m.keys.size(), 17u);
  for (const auto& [title, keys] : m.keys) {
    const LoadedConfig loaded = load(title + "\nqqqqqqqqqqqq = 1\n");
    std::set<std::string> known;
    for (const vipa::Diagnostic& e : loaded.errors) {
      const std::size_t at = e.message.find("its keys are ");
      if (at == std::string::npos) continue;
      std::istringstream list(e.message.substr(at + 13));
      for (std::string word; list >> word;) known.insert(word.substr(0, word.find(',')));
    }
    EXPECT_EQ(known, keys) << title;
  }
}

TEST_F(Config, LiveCheckLooksAtThisHost) {
  NodeConfig c;
  c.file = "f";
  c.interfaces.network = "lo";
  c.interfaces.xcf = "lo";
  c.xcf.address = IpAddress(0x7f000001);
  EXPECT_THAT(check_live(c), IsEmpty());
  c.xcf.address = IpAddress(0x0a4dfffe);
  EXPECT_EQ(check_live(c).at(0).subject, "[xcf] address");
  c.interfaces.network = "no-such-if";
  EXPECT_EQ(check_live(c).at(0).subject, "[interfaces] network");
  EXPECT_EQ(check_live(c).size(), 2u);
}

}  // namespace
}  // namespace testudo::node
