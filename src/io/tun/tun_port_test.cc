// SPDX-License-Identifier: Apache-2.0
#include "io/tun/tun_port.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "io/namespace_for_test.h"
#include "io/socket_address.h"
#include "io/tun/tcp_segment_for_test.h"

namespace testudo::io {
namespace {

using Bytes = std::vector<std::uint8_t>;

// Two kernels' TCP, each with a TUN device; the test carries packets between them.
//
//   client 10.0.0.1 ── TUN a ══ relay() ══ TUN b ── server 10.0.0.2
struct TunPortTest : testing::Test {
  TestNamespace home_a;
  std::unique_ptr<TunPort> a = open("10.0.0.1");
  Descriptor client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  TestNamespace home_b;
  std::unique_ptr<TunPort> b = open("10.0.0.2");
  Descriptor server;

  static std::unique_ptr<TunPort> open(const std::string& address) {
    auto port = TunPort::open({.name = "testudo0", .mtu = 1400});
    EXPECT_TRUE(port) << (port ? "" : port.error().message);
    shell("ip addr add " + address + "/24 dev testudo0");
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
      const bool payload = p.size > 20u + (p.data[32] / 16u) * 4u;
      std::vector<Bytes> pieces = payload ? cut(p.bytes(), size) : std::vector<Bytes>{{p.data, p.data + p.size}};
      if (!payload && p.data[9] == 6) complete_checksums(pieces[0]);
      for (Bytes& piece : pieces) packets.push_back(std::move(piece));
    }
    std::vector<wire::Outgoing> cut_packets;
    for (const Bytes& p : packets) cut_packets.push_back(outgoing(p));
    to.send(out);
    to.send(cut_packets);
  }

  void connect_both(bool segments) {
    home_b.enter();
    const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Endpoint where{IpAddress(0x0a000002), 80};
    sockaddr_in address = to_socket_address(where);
    ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener.get(), 1), 0);
    set_option(client.get(), SOL_SOCKET, SO_SNDBUF, 4 << 20);
    ASSERT_EQ(fcntl(client.get(), F_SETFL, O_NONBLOCK), 0);
    connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
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

TEST_F(TunPortTest, SuperSegmentsPassWhole) {
  transfer(4 << 20, /*segments=*/false);
  EXPECT_GT(largest, 20000u);
  EXPECT_EQ(b->counters().send_failed.value(), 0u);
}

TEST_F(TunPortTest, SegmentsAreJoinedAgain) {
  transfer(4 << 20, /*segments=*/true);
  EXPECT_GT(b->counters().packets_out.value(), (4u << 20) / 1400);
  EXPECT_LT(b->counters().trains_out.value(), b->counters().packets_out.value() / 4);
  EXPECT_EQ(b->counters().send_failed.value(), 0u);
}

TEST_F(TunPortTest, DeviceHasItsMtuAndGoesWithThePort) {
  EXPECT_NE(output_of("ip link show testudo0").find("mtu 1400"), std::string::npos);
  b.reset();
  EXPECT_EQ(output_of("ip link show testudo0 2>/dev/null"), "");
}

TEST_F(TunPortTest, RefusesNamesThatAreTooLong) {
  const auto port = TunPort::open({.name = "sixteen-letters0"});
  ASSERT_FALSE(port);
  EXPECT_NE(port.error().message.find("1 to 15"), std::string::npos);
}

}  // namespace
}  // namespace testudo::io
