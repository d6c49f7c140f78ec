// SPDX-License-Identifier: Apache-2.0
#include "io/tun/tun_port.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "io/namespace_for_test.h"
#include "io/socket_address.h"
#include "io/tun/tcp_segment_for_test.h"

namespace testudo::io {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Family {
  const char* name;
  std::string client, server;  // addresses in one network
  int prefix_length;
  std::uint32_t small_mtu;
};
const Family kV4{"v4", "10.0.0.1", "10.0.0.2", 24, 1000};
const Family kV6{"v6", "fd00::1", "fd00::2", 64, 1280};

// Two kernels' TCP, each with a TUN device; the test carries packets between them.
//
//   client 10.0.0.1 ── TUN a ══ relay() ══ TUN b ── server 10.0.0.2
//          fd00::1                                         fd00::2
struct TunPortTest : testing::TestWithParam<Family> {
  const Family& family = GetParam();
  const IpAddress server_address = *IpAddress::parse(family.server);
  TestNamespace home_a;
  std::unique_ptr<TunPort> a = open(family.client);
  Descriptor client{::socket(family_of(server_address), SOCK_STREAM | SOCK_CLOEXEC, 0)};
  TestNamespace home_b;
  std::unique_ptr<TunPort> b = open(family.server);
  Descriptor server;

  [[nodiscard]] std::unique_ptr<TunPort> open(const std::string& address) const {
    auto port = TunPort::open({.name = "testudo0", .mtu = 1400, .udp_trains = true});
    EXPECT_TRUE(port) << (port ? "" : port.error().message);
    shell("ip addr add " + address + "/" + std::to_string(family.prefix_length) + " dev testudo0" +
          (family.prefix_length == 64 ? " nodad" : ""));
    return std::move(*port);
  }

  /// Carries what is there; `segments`: super-segments are cut on the way, as ESP would.
  void relay(TunPort& from, TunPort& to, bool segments) {
    std::array<wire::Packet, wire::kBurst> burst;
    const std::size_t n = from.receive(burst);
    std::vector<Bytes> packets;
    std::vector<wire::Outgoing> out;
    for (const wire::Packet& p : std::span(burst).first(n)) {
      largest = std::max(largest, p.size);
      EXPECT_TRUE(p.segment_size == 0 || p.checksum_missing);
      if (p.segment_size != 0 && !segments) {
        out.push_back({});
        out.back().body = p.data;
        out.back().body_size = p.size;
        out.back().segment_size = p.segment_size;
        continue;
      }
      const std::size_t size = p.segment_size != 0 ? p.segment_size : p.size;
      const bool tcp = protocol(p.data) == 6;
      const bool payload = tcp && p.size > headers_size(p.data);
      std::vector<Bytes> pieces = payload ? cut(p.bytes(), size) : std::vector<Bytes>{{p.data, p.data + p.size}};
      if (!payload && tcp) complete_checksums(pieces[0]);
      for (Bytes& piece : pieces) packets.push_back(std::move(piece));
    }
    std::vector<wire::Outgoing> cut_packets;
    for (const Bytes& p : packets) cut_packets.push_back(outgoing(p));
    to.send(out);
    to.send(cut_packets);
  }

