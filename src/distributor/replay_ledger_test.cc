// SPDX-License-Identifier: Apache-2.0
#include "distributor/replay_ledger.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"

namespace testudo::distributor {
namespace {

constexpr NodeId kA(2), kB(3);
constexpr std::uint32_t kFlow = 100, kOther = 200;

wire::ReplayCommit accepted(std::uint64_t n) {
  return {.sa = SaId(1), .base = SeqNo(n), .accepted = 1, .rejected = 0};
}
wire::ReplayCommit rejected(std::uint64_t n) {
  return {.sa = SaId(1), .base = SeqNo(n), .accepted = 0, .rejected = 1};
}

/// Number 50 is brought into a state; then a packet with it comes, of flow kFlow, for node A.
struct Row {
  const char* what;
  void (*before)(ReplayLedger&);
  Replay unauthenticated;  // check()
  Replay genuine;          // authenticated()
};

constexpr Replay kForward = Replay::kForward, kReplay = Replay::kReplay, kTooOld = Replay::kTooOld,
                 kFirst = Replay::kAuthenticateFirst;

const Row kRows[] = {
    {"never met", [](ReplayLedger&) {}, kForward, kForward},
    {"pending at A, same flow", [](ReplayLedger& l) { l.forwarded(SeqNo(50), kA, kFlow); }, kForward, kReplay},
    {"pending at A, another flow", [](ReplayLedger& l) { l.forwarded(SeqNo(50), kA, kOther); }, kFirst, kForward},
    {"pending at B, same flow", [](ReplayLedger& l) { l.forwarded(SeqNo(50), kB, kFlow); }, kFirst, kReplay},
    {"pending at B, another flow", [](ReplayLedger& l) { l.forwarded(SeqNo(50), kB, kOther); }, kFirst, kForward},
    {"accepted by A",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kA, kFlow);
       l.commit(kA, accepted(50));
     },
     kReplay, kReplay},
    {"accepted by the owner", [](ReplayLedger& l) { l.seen_by_owner(SeqNo(50)); }, kReplay, kReplay},
    {"rejected by B",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kB, kFlow);
       l.commit(kB, rejected(50));
     },
     kForward, kForward},
    {"pending at B, rejected by A",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kB, kFlow);
       l.commit(kA, rejected(50));
     },
     kFirst, kReplay},
    {"two copies at B, one rejected",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kB, kFlow);
       l.forwarded(SeqNo(50), kB, kFlow);
       l.commit(kB, rejected(50));
     },
     kFirst, kReplay},
    {"rejected by B, there again, and the first report comes twice",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kB, kFlow);
       l.commit(kB, rejected(50));
       l.forwarded(SeqNo(50), kB, kFlow);
       l.commit(kB, rejected(50));
     },
     kFirst, kReplay},
    {"accepted and rejected in one report",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kB, kFlow);
       l.commit(kB, {.sa = SaId(1), .base = SeqNo(50), .accepted = 1, .rejected = 1});
     },
     kReplay, kReplay},
    {"accepted, then a late report of another copy's rejection",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kB, kFlow);
       l.commit(kB, accepted(50));
       l.commit(kB, rejected(50));
     },
     kReplay, kReplay},
    {"pending at B, B died",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kB, kFlow);
       l.node_died(kB);
     },
     kReplay, kReplay},
    {"pending at A, B died",
     [](ReplayLedger& l) {
       l.forwarded(SeqNo(50), kA, kFlow);
       l.node_died(kB);
     },
     kForward, kReplay},
    {"the top is 561: the last number behind it", [](ReplayLedger& l) { l.seen_by_owner(SeqNo(561)); }, kForward,
     kForward},
    {"the top is 562", [](ReplayLedger& l) { l.seen_by_owner(SeqNo(562)); }, kTooOld, kTooOld},
    {"far beyond", [](ReplayLedger& l) { l.seen_by_owner(SeqNo(1'000'000)); }, kTooOld, kTooOld},
};

TEST(ReplayLedger, TruthTable) {
  for (const Row& row : kRows) {
    ReplayLedger ledger(32, {.size = 1024});
    row.before(ledger);
    EXPECT_EQ(ledger.check(SeqNo(50), kA, kFlow), row.unauthenticated) << row.what;
    EXPECT_EQ(ledger.authenticated(SeqNo(50), kFlow), row.genuine) << row.what;
  }
}

TEST(ReplayLedger, AForgedNumberMovesNothing) {
  ReplayLedger ledger(32, {.size = 1024});
  ledger.seen_by_owner(SeqNo(10));
  EXPECT_EQ(ledger.check(SeqNo(10 + 512), kA, kFlow), kForward);
  EXPECT_EQ(ledger.check(SeqNo(10 + 513), kA, kFlow), kFirst);
  EXPECT_EQ(ledger.check(SeqNo(~0ull), kA, kFlow), kFirst);
  ledger.forwarded(SeqNo(500), kA, kFlow);
  ledger.forwarded(SeqNo(~0ull), kA, kFlow);
  ledger.commit(kA, rejected(500));
  EXPECT_EQ(ledger.top(), SeqNo(10));
  EXPECT_EQ(ledger.check(SeqNo(0), kA, kFlow), kTooOld);
}

