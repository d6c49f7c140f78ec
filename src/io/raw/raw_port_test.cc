// SPDX-License-Identifier: Apache-2.0
#include "io/raw/raw_port.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/udp.h>
#include <poll.h>

#include <algorithm>
#include <array>

#include "io/namespace_for_test.h"
#include "io/socket_address.h"
#include "io/tun/tcp_segment_for_test.h"

namespace testudo::io {
namespace {

using Bytes = std::vector<std::uint8_t>;
const IpAddress kDvipa(0xc0000264);  // 192.0.2.100
const IpAddress kOther(0xc0000265);
const IpAddress kPeer(0xc0000201);
const IpAddress kDvipa6 = *IpAddress::parse("2001:db8::100");
const IpAddress kOther6 = *IpAddress::parse("2001:db8::101");
const IpAddress kPeer6 = *IpAddress::parse("2001:db8::1");

/// An IPv4 packet from the peer, with 8 bytes of payload that name a UDP port.
Bytes packet(IpAddress to, std::uint8_t protocol, std::uint16_t port, std::uint16_t fragment = 0) {
  Bytes p = {0x45, 0, 0, 28, 0, 1, 0, 0, 64, protocol, 0, 0, 0xc0, 0, 2, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0};
  for (std::size_t i = 0; i < 4; ++i) p[16 + i] = static_cast<std::uint8_t>(to.v4() >> (24 - 8 * i));
  p[6] = static_cast<std::uint8_t>(fragment >> 8);
  p[7] = static_cast<std::uint8_t>(fragment);
  p[22] = static_cast<std::uint8_t>(port >> 8);
  p[23] = static_cast<std::uint8_t>(port);
  return p;
}

/// An IPv6 packet from the peer: `next` names what `payload` begins with.
Bytes packet6(IpAddress to, std::uint8_t next, const Bytes& payload) {
  Bytes p(40);
  p[0] = 0x60;
  put_be(&p[4], 2, payload.size());
  p[6] = next;
  p[7] = 255;
  std::ranges::copy(kPeer6.bytes(), &p[8]);
  std::ranges::copy(to.bytes(), &p[24]);
  p.insert(p.end(), payload.begin(), payload.end());
  return p;
}
Bytes packet6(std::uint8_t next, const Bytes& payload) { return packet6(kDvipa6, next, payload); }

/// 8 bytes that are a UDP header.
Bytes udp(std::uint16_t port) {
  return {0, 9, static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port), 0, 8, 0, 0};
}
Bytes icmp(std::uint8_t type) { return {type, 0, 0, 0, 0, 0, 0, 0}; }

/// `rest` behind an extension header of 8 bytes; `offset_more`: of a fragment header.
Bytes behind(const Bytes& rest, std::uint8_t next, std::uint16_t offset_more = 0) {
  Bytes p = {next, 0, static_cast<std::uint8_t>(offset_more >> 8), static_cast<std::uint8_t>(offset_more), 0, 0,
             0,    0};
  if (offset_more == 0) p[2] = 1, p[3] = 4;  // PadN
  p.insert(p.end(), rest.begin(), rest.end());
  return p;
}

//   peer 192.0.2.1 ──── v1 ════ v0 ── host 192.0.2.2, DVIPA 192.0.2.100
//        2001:db8::1                       2001:db8::2,     2001:db8::100
struct RawPortTest : testing::Test {
  TestNamespace peer_home;
  TestNamespace host;
  std::unique_ptr<RawPort> port, peer;

  static std::unique_ptr<RawPort> open(const char* device) {
    auto port = RawPort::open({.device = device});
    EXPECT_TRUE(port) << (port ? "" : port.error().message);
    return port ? std::move(*port) : nullptr;
  }

