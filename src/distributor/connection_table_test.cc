// SPDX-License-Identifier: Apache-2.0
#include "distributor/connection_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <numeric>

#include "wire/tcp.h"

namespace testudo::distributor {
namespace {

constexpr ipsec::TunnelId kTunnel(3);
constexpr SipKey kKey{1, 2};

ConnectionKey key4(std::uint32_t n) {
  return {.client = {IpAddress(n), static_cast<std::uint16_t>(n)}, .dvipa = {IpAddress(7), 443}};
}
ConnectionKey key6(std::uint32_t n) {
  return {.client = {IpAddress(0x2001'0db8'0000'0000, n), static_cast<std::uint16_t>(n)},
          .dvipa = {IpAddress(0x2001'0db8'0000'0000, 7), 443}};
}
/// Odd ones are IPv4, even ones IPv6.
ConnectionKey key(std::uint32_t n) { return n % 2 == 1 ? key4(n) : key6(n); }

// Vectors of the reference implementation: key 00 01 … 0f, message 00 01 … (n - 1).
TEST(SipHash, ReferenceVectors) {
  const SipKey k{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::vector<std::uint8_t> message(15);
  std::iota(message.begin(), message.end(), std::uint8_t{0});
  EXPECT_EQ(siphash(k, message), 0xa129ca6149be45e5u);  // the paper's appendix A
  EXPECT_EQ(siphash(k, {}), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(siphash(k, std::span(message).first(8)), 0x93f5f5799a932462u);
}

class ConnectionTableTest : public testing::Test {
 protected:
  Connection* insert(std::uint32_t n, ipsec::TunnelId tunnel = kTunnel) {
    return table.insert(key(n), table.hash(key(n)), NodeId(static_cast<std::uint16_t>(n)), tunnel, now);
  }
  Connection* find(std::uint32_t n) { return table.find(key(n), table.hash(key(n))); }
  void age() { table.age(now, table.capacity()); }

  ConnectionTable table{{.capacity = 8, .clear_max = 2}, kKey};
  Time now{1h};
};

TEST_F(ConnectionTableTest, FindsWhatWasInserted) {
  EXPECT_EQ(find(1), nullptr);
  ASSERT_NE(insert(1), nullptr);
  ASSERT_NE(find(1), nullptr);
  EXPECT_EQ(find(1)->target, NodeId(1));
  EXPECT_EQ(find(2), nullptr);
  table.erase(*find(1));
  EXPECT_EQ(find(1), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ConnectionTableTest, EveryPartOfTheKeyCounts) {
  using Change = void (*)(ConnectionKey&);
  const IpAddress high = IpAddress(0x2001'0db9'0000'0000, 1);
  const IpAddress low = IpAddress(0x2001'0db8'0000'0000, 9);
  const Change in_both[] = {[](ConnectionKey& k) { ++k.client.port; }, [](ConnectionKey& k) { ++k.dvipa.port; },
                            [](ConnectionKey& k) { std::swap(k.client, k.dvipa); }};
  std::vector<std::pair<ConnectionKey, ConnectionKey>> pairs;  // the known one, another one
  for (const std::uint32_t n : {1u, 2u}) {
    for (const Change change : in_both) {
      pairs.emplace_back(key(n), key(n));
      change(pairs.back().second);
    }
    for (const IpAddress a : n == 1 ? std::vector{IpAddress(9)} : std::vector{high, low}) {
      pairs.emplace_back(key(n), ConnectionKey{.client = {a, key(n).client.port}, .dvipa = key(n).dvipa});
      pairs.emplace_back(key(n), ConnectionKey{.client = key(n).client, .dvipa = {a, key(n).dvipa.port}});
    }
  }
  ASSERT_NE(insert(1), nullptr);
  ASSERT_NE(insert(2), nullptr);
  for (const auto& [known, other] : pairs) {
    EXPECT_NE(table.hash(other), table.hash(known));
    EXPECT_EQ(table.find(other, table.hash(other)), nullptr);
    EXPECT_EQ(table.find(other, table.hash(known)), nullptr);  // even when the hashes collide
  }
}

TEST_F(ConnectionTableTest, KeepsTheKeyAndWhetherToLog) {
  for (const std::uint32_t n : {1u, 2u}) {
    Connection& c = *insert(n);
    EXPECT_EQ(table.key_of(c), key(n));
    EXPECT_FALSE(c.log);
    c.log = true;
    EXPECT_TRUE(find(n)->log);
    table.erase(c);
    EXPECT_FALSE(insert(n)->log);
  }
}

/// Memory of this process that is in use.
std::size_t resident_bytes() {
  std::size_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// What a connection takes, the index included, with a million of each family.
TEST(ConnectionTableMemory, OfAMillionConnections) {
  constexpr std::uint32_t kCount = 1'000'000;
  const struct {
    ConnectionKey (*key)(std::uint32_t);
    std::size_t limit;  // bytes
  } families[] = {{key4, 64}, {key6, 96}};
  for (const auto& family : families) {
    const std::size_t before = resident_bytes();
    ConnectionTable table({.capacity = kCount}, kKey);
    for (std::uint32_t n = 0; n < kCount; ++n) {
      const ConnectionKey k = family.key(n << 4);
      ASSERT_NE(table.insert(k, table.hash(k), NodeId(1), kTunnel, Time{}), nullptr);
    }
    EXPECT_LE((resident_bytes() - before) / kCount, family.limit);
    ASSERT_NE(table.find(family.key(160), table.hash(family.key(160))), nullptr);
    EXPECT_EQ(table.insert(key4(7), table.hash(key4(7)), NodeId(1), kTunnel, Time{}), nullptr);
  }
}

TEST_F(ConnectionTableTest, FullAndClearHasItsShare) {
  EXPECT_NE(insert(1, {}), nullptr);
  EXPECT_NE(insert(2, {}), nullptr);
  EXPECT_EQ(insert(3, {}), nullptr);
  for (std::uint32_t n = 3; n <= 8; ++n) EXPECT_NE(insert(n), nullptr);
  EXPECT_EQ(insert(9), nullptr);
  table.erase(*find(1));
  EXPECT_NE(insert(3 + 100, {}), nullptr);
}

TEST_F(ConnectionTableTest, FollowsTheClientsFlags) {
  Connection& c = *insert(1);
  const struct {
    std::uint8_t flags;
    ConnectionState after;
  } steps[] = {
      {wire::kTcpSyn, ConnectionState::kNew},
      {wire::kTcpRst, ConnectionState::kNew},  // whoever forges it gains nothing
      {wire::kTcpSyn, ConnectionState::kNew},
      {wire::kTcpAck, ConnectionState::kEstablished},
      {wire::kTcpSyn, ConnectionState::kEstablished},
      {wire::kTcpAck | wire::kTcpPsh, ConnectionState::kEstablished},
      {wire::kTcpFin | wire::kTcpAck, ConnectionState::kClosing},
      {wire::kTcpAck, ConnectionState::kClosing},
  };
  for (const auto& step : steps) {
    table.note(c, step.flags, 100, now);
    EXPECT_EQ(c.state, step.after);
  }
  EXPECT_EQ(c.packets, 8u);
  EXPECT_EQ(c.bytes, 800u);
  Connection& other = *insert(2);
  table.note(other, wire::kTcpAck, 1, now);
  table.note(other, wire::kTcpRst, 1, now);
  EXPECT_EQ(other.state, ConnectionState::kClosing);
}

TEST_F(ConnectionTableTest, ForgetsAfterItsStatesSilence) {
  const ConnectionTableConfig config;
  insert(1);
  table.note(*insert(2), wire::kTcpAck, 1, now);
  table.note(*insert(3), wire::kTcpAck, 1, now);
  table.note(*find(3), wire::kTcpFin, 1, now);
  const Time start = now;
  now = start + config.new_timeout - 1ns;
  age();
  EXPECT_EQ(table.size(), 3u);
  now += 1ns;
  age();
  EXPECT_EQ(find(1), nullptr);
  EXPECT_EQ(table.size(), 2u);
  now = start + config.closing_timeout;
  age();
  EXPECT_EQ(find(3), nullptr);
  now = start + config.idle_timeout;
  age();
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ConnectionTableTest, AgesALittleAtATime) {
  for (std::uint32_t n = 1; n <= 8; ++n) insert(n);
  now += 24h;
  table.age(now, 3);
  EXPECT_EQ(table.size(), 5u);
  table.age(now, 3);
  table.age(now, 3);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ConnectionTableTest, Lists) {
  table.note(*insert(1), wire::kTcpAck, 60, now);
  now += 5s;
  const auto list = table.list(now);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].client, key(1).client);
  EXPECT_EQ(list[0].dvipa, key(1).dvipa);
  EXPECT_EQ(list[0].tunnel, kTunnel);
  EXPECT_FALSE(list[0].log);
  EXPECT_EQ(list[0].packets, 1u);
  EXPECT_EQ(list[0].bytes, 60u);
  EXPECT_EQ(list[0].idle, 5s);
}

// Against a map. Hashes of few values force long probe sequences and gaps that must be closed.
RC_GTEST_PROP(ConnectionTable, BehavesAsAMap, ()) {
  const auto capacity = *rc::gen::inRange<std::uint32_t>(1, 20);
  ConnectionTable table({.capacity = capacity, .clear_max = capacity}, kKey);
  std::map<std::uint32_t, NodeId> model;
  const auto few = *rc::gen::inRange<std::uint64_t>(1, 40);
  const auto hash_of = [&](std::uint32_t n) { return table.hash(key(n)) % few; };
  const auto steps = *rc::gen::container<std::vector<std::uint32_t>>(200, rc::gen::inRange<std::uint32_t>(0, 60));
  for (const std::uint32_t step : steps) {
    const std::uint32_t n = step % 30;
    Connection* found = table.find(key(n), hash_of(n));
    RC_ASSERT((found != nullptr) == model.contains(n));
    if (found == nullptr) {
      const NodeId target(static_cast<std::uint16_t>(step + 1));
      Connection* made = table.insert(key(n), hash_of(n), target, kTunnel, Time{});
      RC_ASSERT((made != nullptr) == (model.size() < capacity));
      if (made != nullptr) model[n] = target;
    } else if (step >= 30) {
      table.erase(*found);
      model.erase(n);
    }
    RC_ASSERT(table.size() == model.size());
    for (const auto& [m, target] : model) {
      const Connection* c = table.find(key(m), hash_of(m));
      RC_ASSERT(c != nullptr && c->target == target);
    }
  }
}

}  // namespace
}  // namespace testudo::distributor
