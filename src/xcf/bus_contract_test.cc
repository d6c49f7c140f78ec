// SPDX-License-Identifier: Apache-2.0
// What every Bus must do, run against the one in memory (virtual time) and the one over gRPC (loopback, real TLS).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "facility/test_executor.h"
#include "xcf/bus.h"
#include "xcf/test_cluster.h"

namespace testudo::xcf {
namespace {

using facility::TestExecutor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Duration kSoon = 10s;

class BusContract : public ::testing::TestWithParam<ClusterMaker> {
 protected:
  void SetUp() override { cluster_ = GetParam().make(); }
  TestExecutor& executor() { return cluster_->executor(); }
  bool until(const std::function<bool()>& done) { return executor().run_until(done, kSoon); }

  TestNode& node(const std::string& name, const std::string& cluster = "c1", std::uint32_t version = 0,
                 const std::string& authority = "ca") {
    return cluster_->add({.name = name, .cluster = cluster, .version = version, .authority = authority});
  }
  void join(TestNode& a, TestNode& b) {
    a.bus->add_member(b.member);
    b.bus->add_member(a.member);
  }
  void join_and_wait(TestNode& a, TestNode& b) {
    join(a, b);
    ASSERT_TRUE(until([&] { return a.is_up(b) && b.is_up(a); })) << a.log() << b.log();
  }

  std::unique_ptr<TestCluster> cluster_;
};

v1::Envelope heartbeat(std::uint64_t number) {
  v1::Envelope envelope;
  envelope.mutable_heartbeat()->set_number(number);
  return envelope;
}

TEST_P(BusContract, BringsALinkUpOnBothSidesWithTheOthersHello) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  join_and_wait(a, b);
  EXPECT_EQ(a.hellos.at("b").node_id(), b.hello.node_id());
  EXPECT_EQ(b.hellos.at("a").node_id(), a.hello.node_id());
  EXPECT_EQ(b.hellos.at("a").version(), kProtocolVersion);
}

TEST_P(BusContract, DeliversInOrderBothWays) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  join_and_wait(a, b);
  std::vector<std::uint64_t> expected;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    expected.push_back(i);
    ASSERT_TRUE(a.bus->send("b", heartbeat(i)));
    ASSERT_TRUE(b.bus->send("a", heartbeat(i)));
  }
  ASSERT_TRUE(until([&] { return a.numbers.size() >= 200 && b.numbers.size() >= 200; }));
  EXPECT_EQ(a.numbers, expected);
  EXPECT_EQ(b.numbers, expected);
}

TEST_P(BusContract, DeliversALargeMessageWholeAndWithItsKeys) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  join_and_wait(a, b);
  v1::Envelope envelope;
  for (int i = 0; i < 2000; ++i)
    envelope.mutable_install()->add_sas()->set_key(std::string(36, static_cast<char>(i)));
  const std::string sent = envelope.SerializeAsString();
  ASSERT_TRUE(a.bus->send("b", envelope));
  EXPECT_EQ(envelope.SerializeAsString(), sent);
  ASSERT_TRUE(until([&] { return !b.messages.empty(); }));
  EXPECT_EQ(b.messages[0], sent);
}

TEST_P(BusContract, SendsNothingToANodeThatIsNotUp) {
  TestNode& a = node("a");
  EXPECT_FALSE(a.bus->send("b", heartbeat(1)));
  TestNode& b = node("b");
  join_and_wait(a, b);
  EXPECT_FALSE(a.bus->send("c", heartbeat(1)));
}

TEST_P(BusContract, WaitsUntilBothKnowEachOther) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  a.bus->add_member(b.member);
  executor().run_for(300ms);
  EXPECT_TRUE(a.hellos.empty());
  EXPECT_TRUE(b.hellos.empty());
  b.bus->add_member(a.member);
  EXPECT_TRUE(until([&] { return a.is_up(b) && b.is_up(a); }));
  EXPECT_THAT(a.refusals, ElementsAre());
  EXPECT_THAT(b.refusals, ElementsAre());
}

TEST_P(BusContract, LinksThreeNodesPairwise) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  TestNode& c = node("c");
  join(a, b);
  join(b, c);
  join(a, c);
  ASSERT_TRUE(until([&] { return a.ups.size() == 2 && b.ups.size() == 2 && c.ups.size() == 2; }));
  ASSERT_TRUE(c.bus->send("a", heartbeat(7)));
  ASSERT_TRUE(until([&] { return !a.numbers.empty(); }));
  EXPECT_TRUE(b.numbers.empty());
}

TEST_P(BusContract, TellsThatAPeerHasGoneAndConnectsWhenItIsBack) {
  for (const std::string restarted : {"a", "b"}) {
    SCOPED_TRACE("restarted: " + restarted);
    cluster_ = GetParam().make();
    node("a");
    node("b");
    const std::string stays = restarted == "a" ? "b" : "a";
    join_and_wait(cluster_->get("a"), cluster_->get("b"));
    TestNode& survivor = cluster_->get(stays);
    cluster_->stop(restarted);
    ASSERT_TRUE(until([&] { return survivor.downs.contains(restarted); }));
    EXPECT_FALSE(survivor.bus->send(restarted, heartbeat(1)));

    TestNode& back = node(restarted);
    back.bus->add_member(survivor.member);
    survivor.bus->add_member(back.member);
    ASSERT_TRUE(until([&] { return survivor.ups[restarted] == 2 && back.ups[stays] == 1; }));
    ASSERT_TRUE(survivor.bus->send(restarted, heartbeat(9)));
    ASSERT_TRUE(until([&] { return !back.numbers.empty(); }));
    EXPECT_THAT(back.numbers, ElementsAre(9));
  }
}