  void SetUp() override {
    shell("ip link add v0 address 02:00:00:00:00:02 type veth peer name v1 address 02:00:00:00:00:01 netns " +
          peer_home.by_path());
    shell("ip addr add 192.0.2.2/24 dev v0 && ip addr add 192.0.2.100/32 dev v0 && ip link set v0 up");
    shell("ip addr add 2001:db8::2/64 dev v0 nodad && ip addr add 2001:db8::100/128 dev v0 nodad");
    port = open("v0");
    peer_home.enter();
    shell("ip addr add 192.0.2.1/24 dev v1 && ip addr add 2001:db8::1/64 dev v1 nodad && ip link set v1 up");
    peer = open("v1");
    for (const char* address : {"192.0.2.2", "192.0.2.100", "2001:db8::2", "2001:db8::100"}) {
      shell(std::string("ip neigh replace ") + address + " lladdr 02:00:00:00:00:02 dev v1");
    }
    host.enter();
    for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
      shell(std::string("ip neigh replace ") + address + " lladdr 02:00:00:00:00:01 dev v0");
    }
    ASSERT_TRUE(port && peer);
    const auto done = port->set_addresses(std::array{kOther, kDvipa6, kDvipa, kOther6});
    ASSERT_TRUE(done) << done.error().message;
  }

  /// From the peer; what the port takes of it.
  std::vector<Bytes> taken(const std::vector<Bytes>& packets) {
    std::vector<wire::Outgoing> burst;
    for (const Bytes& p : packets) burst.push_back(outgoing(p));
    peer->send(burst);
    EXPECT_EQ(peer->counters().send_failed.value(), 0u);
    return received();
  }

  std::vector<Bytes> received() {
    pollfd ready{.fd = port->descriptor(), .events = POLLIN, .revents = 0};
    poll(&ready, 1, 100);
    std::array<wire::Packet, wire::kBurst> burst;
    std::vector<Bytes> got;
    while (const std::size_t n = port->receive(burst)) {
      for (const wire::Packet& p : std::span(burst).first(n)) {
        got.push_back({p.data, p.data + p.size});
        metas.push_back(p);
      }
    }
    return got;
  }
  std::vector<wire::Packet> metas;
};

TEST_F(RawPortTest, TakesWhatIsForOwnedDvipas) {
  struct Row {
    const char* what;
    bool taken;
    Bytes bytes;
  };
  const Row rows[] = {
      {"ESP", true, packet(kDvipa, 50, 0)},
      {"AH", true, packet(kDvipa, 51, 0)},
      {"first fragment of ESP", true, packet(kDvipa, 50, 0, 0x2000)},
      {"later fragment of ESP", true, packet(kDvipa, 50, 0, 10)},
      {"ESP whose SPI looks like port 4500", true, packet(kDvipa, 50, 4500)},
      {"TCP", true, packet(kDvipa, 6, 4500)},
      {"ICMP", true, packet(kDvipa, 1, 0)},
      {"UDP", true, packet(kDvipa, 17, 53)},
      {"UDP 500", false, packet(kDvipa, 17, 500)},
      {"UDP 4500", false, packet(kDvipa, 17, 4500)},
      {"first fragment of UDP", true, packet(kDvipa, 17, 53, 0x2000)},
      {"first fragment of UDP 4500", false, packet(kDvipa, 17, 4500, 0x2000)},
      {"later fragment of UDP", false, packet(kDvipa, 17, 53, 10)},
      {"later fragment of TCP", true, packet(kDvipa, 6, 53, 10)},
      {"the host's own address", false, packet(IpAddress(0xc0000202), 50, 0)},
  };
  for (const Row& row : rows) {
    const std::vector<Bytes> got = taken({row.bytes});
    ASSERT_EQ(got.size(), row.taken ? 1u : 0u) << row.what;
    if (!row.taken) continue;
    Bytes expected = row.bytes;
    expected[10] = got[0][10], expected[11] = got[0][11];  // the kernel has filled in the IP checksum
    EXPECT_EQ(got[0], expected) << row.what;
  }
}