  void connect_both(bool segments) {
    home_b.enter();
    const Descriptor listener(::socket(family_of(server_address), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress address({server_address, 80});
    ASSERT_EQ(bind(listener.get(), address.get(), address.size()), 0);
    ASSERT_EQ(listen(listener.get(), 1), 0);
    set_option(client.get(), SOL_SOCKET, SO_SNDBUF, 4 << 20);
    ASSERT_EQ(fcntl(client.get(), F_SETFL, O_NONBLOCK), 0);
    connect(client.get(), address.get(), address.size());
    pollfd ready{.fd = listener.get(), .events = POLLIN, .revents = 0};
    for (int i = 0; i < 1000 && poll(&ready, 1, 1) == 0; ++i) {
      relay(*a, *b, segments);
      relay(*b, *a, segments);
    }
    server = Descriptor(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
    ASSERT_TRUE(server.open());
  }

  /// Sends `size` bytes from client to server and checks that they arrive.
  void transfer(std::size_t size, bool segments) {
    connect_both(segments);
    Bytes sent(size);
    for (std::size_t i = 0; i < size; ++i) sent[i] = static_cast<std::uint8_t>(i * 2654435761u >> 13);
    Bytes got;
    std::size_t done = 0;
    std::array<std::uint8_t, 65536> buffer;
    for (int idle = 0; got.size() < size && idle < 3000;) {
      if (const ssize_t n = write(client.get(), sent.data() + done, size - done); n > 0) done += n;
      relay(*a, *b, segments);
      relay(*b, *a, segments);
      const ssize_t n = read(server.get(), buffer.data(), buffer.size());
      if (n > 0) got.insert(got.end(), buffer.begin(), buffer.begin() + n);
      idle = n > 0 ? 0 : idle + 1;
      if (n <= 0) usleep(1000);
    }
    EXPECT_TRUE(got == sent) << got.size() << " of " << size << " bytes";
  }

  std::uint32_t largest = 0;
};

TEST_P(TunPortTest, SuperSegmentsPassWhole) {
  transfer(4 << 20, /*segments=*/false);
  EXPECT_GT(largest, 20000u);
  EXPECT_EQ(b->counters().send_failed.value(), 0u);
}

TEST_P(TunPortTest, SegmentsAreJoinedAgain) {
  transfer(4 << 20, /*segments=*/true);
  EXPECT_GT(b->counters().packets_out.value(), (4u << 20) / 1400);
  EXPECT_LT(b->counters().trains_out.value(), b->counters().packets_out.value() / 4);
  EXPECT_EQ(b->counters().send_failed.value(), 0u);
}

/// The ICMP error (RFC 1191, RFC 8201) that a router sends about `packet`.
Bytes too_big(const Bytes& packet, std::uint32_t mtu) {
  const bool v4 = is_v4(packet.data());
  const std::size_t ip = ip_size(packet.data());
  const std::size_t address = v4 ? 4 : 16, source = v4 ? 12 : 8;
  Bytes p(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(ip));
  std::swap_ranges(&p[source], &p[source + address], &p[source + address]);
  p[v4 ? 9 : 6] = v4 ? 1 : 58;
  p.resize(ip + 8);
  p[ip] = v4 ? 3 : 2;
  p[ip + 1] = v4 ? 4 : 0;
  put_be(&p[ip + 4], 4, mtu);
  p.insert(p.end(), packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(ip + 8));
  set_length(p);
  if (v4) put_be(&p[10], 2, 0), put_be(&p[10], 2, wire::checksum({p.data(), 20}));
  const std::span<const std::uint8_t> icmp(p.data() + ip, p.size() - ip);
  put_be(&p[ip + 2], 2, wire::fold(wire::add(v4 ? 0 : pseudo_sum(p.data(), icmp.size()), icmp)));
  return p;
}

TEST_P(TunPortTest, KernelHeedsIcmpErrorsAboutItsPackets) {
  connect_both(/*segments=*/true);
  const auto mss = [this] {
    int value = 0;
    socklen_t size = sizeof value;
    EXPECT_EQ(getsockopt(client.get(), IPPROTO_TCP, TCP_MAXSEG, &value, &size), 0);
    return static_cast<std::uint32_t>(value);
  };
  const std::uint32_t headers = family.prefix_length == 24 ? 40 : 60;
  EXPECT_EQ(mss(), 1400 - headers - 12);
  Bytes packet;
  std::array<wire::Packet, wire::kBurst> burst;
  ASSERT_EQ(write(client.get(), "some data", 9), 9);
  for (int i = 0; packet.size() < headers + 9 && i < 1000; ++i) {
    for (const wire::Packet& p : std::span(burst).first(a->receive(burst))) packet.assign(p.data, p.data + p.size);
  }
  ASSERT_GT(packet.size(), headers + 8);
  const Bytes error = too_big(packet, family.small_mtu);
  const wire::Outgoing out = outgoing(error);
  a->send(std::span(&out, 1));
  EXPECT_EQ(mss(), family.small_mtu - headers - 12);
}

TEST_P(TunPortTest, TrainsOfDatagramsPassWhole) {
  home_b.enter();
  const Descriptor in(::socket(family_of(server_address), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const SocketAddress to({server_address, 53});
  ASSERT_EQ(bind(in.get(), to.get(), to.size()), 0);
  home_a.enter();
  const Descriptor out(::socket(family_of(server_address), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(set_option(out.get(), IPPROTO_UDP, UDP_SEGMENT, 500));
  const Bytes data(4900, 7);
  pollfd readable{.fd = in.get(), .events = POLLIN, .revents = 0};
  std::size_t count = 0;
  std::array<std::uint8_t, 1000> datagram;
  // The kernel makes the route to a new IPv6 address when it gets round to it: what comes before that is lost.
  for (int tries = 0; count == 0 && tries < 20; ++tries) {
    ASSERT_EQ(sendto(out.get(), data.data(), data.size(), 0, to.get(), to.size()), 4900);
    relay(*a, *b, /*segments=*/false);
    EXPECT_EQ(largest, 4900u + (family.prefix_length == 24 ? 28 : 48));
    while (count < 10 && poll(&readable, 1, /*ms=*/500) > 0) {
      if (recv(in.get(), datagram.data(), datagram.size(), 0) > 0) ++count;
    }
  }
  EXPECT_EQ(count, 10u);
}

TEST_P(TunPortTest, NothingOfTheKernelsTalkToNeighboursIsRead) {
  EXPECT_EQ(output_of("ip -6 addr show dev testudo0 scope link"), "");
  home_b.enter();
  shell("ip addr add fe80::7/64 dev testudo0 nodad");
  const Descriptor speaker(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 all{};
  all.sin6_family = AF_INET6;
  all.sin6_port = htons(9);
  all.sin6_addr = to_in6_addr(*IpAddress::parse("ff02::1"));
  all.sin6_scope_id = if_nametoindex("testudo0");
  ASSERT_EQ(sendto(speaker.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&all), sizeof all), 1);
  pollfd ready{.fd = b->descriptor(), .events = POLLIN, .revents = 0};
  std::array<wire::Packet, wire::kBurst> burst;
  EXPECT_EQ(poll(&ready, 1, 1000), 1);
  EXPECT_EQ(b->receive(burst), 0u);
}

TEST_P(TunPortTest, DeviceHasItsMtuAndGoesWithThePort) {
  EXPECT_NE(output_of("ip link show testudo0").find("mtu 1400"), std::string::npos);
  b.reset();
  EXPECT_EQ(output_of("ip link show testudo0 2>/dev/null"), "");
}

INSTANTIATE_TEST_SUITE_P(Families, TunPortTest, testing::Values(kV4, kV6),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(TunPort, RefusesNamesThatAreTooLong) {
  const auto port = TunPort::open({.name = "sixteen-letters0"});
  ASSERT_FALSE(port);
  EXPECT_NE(port.error().message.find("1 to 15"), std::string::npos);
}

}  // namespace
}  // namespace testudo::io
