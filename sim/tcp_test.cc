// SPDX-License-Identifier: Apache-2.0
// The simulated client's TCP against the simulated server's, over a network that loses packets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "sim/tcp_client.h"
#include "sim/tcp_packet.h"
#include "sim/tcp_server.h"
#include "sim/virtual_time.h"
#include "target/segmenter.h"
#include "wire/tcp.h"

namespace testudo::sim {
namespace {

constexpr Endpoint kClient{IpAddress(0x0a000001), 40000};
constexpr Endpoint kService{IpAddress(0xc0000264), 80};

wire::Packet view_of(Bytes& packet) {
  wire::Packet view;
  view.data = packet.data();
  view.size = static_cast<std::uint32_t>(packet.size());
  return view;
}

TEST(TcpPacket, IsReadAsItWasBuilt) {
  const std::vector<std::uint8_t> payload = {1, 2, 3};
  const Bytes packet = build_tcp({.source = kClient,
                                  .destination = kService,
                                  .sequence = 0xfffffff0,
                                  .acknowledgement = 17,
                                  .flags = wire::kTcpAck | wire::kTcpPsh,
                                  .number = 99,
                                  .payload = payload});
  const auto read = read_tcp(packet);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->source, kClient);
  EXPECT_EQ(read->destination, kService);
  EXPECT_EQ(read->sequence, 0xfffffff0u);
  EXPECT_EQ(read->acknowledgement, 17u);
  EXPECT_EQ(read->number, 99u);
  EXPECT_THAT(read->payload, testing::ElementsAre(1, 2, 3));
}

TEST(TcpPacket, AnyChangedBitIsNoticed) {
  const Bytes packet = build_tcp({.source = kClient, .destination = kService, .flags = wire::kTcpSyn, .number = 1});
  for (std::size_t bit = 0; bit < packet.size() * 8; ++bit) {
    Bytes changed = packet;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(read_tcp(changed).has_value()) << "bit " << bit;
  }
}

TEST(TcpPacket, ChecksumLeftToTheDeviceIsCompletedBySegmenting) {
  const Bytes payload(5000, 0x5a);
  Bytes packet = build_tcp({.source = kService, .destination = kClient, .flags = wire::kTcpAck, .payload = payload},
                           Checksum::kLeftToDevice);
  EXPECT_FALSE(read_tcp(packet).has_value());
  wire::Packet view = view_of(packet);
  view.segment_size = kSegmentSize;
  view.checksum_missing = true;
  const auto cut = target::Segmenter::of(view);
  ASSERT_TRUE(cut.has_value());
  ASSERT_EQ(cut->count(), 4u);
  for (std::uint32_t i = 0; i < cut->count(); ++i) {
    target::SegmentHeader room;
    const target::Segment segment = cut->segment(i, room);
    Bytes whole(segment.header.begin(), segment.header.end());
    whole.insert(whole.end(), segment.payload.begin(), segment.payload.end());
    EXPECT_TRUE(read_tcp(whole).has_value());
  }
}

/// Client and server with a network between them that cuts super-segments.
class Pair {
 public:
  Pair(std::uint64_t seed, std::uint64_t wanted, unsigned loss_percent)
      : rng_(seed),
        loss_percent_(loss_percent),
        executor_(time_),
        server_(executor_, [this](const Bytes& p, const io::MemoryPort::Meta& m) { to_client(p, m); }),
        client_(executor_, kClient, kService, wanted, [this](const TcpPacket& tcp) { to_server(tcp); }) {}

  void run() {
    start();
    run_until(60s);
  }
  void start() { client_.start(); }
  void run_until(Duration time) { time_.run_until(Time(time)); }
  TcpServer& server() { return server_; }
  TcpClient& client() { return client_; }

 private:
  bool lost() { return rng_.next() % 100 < loss_percent_; }
  void to_server(const TcpPacket& tcp) {
    if (lost()) return;
    executor_.run_after(100us, [this, packet = build_tcp(tcp)] { EXPECT_TRUE(server_.receive(packet)); });
  }
  void to_client(Bytes packet, const io::MemoryPort::Meta& meta) {
    wire::Packet view = view_of(packet);
    view.segment_size = meta.segment_size;
    view.checksum_missing = meta.checksum_missing;
    const auto cut = target::Segmenter::of(view);
    ASSERT_TRUE(cut.has_value());
    for (std::uint32_t i = 0; i < cut->count(); ++i) {
      target::SegmentHeader room;
      const target::Segment segment = cut->segment(i, room);
      Bytes whole(segment.header.begin(), segment.header.end());
      whole.insert(whole.end(), segment.payload.begin(), segment.payload.end());
      if (lost()) continue;
      executor_.run_after(100us, [this, whole] {
        const auto tcp = read_tcp(whole);
        ASSERT_TRUE(tcp.has_value());
        client_.receive(*tcp);
      });
    }
  }

  VirtualTime time_;
  SeededRng rng_;
  unsigned loss_percent_;
  VirtualExecutor executor_;
  TcpServer server_;
  TcpClient client_;
};

TEST(Tcp, AnswersOfAnySizeArriveWhole) {
  for (const std::uint64_t wanted : {1u, 1339u, 1340u, 1341u, 100'000u, 700'000u}) {
    Pair pair(1, wanted, 0);
    pair.server().listen({IpAddress(0), 80});
    pair.run();
    EXPECT_EQ(pair.client().state(), TcpClient::State::kDone) << wanted;
    EXPECT_EQ(pair.client().received(), wanted);
    EXPECT_EQ(pair.server().retransmissions(), 0u) << wanted;
  }
}

TEST(Tcp, LossIsRepaired) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Pair pair(seed, 60'000, 8);
    pair.server().listen(kService);
    pair.run();
    EXPECT_EQ(pair.client().state(), TcpClient::State::kDone) << seed;
  }
}

TEST(Tcp, ConnectionsAreSeenWhileTheyLast) {
  Pair pair(1, 1000, 0);
  pair.server().listen(kService);
  const std::vector local = {IpAddress(1), kService.address};
  EXPECT_THAT(pair.server().connections(local), testing::IsEmpty());
  pair.start();
  pair.run_until(150us);  // the SYN
  EXPECT_THAT(pair.server().connections(local), testing::ElementsAre(io::TcpConnection{kService, kClient}));
  EXPECT_THAT(pair.server().connections(std::span(local).first(1)), testing::IsEmpty());
  pair.run_until(1s);
  EXPECT_EQ(pair.client().state(), TcpClient::State::kDone);
  EXPECT_THAT(pair.server().connections(local), testing::IsEmpty());
}

TEST(Tcp, NobodyListens) {
  Pair pair(1, 1000, 0);
  pair.run();
  EXPECT_EQ(pair.client().state(), TcpClient::State::kReset);
}

}  // namespace
}  // namespace testudo::sim