TEST_F(RawPortTest, TakesIpv6ForOwnedDvipasButLeavesTheKernelItsOwn) {
  struct Row {
    const char* what;
    bool taken;
    Bytes bytes;
  };
  const Bytes fragmented_udp = behind(udp(4500), 17, 1), later_udp = behind(udp(4500), 17, 0x10);
  const Row rows[] = {
      {"ESP", true, packet6(50, icmp(0))},
      {"AH", true, packet6(51, icmp(0))},
      {"ESP whose SPI looks like port 4500", true, packet6(50, udp(4500))},
      {"ESP whose SPI looks like a solicitation", true, packet6(50, icmp(135))},
      {"TCP", true, packet6(6, udp(4500))},
      {"IPv4 inside", true, packet6(4, packet(kDvipa, 17, 4500))},
      {"UDP", true, packet6(17, udp(53))},
      {"UDP 500", false, packet6(17, udp(500))},
      {"UDP 4500", false, packet6(17, udp(4500))},
      {"packet too big", true, packet6(58, icmp(2))},
      {"echo request", true, packet6(58, icmp(128))},
      {"multicast listener done", true, packet6(58, icmp(132))},
      {"router solicitation", false, packet6(58, icmp(133))},
      {"router advertisement", false, packet6(58, icmp(134))},
      {"neighbour solicitation", false, packet6(58, icmp(135))},
      {"neighbour advertisement", false, packet6(58, icmp(136))},
      {"redirect", false, packet6(58, icmp(137))},
      {"after the redirect", true, packet6(58, icmp(138))},
      {"first fragment of UDP", true, packet6(44, behind(udp(53), 17, 1))},
      {"first fragment of UDP 4500", false, packet6(44, fragmented_udp)},
      {"later fragment of UDP", false, packet6(44, later_udp)},
      {"later fragment of TCP", true, packet6(44, behind(udp(4500), 6, 0x10))},
      {"first fragment of ESP", true, packet6(44, behind(udp(4500), 50, 1))},
      {"UDP 53 behind destination options", true, packet6(60, behind(udp(53), 17))},
      {"UDP 4500 behind destination options", false, packet6(60, behind(udp(4500), 17))},
      {"a fragment of it", false, packet6(60, behind(fragmented_udp, 44))},
      {"solicitation behind destination options", false, packet6(60, behind(icmp(135), 58))},
      {"the host's own address", false, packet6(*IpAddress::parse("2001:db8::2"), 50, icmp(0))},
  };
  for (const Row& row : rows) {
    const std::vector<Bytes> got = taken({row.bytes});
    ASSERT_EQ(got.size(), row.taken ? 1u : 0u) << row.what;
    if (!row.taken) continue;
    EXPECT_EQ(got[0], row.bytes) << row.what;
  }
}

TEST_F(RawPortTest, BothVersionsComeByOnePort) {
  const Bytes v4 = packet(kDvipa, 50, 0), v6 = packet6(50, icmp(0));
  EXPECT_EQ(taken({v4, v6, v6, v4, v6}).size(), 5u);
  EXPECT_EQ(peer->counters().packets_out.value(), 5u);
  // However little room there is, none of the two is left behind.
  std::vector<wire::Outgoing> burst;
  for (int i = 0; i < 4; ++i) burst.push_back(outgoing(i < 2 ? v4 : v6));
  peer->send(burst);
  std::array<wire::Packet, 1> one;
  std::string versions;
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(port->receive(one), 1u);
    versions += one[0].data[0] >> 4 == 4 ? '4' : '6';
  }
  EXPECT_TRUE(versions == "4646" || versions == "6464") << versions;
}

TEST_F(RawPortTest, Ipv6AddressesAreToldApartInEveryWord) {
  for (const char* other : {"2001:db9::100", "2001:db8:0:1::100", "2001:db8::1:0:100", "2001:db8::101"}) {
    ASSERT_TRUE(port->set_addresses(std::array{*IpAddress::parse(other)}));
    EXPECT_TRUE(taken({packet6(50, icmp(0))}).empty()) << other;
  }
}

TEST_F(RawPortTest, TakesAsManyIpv6AddressesAsItSays) {
  const auto spread = [](std::size_t networks) {
    std::vector<IpAddress> many;
    for (std::size_t i = 0; i < RawPort::kAddressesMax; ++i) {
      many.push_back(*IpAddress::parse(fmt::format("2001:db8:{:x}::{:x}", i % networks, 0x100 + i / networks)));
    }
    return many;
  };
  for (const std::size_t networks : {1, 180}) {
    ASSERT_TRUE(port->set_addresses(spread(networks)));
    EXPECT_EQ(taken({packet6(50, icmp(0))}).size(), 1u);
  }
  EXPECT_FALSE(port->set_addresses(spread(1024)));
}

TEST_F(RawPortTest, SetOfAddressesIsReplaced) {
  ASSERT_TRUE(port->set_addresses(std::array{kOther}));
  EXPECT_TRUE(taken({packet(kDvipa, 50, 0)}).empty());
  ASSERT_TRUE(port->set_addresses({}));
  EXPECT_TRUE(taken({packet(kDvipa, 50, 0)}).empty());
  std::vector<IpAddress> many(RawPort::kAddressesMax, kOther);
  many.front() = kDvipa;
  ASSERT_TRUE(port->set_addresses(many));
  EXPECT_EQ(taken({packet(kDvipa, 50, 0)}).size(), 1u);
  many.push_back(kDvipa);
  EXPECT_FALSE(port->set_addresses(many));
}