TEST(ReplayLedger, RemembersAcrossAMoveOfTheWindow) {
  ReplayLedger ledger(32, {.size = 1024});
  ledger.forwarded(SeqNo(400), kB, kFlow);
  ledger.seen_by_owner(SeqNo(399));
  EXPECT_EQ(ledger.authenticated(SeqNo(900), kFlow), kForward);  // moves the top to 900
  EXPECT_EQ(ledger.top(), SeqNo(900));
  EXPECT_EQ(ledger.check(SeqNo(400), kA, kFlow), kFirst);
  EXPECT_EQ(ledger.check(SeqNo(399), kA, kFlow), kReplay);
  EXPECT_EQ(ledger.check(SeqNo(900 + 512), kA, kFlow), kForward);
  ledger.seen_by_owner(SeqNo(1800));
  EXPECT_EQ(ledger.check(SeqNo(399 + 1024), kA, kFlow), kForward);  // the place of 399 is free for it
  EXPECT_EQ(ledger.check(SeqNo(400 + 1024), kA, kFlow), kForward);
  EXPECT_EQ(ledger.check(SeqNo(1800), kA, kFlow), kReplay);
}

TEST(ReplayLedger, IsAtLeastFourReplayWindowsLong) {
  ReplayLedger ledger(1024, {.size = 64});
  ledger.seen_by_owner(SeqNo(5000));
  EXPECT_EQ(ledger.check(SeqNo(5000 - 2047), kA, kFlow), kForward);
  EXPECT_EQ(ledger.check(SeqNo(5000 - 2048), kA, kFlow), kTooOld);
}

/// A cluster in small: genuine packets, their replays, and forgeries with the same numbers; flows move between
/// targets. A target accepts what is genuine and new to its own window. Reports are delayed, repeated and lost.
class Cluster {
 public:
  explicit Cluster(std::uint64_t seed) : rng_(seed), ledger_(32, {.size = 256}) {}

  void step() {
    switch (random(10)) {
      case 0:
        flow_node_[random(kFlows)] = static_cast<std::uint16_t>(2 + random(3));
        return;
      case 1:
      case 2:
        return report();
      case 3:
        return packet(near(), random(kFlows), false);  // forged
      case 4:
        if (!genuine_.empty()) {  // a replay, mostly of something recent
          const std::uint64_t n = near();
          if (genuine_.contains(n)) packet(n, genuine_[n], true);
        }
        return;
      default:
        if (random(50) == 0) next_ += random(400);  // the peer's numbers have gaps
        genuine_[next_] = random(kFlows);
        if (random(20) != 0) packet(next_, genuine_[next_], true);  // else delayed, comes as a "replay" later
        ++next_;
    }
  }

  std::uint64_t accepted_twice = 0, delivered = 0, replays_refused = 0, to_owner = 0;

 private:
  static constexpr std::uint32_t kFlows = 6;

  std::uint32_t random(std::uint64_t below) { return static_cast<std::uint32_t>(rng_.next() % below); }
  std::uint64_t near() {
    const std::uint64_t back = random(200);
    return next_ + 5 > back ? next_ + 5 - back : 1;
  }

  void packet(std::uint64_t n, std::uint32_t flow, bool genuine) {
    const NodeId node(flow_node_[flow]);
    Replay verdict = ledger_.check(SeqNo(n), node, flow);
    if (verdict == Replay::kAuthenticateFirst) {
      ++to_owner;
      if (!genuine) return;
      verdict = ledger_.authenticated(SeqNo(n), flow);
    }
    if (verdict != Replay::kForward) {
      replays_refused += genuine;
      return;
    }
    if (node == NodeId(4)) {  // the owner itself is the target: it authenticates
      if (!genuine || ledger_.authenticated(SeqNo(n), flow) != Replay::kForward) return;
      ledger_.seen_by_owner(SeqNo(n));
      return accept(n);
    }
    ledger_.forwarded(SeqNo(n), node, flow);
    wire::ReplayCommit commit{.sa = SaId(1), .base = SeqNo(n), .accepted = 0, .rejected = 0};
    if (genuine) {
      if (!targets_[node.value()].insert(n).second) return;  // its own window
      accept(n);
      commit.accepted = 1;
    } else {
      commit.rejected = 1;
    }
    reports_.push_back({node, commit});
  }

  void accept(std::uint64_t n) {
    ++delivered;
    if (!accepted_.insert(n).second) ++accepted_twice;
  }

  void report() {
    if (reports_.empty()) return;
    const std::size_t i = random(std::min<std::size_t>(reports_.size(), 8));  // out of order
    const auto [node, commit] = reports_[i];
    if (random(5) != 0) ledger_.commit(node, commit);
    if (random(4) != 0) reports_.erase(reports_.begin() + static_cast<std::ptrdiff_t>(i));  // else again
  }

  SeededRng rng_;
  ReplayLedger ledger_;
  std::uint64_t next_ = 1;
  std::uint16_t flow_node_[kFlows] = {2, 3, 4, 2, 3, 2};
  std::map<std::uint64_t, std::uint32_t> genuine_;  // number → flow
  std::map<std::uint16_t, std::set<std::uint64_t>> targets_;
  std::set<std::uint64_t> accepted_;
  std::deque<std::pair<NodeId, wire::ReplayCommit>> reports_;
};

TEST(ReplayLedgerProperty, NothingIsAcceptedTwice) {
  std::uint64_t delivered = 0, refused = 0, to_owner = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Cluster cluster(seed);
    for (int i = 0; i < 3000; ++i) cluster.step();
    ASSERT_EQ(cluster.accepted_twice, 0u) << "seed " << seed;
    delivered += cluster.delivered;
    refused += cluster.replays_refused;
    to_owner += cluster.to_owner;
  }
  EXPECT_GT(delivered, 200'000u);  // most of the genuine packets
  EXPECT_GT(refused, 1'000u);
  EXPECT_GT(to_owner, 1'000u);
}

}  // namespace
}  // namespace testudo::distributor
