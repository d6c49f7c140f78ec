// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/kernel_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "io/namespace_for_test.h"
#include "io/socket_address.h"
#include "io/tun/tun_port.h"

namespace testudo::io {
namespace {

const IpAddress kIpsec(0xc0000264);  // 192.0.2.100
const IpAddress kPlain(0xc0000265);  // 192.0.2.101

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Descriptor listen_on(int family, const Endpoint& where, bool only_ipv6 = false) {
  Descriptor s(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (family == AF_INET6) {
    set_option(s.get(), IPPROTO_IPV6, IPV6_V6ONLY, only_ipv6 ? 1 : 0);
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(where.port);
    EXPECT_EQ(bind(s.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  } else {
    sockaddr_in a = to_socket_address(where);
    EXPECT_EQ(bind(s.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  }
  EXPECT_EQ(::listen(s.get(), 1), 0);
  return s;
}

struct KernelNetworkTest : testing::Test {
  TestNamespace home;
  KernelNetwork host;
  std::unique_ptr<TunPort> tun;
  Steering wanted{.network = "v0", .tun = "testudo0", .dvipas = {{kIpsec, true}, {kPlain, false}}};

  void SetUp() override {
    shell("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    shell("ip addr add 192.0.2.2/24 dev v0");
    tun = std::move(*TunPort::open({.name = "testudo0", .mtu = 1400}));
  }
  void apply() {
    const auto done = host.apply(wanted);
    ASSERT_TRUE(done) << (done ? "" : done.error().message);
  }
  static std::string state() {
    return output_of(
        "ip rule; ip route show table 5270; ip -br addr show dev v0; ip -br addr show dev testudo0;"
        "nft list table ip testudo; sysctl net.ipv4.conf.v0.arp_ignore net.ipv4.conf.v0.arp_announce");
  }
};

TEST_F(KernelNetworkTest, SetsUpWhatItPromises) {
  apply();
  const std::string rules = output_of("ip rule");
  EXPECT_TRUE(has(rules, "5270:\tfrom all fwmark 0x7e57 lookup main")) << rules;
  EXPECT_TRUE(has(rules, "5271:\tfrom 192.0.2.100 lookup 5270")) << rules;
  EXPECT_TRUE(has(rules, "5271:\tfrom 192.0.2.101 lookup 5270")) << rules;
  const std::string routes = output_of("ip route show table 5270");
  EXPECT_TRUE(has(routes, "default dev testudo0")) << routes;
  EXPECT_TRUE(has(routes, "blackhole default")) << routes;
  EXPECT_TRUE(has(routes, "metric 4278")) << routes;
  const std::string network = output_of("ip addr show dev v0");
  EXPECT_TRUE(has(network, "192.0.2.100/32")) << network;
  EXPECT_FALSE(has(network, "192.0.2.101/32")) << network;
  const std::string own = output_of("ip addr show dev testudo0");
  EXPECT_TRUE(has(own, "192.0.2.100/32") && has(own, "192.0.2.101/32")) << own;
  EXPECT_EQ(output_of("cat /proc/sys/net/ipv4/conf/v0/arp_ignore /proc/sys/net/ipv4/conf/v0/arp_announce"),
            "1\n2\n");
}

TEST_F(KernelNetworkTest, TheSameAgainChangesNothing) {
  apply();
  const std::string before = state();
  apply();
  EXPECT_EQ(state(), before);
}

TEST_F(KernelNetworkTest, FollowsChangesOfOwnershipAndMembership) {
  apply();
  wanted.dvipas = {{kPlain, true}};
  KernelNetwork restarted;  // knows nothing of what the first one did
  ASSERT_TRUE(restarted.apply(wanted));
  const std::string now = state();
  EXPECT_FALSE(has(now, "192.0.2.100")) << now;
  EXPECT_TRUE(has(output_of("ip addr show dev v0"), "192.0.2.101/32")) << now;
  wanted.dvipas = {{kPlain, false}};
  apply();
  EXPECT_FALSE(has(output_of("ip addr show dev v0"), "192.0.2.101/32"));
  EXPECT_TRUE(has(output_of("ip addr show dev testudo0"), "192.0.2.101/32"));
}

TEST_F(KernelNetworkTest, ClearLeavesNothing) {
  const std::string before = output_of("ip rule; ip addr show dev v0");
  apply();
  const auto done = host.clear(wanted);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(output_of("ip rule; ip addr show dev v0"), before);
  EXPECT_EQ(output_of("ip route show table 5270 2>/dev/null; nft list ruleset"), "");
  EXPECT_TRUE(host.clear(wanted));
}

TEST_F(KernelNetworkTest, WithoutTheDaemonNothingLeavesADvipa) {
  apply();
  EXPECT_TRUE(has(output_of("ip route get 192.0.2.1 from 192.0.2.100"), "dev testudo0"));
  EXPECT_TRUE(has(output_of("ip route get 192.0.2.1 from 192.0.2.100 mark 0x7e57"), "dev v0"));
  tun.reset();  // as if it had died
  EXPECT_EQ(output_of("ip route get 192.0.2.1 from 192.0.2.100 2>/dev/null"), "");
  EXPECT_TRUE(has(output_of("nft list table ip testudo"), "drop"));
  tun = std::move(*TunPort::open({.name = "testudo0", .mtu = 1400}));
  apply();
  EXPECT_TRUE(has(output_of("ip route get 192.0.2.1 from 192.0.2.100"), "dev testudo0"));
}

TEST_F(KernelNetworkTest, StrictReversePathFilterBecomesLoose) {
  shell("echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 1 > /proc/sys/net/ipv4/conf/v0/rp_filter");
  apply();
  EXPECT_EQ(output_of("cat /proc/sys/net/ipv4/conf/v0/rp_filter /proc/sys/net/ipv4/conf/testudo0/rp_filter"),
            "2\n2\n");
}

TEST_F(KernelNetworkTest, ErrorsNameTheInterface) {
  wanted.tun = "nosuch0";
  const auto done = host.apply(wanted);
  ASSERT_FALSE(done);
  EXPECT_TRUE(has(done.error().message, "nosuch0"));
}

TEST_F(KernelNetworkTest, TellsAboutInterfaces) {
  const auto v0 = host.interface("v0");
  ASSERT_TRUE(v0);
  EXPECT_EQ(v0->mtu, 1500u);
  EXPECT_TRUE(v0->up);
  ASSERT_EQ(v0->addresses.size(), 1u);
  EXPECT_EQ(v0->addresses[0], (IpPrefix{IpAddress(0xc0000202), 24}));
  EXPECT_FALSE(host.interface("nosuch0"));
}

TEST_F(KernelNetworkTest, SeesListenersComeAndGo) {
  apply();
  const auto now = [&] { return *host.listening_ports("testudo0"); };
  EXPECT_TRUE(now().empty());
  {
    const Descriptor own = listen_on(AF_INET, {kIpsec, 443});
    const Descriptor any = listen_on(AF_INET, {IpAddress(), 80});
    const Descriptor both = listen_on(AF_INET6, {IpAddress(), 8080});
    const Descriptor v6 = listen_on(AF_INET6, {IpAddress(), 8081}, /*only_ipv6=*/true);
    const Descriptor elsewhere = listen_on(AF_INET, {IpAddress(), 81});
    set_option(elsewhere.get(), SOL_SOCKET, SO_BINDTODEVICE, "v0", 2);
    const std::set<Listener> expected = {{kIpsec, 443}, {IpAddress(), 80}, {IpAddress(), 8080}};
    EXPECT_EQ(now(), expected);
  }
  EXPECT_TRUE(now().empty());
}

// A neighbour sees who answers for the DVIPA, and what of it the owner lets in.
//   neighbour 192.0.2.1 ── n0 ════ v0 ── host
struct KernelNetworkOnALink : KernelNetworkTest {
  TestNamespace neighbour;
  void SetUp() override {
    home.enter();
    KernelNetworkTest::SetUp();
    shell("ip link set v1 netns " + neighbour.by_path());
    neighbour.enter();
    shell("ip addr add 192.0.2.1/24 dev v1 && ip link set v1 up");
    home.enter();
    shell("ip link set v0 up");
  }
  /// Sends a datagram to the DVIPA; whether the host's UDP socket gets it.
  bool arrives(IpAddress dvipa, std::uint16_t port) {
    home.enter();
    const Descriptor in(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in to = to_socket_address({dvipa, port});
    EXPECT_EQ(bind(in.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    neighbour.enter();
    const Descriptor out(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(sendto(out.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 1);
    usleep(50'000);  // ARP too
    home.enter();
    char byte = 0;
    return recv(in.get(), &byte, 1, MSG_DONTWAIT) == 1;
  }
};

TEST_F(KernelNetworkOnALink, OwnerLetsOnlyIkeAndEspInUdpIn) {
  apply();
  EXPECT_TRUE(arrives(kIpsec, 500));
  EXPECT_TRUE(arrives(kIpsec, 4500));
  EXPECT_FALSE(arrives(kIpsec, 53));
  EXPECT_FALSE(arrives(kPlain, 500));
}

TEST_F(KernelNetworkOnALink, OnlyTheOwnerAnswersArp) {
  apply();
  arrives(kIpsec, 53);
  arrives(kPlain, 53);
  neighbour.enter();
  const std::string neighbours = output_of("ip neigh show dev v1");
  EXPECT_TRUE(has(neighbours, "192.0.2.100 lladdr")) << neighbours;
  EXPECT_FALSE(has(neighbours, "192.0.2.101 lladdr")) << neighbours;
}

TEST_F(KernelNetworkOnALink, NewOwnerIsAnnounced) {
  neighbour.enter();
  shell("ip neigh add 192.0.2.100 lladdr 02:00:00:00:00:99 dev v1 nud stale");  // the former owner
  home.enter();
  apply();
  const std::string mac = output_of("cat /sys/class/net/v0/address 2>/dev/null || true");
  neighbour.enter();
  EXPECT_FALSE(has(output_of("ip neigh show 192.0.2.100 dev v1"), "02:00:00:00:00:99")) << mac;
}

}  // namespace
}  // namespace testudo::io