TEST_F(RawPortTest, DoesNotTakeWhatTheHostSends) {
  host.enter();
  shell("ip addr add 192.0.2.101/32 dev v0");
  const Bytes own = packet(kPeer, 50, 0);
  const wire::Outgoing o = outgoing(own);
  port->send(std::span(&o, 1));
  EXPECT_EQ(port->counters().packets_out.value(), 1u);
  EXPECT_TRUE(received().empty());
}

/// The peer's kernel talks TCP to a listener on the DVIPA: what the port takes of it.
void expect_unfinished(RawPortTest& t, IpAddress dvipa) {
  t.host.enter();
  const Descriptor listener(::socket(family_of(dvipa), SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address({dvipa, 80});
  ASSERT_EQ(bind(listener.get(), address.get(), address.size()), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  t.peer_home.enter();
  const Descriptor client(::socket(family_of(dvipa), SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), address.get(), address.size()), 0);
  const Bytes data(60000);
  for (int i = 0; i < 10; ++i) ASSERT_GT(write(client.get(), data.data(), data.size()), 0);
  t.metas.clear();
  const std::vector<Bytes> got = t.received();
  ASSERT_FALSE(got.empty());
  bool super = false;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::uint8_t* ip = got[i].data();
    EXPECT_TRUE(t.metas[i].checksum_missing);
    EXPECT_EQ(wire::partial_checksum(pseudo_sum(ip, got[i].size() - ip_size(ip))),
              get_be(ip + ip_size(ip) + 16, 2));
    if (t.metas[i].segment_size != 0) super = super || got[i].size() > 1500;
  }
  EXPECT_TRUE(super);
}

TEST_F(RawPortTest, TcpOfTheSameMachineComesUnfinished) {
  peer_home.enter();
  shell("ip route add 192.0.2.100/32 dev v1");
  expect_unfinished(*this, kDvipa);
  expect_unfinished(*this, kDvipa6);
}

TEST_F(RawPortTest, DatagramsOfTheSameMachineComeInTrains) {
  peer_home.enter();
  shell("ip route add 192.0.2.100/32 dev v1");
  for (const IpAddress dvipa : {kDvipa, kDvipa6}) {
    peer_home.enter();
    const Descriptor out(::socket(family_of(dvipa), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const SocketAddress to({dvipa, 53});
    ASSERT_TRUE(set_option(out.get(), IPPROTO_UDP, UDP_SEGMENT, 500));
    const Bytes data(4900);
    ASSERT_EQ(sendto(out.get(), data.data(), data.size(), 0, to.get(), to.size()), 4900);
    metas.clear();
    const std::vector<Bytes> got = received();
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(metas[0].segment_size, 500);
    EXPECT_TRUE(metas[0].checksum_missing);
    EXPECT_EQ(got[0].size(), ip_size(got[0].data()) + 8 + 4900);
  }
}

TEST_F(RawPortTest, HeadAndBodyMakeOnePacket) {
  const Bytes whole = packet(kDvipa, 50, 7);
  wire::Outgoing o;
  std::copy(whole.begin(), whole.begin() + 18, o.head.begin());  // the destination lies on both sides
  o.head_size = 18;
  o.body = whole.data() + 18;
  o.body_size = static_cast<std::uint32_t>(whole.size() - 18);
  peer->send(std::span(&o, 1));
  EXPECT_EQ(received().size(), 1u);
  const Bytes whole6 = packet6(50, icmp(0));
  std::copy(whole6.begin(), whole6.begin() + 30, o.head.begin());
  o.head_size = 30;
  o.body = whole6.data() + 30;
  o.body_size = static_cast<std::uint32_t>(whole6.size() - 30);
  peer->send(std::span(&o, 1));
  EXPECT_EQ(received().size(), 1u);
}

TEST(RawPort, NamesTheInterfaceThatIsMissing) {
  const TestNamespace home;
  const auto port = RawPort::open({.device = "nosuch0"});
  ASSERT_FALSE(port);
  EXPECT_NE(port.error().message.find("nosuch0"), std::string::npos);
}

}  // namespace
}  // namespace testudo::io
