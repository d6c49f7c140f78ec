// SPDX-License-Identifier: Apache-2.0
#include "io/raw/raw_port.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>

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

/// An IPv4 packet from the peer, with 8 bytes of payload that name a UDP port.
Bytes packet(IpAddress to, std::uint8_t protocol, std::uint16_t port, std::uint16_t fragment = 0) {
  Bytes p = {0x45, 0, 0, 28, 0, 1, 0, 0, 64, protocol, 0, 0, 0xc0, 0, 2, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0};
  for (std::size_t i = 0; i < 4; ++i) p[16 + i] = static_cast<std::uint8_t>(to.value() >> (24 - 8 * i));
  p[6] = static_cast<std::uint8_t>(fragment >> 8);
  p[7] = static_cast<std::uint8_t>(fragment);
  p[22] = static_cast<std::uint8_t>(port >> 8);
  p[23] = static_cast<std::uint8_t>(port);
  return p;
}

wire::Outgoing outgoing(const Bytes& bytes) {
  wire::Outgoing o;
  o.body = bytes.data();
  o.body_size = static_cast<std::uint32_t>(bytes.size());
  return o;
}

//   peer 192.0.2.1 ── v1 ════ v0 ── host 192.0.2.2, DVIPA 192.0.2.100
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
    port = open("v0");
    peer_home.enter();
    shell("ip addr add 192.0.2.1/24 dev v1 && ip link set v1 up");
    peer = open("v1");
    for (const char* address : {"192.0.2.2", "192.0.2.100"}) {
      shell(std::string("ip neigh replace ") + address + " lladdr 02:00:00:00:00:02 dev v1");
    }
    host.enter();
    shell("ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev v0");
    ASSERT_TRUE(port && peer);
    const auto done = port->set_addresses(std::array{kOther, kDvipa});
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

TEST_F(RawPortTest, TcpOfTheSameMachineComesUnfinished) {
  host.enter();
  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = to_socket_address({kDvipa, 80});
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  peer_home.enter();
  shell("ip route add 192.0.2.100/32 dev v1");
  const Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const Bytes data(60000);
  for (int i = 0; i < 10; ++i) ASSERT_GT(write(client.get(), data.data(), data.size()), 0);
  const std::vector<Bytes> got = received();
  ASSERT_FALSE(got.empty());
  bool super = false;
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(metas[i].checksum_missing);
    EXPECT_EQ(wire::partial_checksum(pseudo_sum(got[i].data(), got[i].size() - 20)), got[i][36] << 8 | got[i][37]);
    if (metas[i].segment_size != 0) super = super || got[i].size() > 1500;
  }
  EXPECT_TRUE(super);
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
}

TEST(RawPort, NamesTheInterfaceThatIsMissing) {
  const TestNamespace home;
  const auto port = RawPort::open({.device = "nosuch0"});
  ASSERT_FALSE(port);
  EXPECT_NE(port.error().message.find("nosuch0"), std::string::npos);
}

}  // namespace
}  // namespace testudo::io
