// SPDX-License-Identifier: Apache-2.0
#include "io/udp/udp_port.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <numeric>

#include "io/namespace_for_test.h"

namespace testudo::io {
namespace {

using Bytes = std::vector<std::uint8_t>;

IpAddress address(const std::string& text) { return *IpAddress::parse(text); }

struct Family {
  const char* name;
  IpAddress loopback, second, any;  // `second`: the host's too
  IpAddress foreign, unreachable;
};
const Family kV4{"v4",
                 address("127.0.0.1"),
                 address("127.0.0.9"),
                 address("0.0.0.0"),
                 address("192.0.2.100"),
                 address("192.0.2.1")};
const Family kV6{"v6",          address("::1"),           address("fd00::9"),
                 address("::"), address("2001:db8::100"), address("2001:db8::1")};
const IpAddress kLoopback = kV4.loopback;

Bytes bytes(std::size_t size, std::uint8_t first = 0) {
  Bytes b(size);
  std::iota(b.begin(), b.end(), first);
  return b;
}

wire::Outgoing to(const Endpoint& destination, const Bytes& body) {
  wire::Outgoing o;
  o.body = body.data();
  o.body_size = static_cast<std::uint32_t>(body.size());
  o.destination = destination;
  return o;
}

std::unique_ptr<UdpPort> open(UdpPort::Options options) {
  auto port = UdpPort::open(options);
  EXPECT_TRUE(port) << (port ? "" : port.error().message);
  return port ? std::move(*port) : nullptr;
}

/// Copies of everything that arrives until nothing more comes; `at_once` is the room given to each receive().
struct Got {
  Bytes data;
  wire::Packet meta;
};
std::vector<Got> drain(UdpPort& port, std::size_t at_once = wire::kBurst) {
  std::vector<Got> got;
  std::array<wire::Packet, wire::kBurst> burst;
  pollfd p{.fd = port.descriptor(), .events = POLLIN, .revents = 0};
  poll(&p, 1, 1000);
  while (const std::size_t n = port.receive(std::span(burst).first(at_once))) {
    for (const wire::Packet& packet : std::span(burst).first(n)) {
      got.push_back({{packet.data, packet.data + packet.size}, packet});
    }
  }
  return got;
}

struct UdpPortTest : testing::TestWithParam<Family> {
  TestNamespace home;
  const IpAddress local = GetParam().loopback;
  std::unique_ptr<UdpPort> a = open({.local = {local, 0}});
  std::unique_ptr<UdpPort> b = open({.local = {local, 0}});
};

TEST_P(UdpPortTest, TrainArrivesAsOneTrainHoweverItIsHandedOut) {
  std::vector<wire::Outgoing> burst;
  std::vector<Bytes> bodies;
  for (std::uint8_t i = 0; i < 11; ++i) bodies.push_back(bytes(i == 10 ? 300 : 1000, i));
  for (const Bytes& body : bodies) {
    burst.push_back(to(b->local(), body));
    burst.back().head = {0xaa, 0xbb, 0xcc};
    burst.back().head_size = 3;
    burst.back().traffic_class = 0xb9;
  }
  a->send(burst);
  EXPECT_EQ(a->counters().trains_out.value(), 1u);
  EXPECT_EQ(a->counters().packets_out.value(), 11u);

  const std::vector<Got> got = drain(*b, 4);
  ASSERT_EQ(got.size(), 11u);
  for (std::size_t i = 0; i < got.size(); ++i) {
    Bytes expected = {0xaa, 0xbb, 0xcc};
    expected.insert(expected.end(), bodies[i].begin(), bodies[i].end());
    EXPECT_EQ(got[i].data, expected);
    EXPECT_EQ(got[i].meta.train, got[0].meta.train);
    EXPECT_NE(got[i].meta.train, 0u);
    EXPECT_EQ(got[i].meta.traffic_class, 0xb9);
    EXPECT_EQ(got[i].meta.source, a->local());
    EXPECT_EQ(got[i].meta.destination, b->local());
  }
  EXPECT_EQ(b->counters().trains_in.value(), 1u);
  EXPECT_EQ(b->counters().packets_in.value(), 11u);
}

TEST_P(UdpPortTest, TwoTrainsHaveTwoNumbers) {
  const Bytes body = bytes(500);
  const std::array burst = {to(b->local(), body), to(b->local(), body)};
  a->send(burst);
  a->send(burst);
  const std::vector<Got> got = drain(*b);
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(got[0].meta.train, got[1].meta.train);
  EXPECT_EQ(got[2].meta.train, got[3].meta.train);
  EXPECT_NE(got[0].meta.train, got[2].meta.train);
}

TEST_P(UdpPortTest, SegmentsAboveTheMtuGoOneByOne) {
  shell("ip link set lo mtu 1500");
  const Bytes body = bytes(2000);
  const std::vector<wire::Outgoing> burst(3, to(b->local(), body));
  a->send(burst);
  EXPECT_EQ(a->counters().send_failed.value(), 0u);
  EXPECT_EQ(a->counters().trains_out.value(), 3u);
  EXPECT_EQ(drain(*b).size(), 3u);
}

TEST_P(UdpPortTest, WithZeroChecksumsNothingIsSentInTrains) {
  auto plain = open({.local = {local, 0}, .zero_checksum = true});
  const Bytes body = bytes(700);
  plain->send(std::vector<wire::Outgoing>(5, to(b->local(), body)));
  EXPECT_EQ(plain->counters().trains_out.value(), 5u);
  EXPECT_EQ(drain(*b).size(), 5u);
}

TEST_P(UdpPortTest, WildcardSocketSendsFromTheAddressThatIsAskedFor) {
  shell("ip addr add fd00::9/128 dev lo nodad");
  auto any = open({.local = {GetParam().any, 0}});
  const Bytes body = bytes(10);
  wire::Outgoing o = to(b->local(), body);
  o.source = {GetParam().second, any->local().port};
  a->send({});
  any->send(std::span(&o, 1));
  const std::vector<Got> got = drain(*b);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].meta.source, o.source);
  const wire::Outgoing back = to({GetParam().second, any->local().port}, body);
  std::vector<Got> answer;
  // The kernel makes the route to a new IPv6 address when it gets round to it: what is sent before that is lost.
  for (int tries = 0; answer.empty() && tries < 20; ++tries) {
    b->send(std::span(&back, 1));
    answer = drain(*any);
  }
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].meta.destination, o.source);
}

