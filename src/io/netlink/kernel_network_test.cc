// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/kernel_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>
#include <vector>

#include "io/namespace_for_test.h"
#include "io/socket_address.h"
#include "io/tun/tun_port.h"

namespace testudo::io {
namespace {

const IpAddress kIpsec(0xc0000264);  // 192.0.2.100
const IpAddress kPlain(0xc0000265);  // 192.0.2.101
const IpAddress kIpsec6 = *IpAddress::parse("2001:db8::100");
const IpAddress kPlain6 = *IpAddress::parse("2001:db8::101");
const IpAddress kAny(0), kAny6;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Descriptor listen_on(const Endpoint& where, bool only_ipv6 = false) {
  const SocketAddress address(where);
  Descriptor s(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (address.family() == AF_INET6) set_option(s.get(), IPPROTO_IPV6, IPV6_V6ONLY, only_ipv6 ? 1 : 0);
  EXPECT_EQ(bind(s.get(), address.get(), address.size()), 0);
  EXPECT_EQ(::listen(s.get(), 1), 0);
  return s;
}

struct KernelNetworkTest : testing::Test {
  TestNamespace home;
  KernelNetwork host;
  std::unique_ptr<TunPort> tun;
  Steering wanted{.network = "v0",
                  .tun = "testudo0",
                  .dvipas = {{kIpsec, true}, {kPlain, false}, {kIpsec6, true}, {kPlain6, false}}};

  void SetUp() override {
    shell("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    shell("ip addr add 192.0.2.2/24 dev v0 && ip addr add 2001:db8::2/64 dev v0 nodad");
    tun = std::move(*TunPort::open({.name = "testudo0", .mtu = 1400}));
  }
  void apply() {
    const auto done = host.apply(wanted);
    ASSERT_TRUE(done) << (done ? "" : done.error().message);
  }
  static std::string state() {
    return output_of(
        "ip rule; ip -6 rule; ip route show table 5270; ip -6 route show table 5270; ip -br addr show dev v0;"
        "ip -br addr show dev testudo0; nft list table inet testudo; sysctl net.ipv4.conf.v0.arp_ignore "
        "net.ipv4.conf.v0.arp_announce");
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

TEST_F(KernelNetworkTest, SetsUpTheSameForIpv6) {
  apply();
  const std::string rules = output_of("ip -6 rule");
  EXPECT_TRUE(has(rules, "5270:\tfrom all fwmark 0x7e57 lookup main")) << rules;
  EXPECT_TRUE(has(rules, "5271:\tfrom 2001:db8::100 lookup 5270")) << rules;
  EXPECT_TRUE(has(rules, "5271:\tfrom 2001:db8::101 lookup 5270")) << rules;
  const std::string routes = output_of("ip -6 route show table 5270");
  EXPECT_TRUE(has(routes, "default dev testudo0")) << routes;
  EXPECT_TRUE(has(routes, "blackhole default")) << routes;
  EXPECT_TRUE(has(routes, "metric 4278")) << routes;
  const std::string network = output_of("ip addr show dev v0");
  EXPECT_TRUE(has(network, "2001:db8::100/128 scope global nodad deprecated noprefixroute")) << network;
  EXPECT_FALSE(has(network, "2001:db8::101/128")) << network;
  const std::string own = output_of("ip addr show dev testudo0");
  EXPECT_TRUE(has(own, "2001:db8::100/128") && has(own, "2001:db8::101/128")) << own;
  EXPECT_FALSE(has(own, "fe80:") || has(own, "tentative")) << own;
}

TEST_F(KernelNetworkTest, Ipv6DvipaComesOnlyWhenItIsAskedFor) {
  // The owner's own packets to a neighbour of the DVIPA's, which has the longest prefix in common with it.
  apply();
  EXPECT_TRUE(has(output_of("ip route get 2001:db8::103 oif v0"), "src 2001:db8::2"));
}

TEST_F(KernelNetworkTest, WithoutIpv6DvipasNothingOfIpv6IsTouched) {
  const std::string before = output_of("ip -6 rule; ip -6 route show table all; ip -6 addr");
  wanted.dvipas.resize(2);
  apply();
  EXPECT_EQ(output_of("ip -6 rule; ip -6 route show table all; ip -6 addr"), before);
}

TEST_F(KernelNetworkTest, TakesIpv6OntoTheTunWhereNewInterfacesHaveNone) {
  tun.reset();
  shell("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
  tun = std::move(*TunPort::open({.name = "testudo0", .mtu = 1400}));
  apply();
  EXPECT_TRUE(has(output_of("ip -6 addr show dev testudo0"), "2001:db8::101/128"));
}

TEST_F(KernelNetworkTest, Ipv6DvipasNeedAnMtuOf1280) {
  tun.reset();
  tun = std::move(*TunPort::open({.name = "testudo0", .mtu = 1279}));
  const auto done = host.apply(wanted);
  ASSERT_FALSE(done);
  EXPECT_TRUE(has(done.error().message, "1280")) << done.error().message;
  wanted.dvipas.resize(2);
  EXPECT_TRUE(host.apply(wanted));
}

// What inner_mtu.h says, and it follows the interfaces when they change.
TEST_F(KernelNetworkTest, RoutesSayHowMuchFits) {
  shell("ip link add x0 mtu 1500 type veth peer name x1");
  wanted.xcf = "x0";
  apply();
  EXPECT_TRUE(has(output_of("ip route show table 5270"), "mtu 1400 advmss 1302"));
  EXPECT_TRUE(has(output_of("ip -6 route show table 5270"), "mtu 1390 advmss 1266"));
  shell("ip link set x0 mtu 9000");
  apply();
  EXPECT_TRUE(has(output_of("ip route show table 5270"), "mtu 1400 advmss 1360"));
  const std::string routes = output_of("ip -6 route show table 5270");
  EXPECT_TRUE(has(routes, "mtu 1390 advmss 1330")) << routes;
  EXPECT_FALSE(has(routes, "1266")) << routes;
}

TEST_F(KernelNetworkTest, TheSameAgainChangesNothing) {
  apply();
  const std::string before = state();
  apply();
  EXPECT_EQ(state(), before);
}

TEST_F(KernelNetworkTest, FollowsChangesOfOwnershipAndMembership) {
  apply();
  wanted.dvipas = {{kPlain, true}, {kPlain6, true}};
  KernelNetwork restarted;  // knows nothing of what the first one did
  ASSERT_TRUE(restarted.apply(wanted));
  const std::string now = state();
  EXPECT_FALSE(has(now, "192.0.2.100") || has(now, "2001:db8::100")) << now;
  EXPECT_TRUE(has(output_of("ip addr show dev v0"), "192.0.2.101/32")) << now;
  EXPECT_TRUE(has(output_of("ip addr show dev v0"), "2001:db8::101/128")) << now;
  wanted.dvipas = {{kPlain, false}, {kPlain6, false}};
  apply();
  EXPECT_FALSE(has(output_of("ip addr show dev v0"), "192.0.2.101/32"));
  EXPECT_TRUE(has(output_of("ip addr show dev testudo0"), "192.0.2.101/32"));
  EXPECT_FALSE(has(output_of("ip addr show dev v0"), "2001:db8::101/128"));
  EXPECT_TRUE(has(output_of("ip addr show dev testudo0"), "2001:db8::101/128"));
}

TEST_F(KernelNetworkTest, WithoutItsNodeAnOwnerAnswersNeighboursNoLonger) {
  wanted.lease = std::chrono::seconds(2);
  apply();
  const auto owned = [] {
    const std::string all = output_of("ip addr show dev v0");
    return has(all, "192.0.2.100/32") && has(all, "2001:db8::100/128");
  };
  for (int i = 0; i < 6; ++i) {
    ::usleep(500'000);
    ASSERT_TRUE(host.renew(wanted));
    ASSERT_TRUE(owned());
  }
  for (int i = 0; i < 60 && owned(); ++i) ::usleep(100'000);
  EXPECT_FALSE(owned());
  EXPECT_TRUE(has(output_of("ip addr show dev testudo0"), "192.0.2.100/32"));
}

TEST_F(KernelNetworkTest, ClearLeavesNothing) {
  const std::string before = output_of("ip rule; ip -6 rule; ip addr show dev v0; ip -6 route");
  apply();
  const auto done = host.clear(wanted);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(output_of("ip rule; ip -6 rule; ip addr show dev v0; ip -6 route"), before);
  EXPECT_EQ(output_of("ip route show table 5270 2>/dev/null; ip -6 route show table 5270 2>/dev/null"), "");
  EXPECT_EQ(output_of("nft list ruleset"), "");
  EXPECT_TRUE(host.clear(wanted));
}

TEST_F(KernelNetworkTest, WithoutTheDaemonNothingLeavesADvipa) {
  apply();
  const std::string v4 = "ip route get 192.0.2.1 from 192.0.2.100",
                    v6 = "ip route get 2001:db8::1 from 2001:db8::100";
  for (const std::string& get : {v4, v6}) {
    EXPECT_TRUE(has(output_of(get), "dev testudo0"));
    EXPECT_TRUE(has(output_of(get + " mark 0x7e57"), "dev v0"));
  }
  tun.reset();  // as if it had died
  for (const std::string& get : {v4, v6}) EXPECT_FALSE(has(output_of(get + " 2>/dev/null"), "dev v0"));
  EXPECT_NE(std::system((v6 + " >/dev/null 2>&1").c_str()), 0);
  const std::string rules = output_of("nft list table inet testudo");
  EXPECT_TRUE(has(rules, "ip daddr @dvipas4 counter") && has(rules, "ip6 daddr @dvipas6 counter")) << rules;
  tun = std::move(*TunPort::open({.name = "testudo0", .mtu = 1400}));
  apply();
  for (const std::string& get : {v4, v6}) EXPECT_TRUE(has(output_of(get), "dev testudo0"));
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
  const std::set<IpPrefix> addresses(v0->addresses.begin(), v0->addresses.end());
  EXPECT_EQ(addresses, (std::set{IpPrefix{IpAddress(0xc0000202), 24}, {*IpAddress::parse("2001:db8::2"), 64}}));
  EXPECT_FALSE(host.interface("nosuch0"));
}

TEST_F(KernelNetworkTest, SeesListenersComeAndGo) {
  apply();
  const auto now = [&] { return *host.listening_ports("testudo0"); };
  EXPECT_TRUE(now().empty());
  {
    const Descriptor own = listen_on({kIpsec, 443});
    const Descriptor own6 = listen_on({kIpsec6, 444});
    const Descriptor any = listen_on({kAny, 80});
    const Descriptor both = listen_on({kAny6, 8080});
    const Descriptor v6 = listen_on({kAny6, 8081}, /*only_ipv6=*/true);
    const Descriptor elsewhere = listen_on({kAny, 81});
    set_option(elsewhere.get(), SOL_SOCKET, SO_BINDTODEVICE, "v0", 2);
    const std::set<Listener> expected = {{kIpsec, 443}, {kIpsec6, 444}, {kAny, 80},
                                         {kAny, 8080},  {kAny6, 8080},  {kAny6, 8081}};
    EXPECT_EQ(now(), expected);
  }
  EXPECT_TRUE(now().empty());
}

/// A TCP connection within this host. The first descriptor is the client's.
std::pair<Descriptor, Descriptor> connect_to(const Descriptor& listener, const Endpoint& from, const Endpoint& to) {
  const SocketAddress source(from), destination(to);
  Descriptor client(::socket(source.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(bind(client.get(), source.get(), source.size()), 0);
  EXPECT_EQ(::connect(client.get(), destination.get(), destination.size()), 0);
  return {std::move(client), Descriptor(::accept(listener.get(), nullptr, nullptr))};
}

TEST_F(KernelNetworkTest, SeesConnectionsOfDvipas) {
  apply();
  const std::array dvipas = {kIpsec, kIpsec6};
  const auto now = [&] { return *host.connections("testudo0", dvipas); };
  const IpAddress client(0x7f000001), client6 = *IpAddress::parse("::1");
  const Descriptor both = listen_on({kAny6, 443});
  EXPECT_TRUE(now().empty());  // listeners are none
  const TcpConnection first{{kIpsec, 443}, {client, 40001}}, second{{kIpsec6, 443}, {client6, 40002}};
  auto [client_end, end] = connect_to(both, first.remote, first.local);
  auto [client_end6, end6] = connect_to(both, second.remote, second.local);
  const auto elsewhere = connect_to(both, {client, 40003}, {kPlain, 443});
  EXPECT_EQ(now(), (std::set{first, second}));

  ::shutdown(client_end.get(), SHUT_WR);  // half closed: the server may go on sending
  EXPECT_EQ(now(), (std::set{first, second}));
  end = Descriptor();
  client_end = Descriptor();
  EXPECT_EQ(now(), std::set{second});
  const linger reset{.l_onoff = 1, .l_linger = 0};  // not even TIME_WAIT is left
  set_option(end6.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  end6 = Descriptor();
  EXPECT_TRUE(now().empty());
}

TEST_F(KernelNetworkTest, SeesConnectionsThatAreNotAcceptedYetAndManyOfThem) {
  apply();
  const Descriptor listener = listen_on({kIpsec, 443});
  ASSERT_EQ(::listen(listener.get(), 1000), 0);
  std::vector<Descriptor> clients;
  const SocketAddress to({kIpsec, 443});
  for (std::uint16_t i = 0; i < 900; ++i) {  // more than one answer of the kernel's can hold
    const SocketAddress from({IpAddress(0x7f000001), static_cast<std::uint16_t>(20000 + i)});
    Descriptor& client = clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(client.get(), from.get(), from.size()), 0);
    ASSERT_EQ(::connect(client.get(), to.get(), to.size()), 0);
  }
  const auto found = *host.connections("testudo0", std::array{kIpsec});
  EXPECT_EQ(found.size(), 900u);
  EXPECT_TRUE(found.contains({{kIpsec, 443}, {IpAddress(0x7f000001), 20899}}));
}

TEST(Listener, TruthTable) {
  struct Row {
    IpAddress listener, dvipa;
    bool listens;
  };
  const Row rows[] = {
      {kIpsec, kIpsec, true}, {kPlain, kIpsec, false}, {kAny, kIpsec, true},     {kAny6, kIpsec, false},
      {kAny, kIpsec6, false}, {kAny6, kIpsec6, true},  {kIpsec6, kIpsec6, true}, {kPlain6, kIpsec6, false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(listens_on({row.listener, 80}, row.dvipa), row.listens)
        << row.listener.to_string() << ' ' << row.dvipa.to_string();
  }
}

// A neighbour sees who answers for the DVIPA, and what of it the owner lets in.
//   neighbour 192.0.2.1, 2001:db8::1 ── v1 ════ v0 ── host
struct KernelNetworkOnALink : KernelNetworkTest {
  TestNamespace neighbour;
  void SetUp() override {
    home.enter();
    KernelNetworkTest::SetUp();
    shell("ip link set v1 netns " + neighbour.by_path());
    neighbour.enter();
    shell("sysctl -q -w net.ipv6.conf.v1.accept_dad=0");
    shell("ip addr add 192.0.2.1/24 dev v1 && ip addr add 2001:db8::1/64 dev v1 nodad && ip link set v1 up");
    home.enter();
    shell("ip link set v0 up");
  }
  /// Sends a datagram to the DVIPA; whether the host's UDP socket gets it.
  bool arrives(IpAddress dvipa, std::uint16_t port) {
    home.enter();
    const Descriptor in(::socket(family_of(dvipa), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const SocketAddress to({dvipa, port});
    EXPECT_EQ(bind(in.get(), to.get(), to.size()), 0);
    neighbour.enter();
    const Descriptor out(::socket(family_of(dvipa), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(sendto(out.get(), "x", 1, 0, to.get(), to.size()), 1);
    usleep(50'000);  // ARP too
    home.enter();
    char byte = 0;
    return recv(in.get(), &byte, 1, MSG_DONTWAIT) == 1;
  }
};

TEST_F(KernelNetworkOnALink, OwnerLetsOnlyIkeAndEspInUdpIn) {
  apply();
  for (const auto& [owned, other] : {std::pair{kIpsec, kPlain}, {kIpsec6, kPlain6}}) {
    EXPECT_TRUE(arrives(owned, 500));
    EXPECT_TRUE(arrives(owned, 4500));
    EXPECT_FALSE(arrives(owned, 53));
    EXPECT_FALSE(arrives(other, 500));
  }
}

TEST_F(KernelNetworkOnALink, FragmentsOfIkeComeTogether) {
  apply();
  for (const IpAddress dvipa : {kIpsec, kIpsec6}) {
    home.enter();
    const Descriptor in(::socket(family_of(dvipa), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const SocketAddress to({dvipa, 500});
    ASSERT_EQ(bind(in.get(), to.get(), to.size()), 0);
    neighbour.enter();
    const Descriptor out(::socket(family_of(dvipa), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::array<char, 4000> data{};
    ASSERT_EQ(sendto(out.get(), data.data(), data.size(), 0, to.get(), to.size()), 4000);
    pollfd ready{.fd = in.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&ready, 1, 1000), 1);
    EXPECT_EQ(recv(in.get(), data.data(), data.size(), MSG_DONTWAIT), 4000);
  }
}

TEST_F(KernelNetworkOnALink, OnlyTheOwnerAnswersNeighbours) {
  apply();
  for (const IpAddress dvipa : {kIpsec, kPlain, kIpsec6, kPlain6}) arrives(dvipa, 53);
  neighbour.enter();
  const std::string neighbours = output_of("ip neigh show dev v1; ip -6 neigh show dev v1");
  EXPECT_TRUE(has(neighbours, "192.0.2.100 lladdr")) << neighbours;
  EXPECT_TRUE(has(neighbours, "2001:db8::100 lladdr")) << neighbours;
  EXPECT_FALSE(has(neighbours, "192.0.2.101 lladdr")) << neighbours;
  EXPECT_FALSE(has(neighbours, "2001:db8::101 lladdr")) << neighbours;
}

// A neighbour that knows the owner asks it alone whether it is still there: a solicitation to the DVIPA itself.
TEST_F(KernelNetworkOnALink, OwnerAnswersANeighbourThatProbesIt) {
  apply();
  arrives(kIpsec6, 53);
  neighbour.enter();
  const std::string mac = output_of("ip -6 neigh show 2001:db8::100 dev v1 | cut -d' ' -f3");
  shell("ip neigh replace 2001:db8::100 dev v1 nud probe lladdr " + mac.substr(0, mac.find('\n')));
  std::string state;
  for (int i = 0; i < 50 && !has(state, "REACHABLE"); ++i) {
    usleep(20'000);
    state = output_of("ip -6 neigh show 2001:db8::100 dev v1");
  }
  EXPECT_TRUE(has(state, "REACHABLE")) << state;
}

// A host that has the DVIPA on its TUN only, and sends from it (as the daemon does), finds its neighbours.
TEST_F(KernelNetworkOnALink, TargetFindsNeighboursWithoutSpeakingForTheDvipa) {
  apply();
  neighbour.enter();
  const Descriptor in(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress at({*IpAddress::parse("2001:db8::1"), 4500});
  ASSERT_EQ(bind(in.get(), at.get(), at.size()), 0);
  home.enter();
  const Descriptor out(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  set_option(out.get(), SOL_SOCKET, SO_MARK, static_cast<int>(kOwnMark));
  const SocketAddress from({kPlain6, 4500});
  ASSERT_EQ(bind(out.get(), from.get(), from.size()), 0);
  ASSERT_EQ(sendto(out.get(), "x", 1, 0, at.get(), at.size()), 1);
  pollfd ready{.fd = in.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&ready, 1, 3000), 1);
  neighbour.enter();
  EXPECT_FALSE(has(output_of("ip -6 neigh show dev v1"), "2001:db8::101 lladdr"));
}

TEST_F(KernelNetworkOnALink, NewOwnerIsAnnounced) {
  neighbour.enter();
  for (const char* dvipa : {"192.0.2.100", "2001:db8::100"}) {  // the former owner
    shell(std::string("ip neigh add ") + dvipa + " lladdr 02:00:00:00:00:99 dev v1 nud stale");
  }
  home.enter();
  apply();
  neighbour.enter();
  for (const char* dvipa : {"192.0.2.100", "2001:db8::100"}) {
    const std::string known = output_of(std::string("ip neigh show ") + dvipa + " dev v1");
    EXPECT_TRUE(has(known, "lladdr") && !has(known, "02:00:00:00:00:99")) << known;
  }
}

}  // namespace
}  // namespace testudo::io