TEST_P(BusContract, ClosesTheLinkOfARemovedMemberAndLeavesItClosed) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  join_and_wait(a, b);
  b.bus->remove_member("a");
  ASSERT_TRUE(until([&] { return a.downs.contains("b") && b.downs.contains("a"); }));
  executor().run_for(500ms);
  EXPECT_EQ(b.ups["a"], 1);
  EXPECT_EQ(a.ups["b"], 1);
  b.bus->add_member(a.member);
  EXPECT_TRUE(until([&] { return a.ups["b"] == 2 && b.ups["a"] == 2; }));
}

TEST_P(BusContract, ResetsALinkWhoseQueueIsFull) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  join_and_wait(a, b);
  std::size_t sent = 0;
  while (sent < 10 * kTestQueueMessages && a.bus->send("b", heartbeat(sent))) ++sent;
  EXPECT_GE(sent, kTestQueueMessages);
  EXPECT_LE(sent, kTestQueueMessages + 1);
  EXPECT_FALSE(a.bus->send("b", heartbeat(0)));
  ASSERT_TRUE(until([&] { return a.downs.contains("b") && b.downs.contains("a"); }));
  EXPECT_THAT(a.downs["b"], HasSubstr("queue of messages to node b is full"));
  ASSERT_TRUE(until([&] { return a.ups["b"] == 2 && b.ups["a"] == 2; }));
  b.numbers.clear();
  ASSERT_TRUE(a.bus->send("b", heartbeat(5)));
  ASSERT_TRUE(until([&] { return !b.numbers.empty(); }));
  EXPECT_THAT(b.numbers, ElementsAre(5));
}

TEST_P(BusContract, BoundsTheQueueInBytesToo) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  join_and_wait(a, b);
  v1::Envelope large;
  large.mutable_install()->add_sas()->set_key(std::string(kTestQueueBytes + 1, 'k'));
  EXPECT_FALSE(a.bus->send("b", large));
  EXPECT_TRUE(until([&] { return a.downs.contains("b"); }));
}

TEST_P(BusContract, RefusesAnotherProtocolVersionOnBothSidesAndSaysWhichToUpgrade) {
  TestNode& a = node("a", "c1", kProtocolVersion + 1);
  TestNode& b = node("b");
  join(a, b);
  ASSERT_TRUE(until([&] { return !a.refusals.empty() && !b.refusals.empty(); }));
  const std::string newer = std::to_string(kProtocolVersion + 1), ours = std::to_string(kProtocolVersion);
  EXPECT_EQ(b.refusals[0],
            "a: node a speaks protocol version " + newer + ", this node (b) speaks " + ours + ": upgrade node b");
  EXPECT_THAT(a.refusals[0], HasSubstr("b: node b refuses this node: node a speaks protocol version " + newer));
  EXPECT_TRUE(a.hellos.empty());
  EXPECT_TRUE(b.hellos.empty());
}

TEST_P(BusContract, SaysOnceWhyItRefuses) {
  TestNode& a = node("a", "c1", kProtocolVersion + 1);
  TestNode& b = node("b");
  join(a, b);
  ASSERT_TRUE(until([&] { return !a.refusals.empty() && !b.refusals.empty(); }));
  executor().run_for(3s);
  EXPECT_EQ(a.refusals.size(), 1U);
  EXPECT_EQ(b.refusals.size(), 1U);
}

TEST_P(BusContract, RefusesAnotherCluster) {
  TestNode& a = node("a", "c2");
  TestNode& b = node("b");
  join(a, b);
  ASSERT_TRUE(until([&] { return !a.refusals.empty() && !b.refusals.empty(); }));
  EXPECT_THAT(b.refusals[0], HasSubstr("node a is of cluster 'c2', this node is of 'c1'"));
}

TEST_P(BusContract, RefusesACertificateOfAnotherAuthority) {
  for (const std::string stranger : {"a", "b"}) {
    SCOPED_TRACE("of another authority: " + stranger);
    cluster_ = GetParam().make();
    TestNode& a = node("a", "c1", 0, stranger == "a" ? "other" : "ca");
    TestNode& b = node("b", "c1", 0, stranger == "b" ? "other" : "ca");
    join(a, b);
    ASSERT_TRUE(until([&] { return !a.refusals.empty(); }));
    EXPECT_THAT(a.refusals[0], HasSubstr("certificate"));
    executor().run_for(500ms);
    EXPECT_TRUE(a.hellos.empty());
    EXPECT_TRUE(b.hellos.empty());
  }
}

TEST_P(BusContract, EndsWithoutDelayWhateverIsUnderWay) {
  TestNode& a = node("a");
  TestNode& b = node("b");
  a.bus->add_member({.name = "zz", .control = {.address = IpAddress(0x7f000001), .port = 1}});
  join_and_wait(a, b);
  for (std::uint64_t i = 0; i < kTestQueueMessages; ++i) ASSERT_TRUE(a.bus->send("b", heartbeat(i)));
  cluster_->stop("a");
  cluster_->stop("b");
  executor().run_for(100ms);
}

INSTANTIATE_TEST_SUITE_P(Buses, BusContract, ::testing::Values(memory_cluster(), grpc_cluster()),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace testudo::xcf