TEST_P(UdpPortTest, BindsForeignAddressOnlyWhenAsked) {
  const Endpoint foreign{GetParam().foreign, 4500};
  EXPECT_FALSE(UdpPort::open({.local = foreign}));
  EXPECT_TRUE(UdpPort::open({.local = foreign, .free_bind = true}));
}

TEST_P(UdpPortTest, WhatTheKernelRefusesIsCounted) {
  const Bytes body = bytes(10);
  const wire::Outgoing o = to({GetParam().unreachable, 9}, body);  // no route
  a->send(std::span(&o, 1));
  EXPECT_EQ(a->counters().send_failed.value(), 1u);
}

TEST_P(UdpPortTest, SpeaksNoOtherFamily) {
  const Family& other = GetParam().loopback.is_v4() ? kV6 : kV4;
  auto any = open({.local = {GetParam().any, 0}});
  // The same port of the other family's wildcard is free.
  EXPECT_TRUE(UdpPort::open({.local = {other.any, any->local().port}}));
  const Bytes body = bytes(10);
  wire::Outgoing o = to({other.loopback, 9}, body);
  any->send(std::span(&o, 1));
  o.source.address = other.loopback;
  any->send(std::span(&o, 1));
  EXPECT_EQ(any->counters().send_failed.value(), 2u);
}

TEST_P(UdpPortTest, TakesZeroChecksums) {
  auto plain = open({.local = {local, 0}, .zero_checksum = true});
  const Bytes body = bytes(10);
  plain->send(std::vector<wire::Outgoing>(1, to(b->local(), body)));
  EXPECT_EQ(drain(*b).size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Families, UdpPortTest, testing::Values(kV4, kV6),
                         [](const auto& tested) { return std::string(tested.param.name); });

// What may share a train: size of each datagram, and the length of the first train.
TEST(TrainLength, TruthTable) {
  struct Row {
    std::vector<std::size_t> sizes;
    std::size_t length;
  };
  const Row rows[] = {
      {{100}, 1},
      {{100, 100, 100}, 3},
      {{100, 100, 50}, 3},
      {{100, 50, 50}, 2},
      {{100, 101}, 1},
      {{100, 0}, 1},
      {{0, 0}, 1},
      {{65507, 65507}, 1},
      {{32753, 32753, 2}, 2},
      {{32753, 32754}, 1},
      {{32754, 32753}, 2},
      {{32754, 32754}, 1},
      {std::vector<std::size_t>(70, 10), 64},
  };
  const Bytes body(65507);
  for (const Row& row : rows) {
    std::vector<wire::Outgoing> burst;
    for (const std::size_t size : row.sizes) {
      burst.push_back(to({kLoopback, 9}, body));
      burst.back().body_size = static_cast<std::uint32_t>(size);
    }
    EXPECT_EQ(train_length(burst), row.length) << testing::PrintToString(row.sizes);
  }
}

TEST(TrainLength, EndsWhereTheWayChanges) {
  const Bytes body(100);
  const wire::Outgoing first = to({kLoopback, 9}, body);
  wire::Outgoing other = first;
  other.destination.port = 10;
  EXPECT_EQ(train_length(std::array{first, other}), 1u);
  other = first;
  other.traffic_class = 1;
  EXPECT_EQ(train_length(std::array{first, other}), 1u);
  other = first;
  other.source.address = kLoopback;
  EXPECT_EQ(train_length(std::array{first, other}), 1u);
}

}  // namespace
}  // namespace testudo::io
