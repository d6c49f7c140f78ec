// SPDX-License-Identifier: Apache-2.0
// The faults of the network in memory, and that a seed repeats a run exactly.
#include "xcf/memory/memory_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "xcf/test_cluster.h"

namespace testudo::xcf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::Envelope heartbeat(std::uint64_t number) {
  v1::Envelope envelope;
  envelope.mutable_heartbeat()->set_number(number);
  return envelope;
}

class MemoryNetworkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    a = &cluster.add({.name = "a"});
    b = &cluster.add({.name = "b"});
    a->bus->add_member(b->member);
    b->bus->add_member(a->member);
    cluster.executor().run_for(1s);
    ASSERT_TRUE(a->is_up(*b) && b->is_up(*a));
  }
  MemoryCluster cluster;
  TestNode* a = nullptr;
  TestNode* b = nullptr;
};

TEST_F(MemoryNetworkTest, DelaysEachMessageByItsLinksDelay) {
  cluster.network.set_delay("b", "a", 100ms);
  ASSERT_TRUE(a->bus->send("b", heartbeat(1)));
  cluster.executor().run_for(99ms);
  EXPECT_THAT(b->numbers, ElementsAre());
  cluster.executor().run_for(4ms);
  EXPECT_THAT(b->numbers, ElementsAre(1));
}

TEST_F(MemoryNetworkTest, DeliversAfterAShortCutWhatWasSentBeforeAndDuringIt) {
  ASSERT_TRUE(a->bus->send("b", heartbeat(1)));
  cluster.network.cut("a", "b");
  ASSERT_TRUE(a->bus->send("b", heartbeat(2)));
  cluster.executor().run_for(1s);
  EXPECT_THAT(b->numbers, ElementsAre());
  cluster.network.heal("a", "b");
  ASSERT_TRUE(a->bus->send("b", heartbeat(3)));
  cluster.executor().run_for(1s);
  EXPECT_THAT(b->numbers, ElementsAre(1, 2, 3));
  cluster.executor().run_for(5s);
  EXPECT_TRUE(a->downs.empty());
}

TEST_F(MemoryNetworkTest, TakesALinkDownThatStaysCutAndLosesWhatWasUnderWay) {
  cluster.network.cut("a", "b");
  ASSERT_TRUE(a->bus->send("b", heartbeat(1)));
  cluster.executor().run_for(4s);
  EXPECT_THAT(a->downs["b"], HasSubstr("keepalive"));
  EXPECT_THAT(b->downs["a"], HasSubstr("keepalive"));
  EXPECT_FALSE(a->bus->send("b", heartbeat(2)));
  cluster.network.heal("a", "b");
  cluster.executor().run_for(5s);
  EXPECT_EQ(a->ups["b"], 2);
  ASSERT_TRUE(a->bus->send("b", heartbeat(3)));
  cluster.executor().run_for(1s);
  EXPECT_THAT(b->numbers, ElementsAre(3));
}

TEST_F(MemoryNetworkTest, IsolatesANodeFromOldAndNewPeers) {
  cluster.network.isolate("a");
  TestNode& c = cluster.add({.name = "c"});
  for (TestNode* node : {a, b}) {
    c.bus->add_member(node->member);
    node->bus->add_member(c.member);
  }
  cluster.executor().run_for(5s);
  EXPECT_EQ(c.ups.size(), 1U) << "b";
  EXPECT_TRUE(a->downs.contains("b"));
  cluster.network.rejoin("a");
  cluster.executor().run_for(5s);
  EXPECT_EQ(c.ups["a"], 1);
  EXPECT_EQ(a->ups["b"], 2);
}

TEST_F(MemoryNetworkTest, BreaksALinkAtOnceAndConnectsAgain) {
  ASSERT_TRUE(a->bus->send("b", heartbeat(1)));
  cluster.network.break_link("a", "b");
  cluster.executor().run_for(1s);
  EXPECT_TRUE(a->downs.contains("b") && b->downs.contains("a"));
  EXPECT_EQ(a->ups["b"], 2);
  EXPECT_THAT(b->numbers, ElementsAre());
}

// A transcript of arrivals with their times, under jitter and cuts.
std::vector<std::string> run(std::uint64_t seed) {
  facility::TestExecutor executor(facility::TestExecutor::kVirtual);
  MemoryNetwork network(executor, seed, {.delay = 1ms, .jitter = 5ms});
  std::vector<std::string> transcript;
  std::map<std::string, std::unique_ptr<Bus>> buses;
  const std::vector<std::string> names = {"a", "b", "c"};
  for (const auto& name : names) {
    v1::Hello hello;
    hello.set_node(name);
    hello.set_cluster("c1");
    const auto note = [&executor, &transcript, name](const std::string& what) {
      transcript.push_back(std::to_string(executor.now().time_since_epoch().count()) + " " + name + " " + what);
    };
    buses[name] = network.join(executor, {.node = name});
    buses[name]->start(
        hello, {.up = [note](const v1::Hello& h) { note("up " + h.node()); },
                .down = [note](const std::string& n, const std::string&) { note("down " + n); },
                .received = [note](const std::string& n, const v1::Envelope& m) { note(n + m.ShortDebugString()); },
                .refused = {}});
    for (const auto& other : names) buses[name]->add_member({.name = other, .control = {}});
  }
  executor.run_for(100ms);
  for (std::uint64_t i = 0; i < 30; ++i) {
    for (const auto& from : names) {
      for (const auto& to : names) buses[from]->send(to, heartbeat(i));
    }
    if (i == 10) network.cut("a", "b");
    if (i == 20) network.break_link("b", "c");
    if (i == 25) network.heal("a", "b");
    executor.run_for(2ms);
  }
  executor.run_for(1s);
  return transcript;
}

TEST(MemoryNetwork, RepeatsARunExactlyFromItsSeed) {
  const auto first = run(7);
  EXPECT_GT(first.size(), 100U);
  EXPECT_EQ(run(7), first);
  EXPECT_NE(run(8), first);
}

}  // namespace
}  // namespace testudo::xcf
