// SPDX-License-Identifier: Apache-2.0
// Once everything is set up, neither the outbound nor the inbound path takes memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#include "target/inbound_world_for_test.h"
#include "target/outbound_world_for_test.h"

namespace {
std::uint64_t allocations = 0;
}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace testudo::target {
namespace {

wire::Packet view_of(AppPacket& packet) {
  wire::Packet view;
  view.data = packet.bytes.data();
  view.size = static_cast<std::uint32_t>(packet.bytes.size());
  view.segment_size = packet.segment_size;
  view.checksum_missing = packet.checksum_missing;
  return view;
}

TEST(Allocation, NoneForOutgoingPackets) {
  World world;
  world.install(1);
  world.record = false;
  AppPacket super = tcp_packet(kProtected, 60'000, 1348), clear = tcp_packet(kPermitted, 60'000, 1348),
            small = tcp_packet(kProtected, 100);
  const std::array burst = {view_of(small), view_of(super), view_of(clear), view_of(small)};
  const auto round = [&] {
    world.outbound.process(burst, world.time());
    world.exchange();
    world.pass(1ms);
    world.outbound.tick(world.time());
  };
  for (int i = 0; i < 20; ++i) round();
  ASSERT_GT(allocations, 0u);  // the counter counts
  const std::uint64_t before = allocations, held = world.outbound.counters().held.value();
  for (int i = 0; i < 100; ++i) round();
  world.pass(1s);  // the lease is over: the next round holds packets again
  for (int i = 0; i < 10; ++i) round();
  EXPECT_EQ(allocations, before);
  EXPECT_GT(world.outbound.counters().held.value(), held);
  EXPECT_GT(world.send_calls, 200u);
}

TEST(Allocation, NoneForForwardedPackets) {
  InboundWorld world;
  world.install();
  world.record = false;
  constexpr std::size_t kRounds = 100;
  std::vector<Bytes> packets;
  for (std::uint32_t i = 1; i <= kRounds * wire::kBurst; ++i) packets.push_back(world.forwarded(i));
  wire::FastOutbox outbox;
  const auto round = [&](std::size_t i) {
    std::array<wire::Packet, wire::kBurst> burst;
    for (std::size_t k = 0; k < burst.size(); ++k) {
      Bytes& bytes = packets[i * wire::kBurst + k];
      burst[k].data = bytes.data();
      burst[k].size = static_cast<std::uint32_t>(bytes.size());
      burst[k].source = kOwnerData;
    }
    world.inbound.process(burst, world.now);
    world.inbound.tick(world.now);
    world.commits.poll(world.now, outbox);
    outbox.clear();
  };
  round(0);
  const std::uint64_t before = allocations;
  for (std::size_t i = 1; i < kRounds; ++i) round(i);
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(world.inbound.counters().decrypted_packets.value(), packets.size());
}

}  // namespace
}  // namespace testudo::target
