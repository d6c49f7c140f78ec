// SPDX-License-Identifier: Apache-2.0
// Packets, commits and ageing take no memory.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "distributor/inbound_world_for_test.h"

namespace {
std::uint64_t allocations = 0;
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace testudo::distributor {
namespace {

/// What process() allocates itself, with the burst made ready before.
template <typename Process>
std::uint64_t allocated(std::vector<Bytes> burst, IpAddress from, Process process) {
  std::vector<wire::Packet> packets(burst.size());
  for (std::size_t i = 0; i < burst.size(); ++i) {
    packets[i].data = burst[i].data();
    packets[i].size = static_cast<std::uint32_t>(burst[i].size());
    packets[i].source = {from, 4500};
    packets[i].destination = {kDvipa, 4500};
  }
  const std::uint64_t before = allocations;
  process(std::span<const wire::Packet>(packets));
  return allocations - before;
}

TEST(InboundAllocation, NoneForPacketsCommitsAndAgeing) {
  World w({.config = {.connections = {.capacity = 64}}});
  std::uint64_t seq = 0;
  std::uint64_t total = 0;
  std::array<std::uint8_t, wire::kFastDatagramMax> buffer;
  for (std::uint16_t round = 0; round < 50; ++round) {
    std::vector<Bytes> burst;
    for (std::uint16_t i = 0; i < 8; ++i) {
      const auto port = static_cast<std::uint16_t>(round * 8 + i);
      burst.push_back(w.esp(syn(port), ++seq));
      burst.push_back(w.esp(ack(port), ++seq));
      burst.push_back(w.esp(packet_of({.protocol = wire::kProtocolIcmp}), ++seq));
      burst.push_back(w.esp(packet_of({.fragment = 1}), ++seq));
      burst.push_back(w.esp(ack(port), seq + 700));  // far ahead
      burst.back().back() ^= 1;
    }
    const std::vector<Bytes> clear(
        8, packet_of({.flags = wire::kTcpSyn, .client_port = round, .destination = kPlain}));
    w.now += 10s;
    total += allocated(std::move(burst), kPeers[0], [&](auto packets) {
      (void)w.inbound->nat_t(packets, w.now);
      w.inbound->tick(w.now);
    });
    total += allocated(clear, {}, [&](auto packets) { (void)w.inbound->raw(packets, w.now); });
    wire::FastWriter writer(
        buffer,
        {.type = wire::FastType::kReplayCommit, .sender = kT1, .incarnation = 1, .dvipa = kDvipa, .epoch = kEpoch});
    ASSERT_TRUE(writer.append(wire::ReplayCommit{.sa = SaId(1), .base = SeqNo(seq), .accepted = 1, .rejected = 0}));
    const std::uint64_t before = allocations;
    w.inbound->commit(*wire::FastMessage::parse(writer.bytes()));
    total += allocations - before;
  }
  EXPECT_EQ(total, 0u);
  EXPECT_GT(allocations, 0u);  // the counter counts
  EXPECT_GT(w.inbound->counters().forwarded.value(), 100u);
  EXPECT_GT(w.inbound->counters().fully_processed.value(), 100u);
  EXPECT_GT(w.drops.value(Drop::kConnectionTableFull) + w.inbound->counters().connections_made.value(), 100u);
}

}  // namespace
}  // namespace testudo::distributor
