// SPDX-License-Identifier: Apache-2.0
// Ledgers that share a memory, against the rules said number by number.
#include "distributor/replay_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "base/rng.h"
#include "distributor/replay_ledger.h"

namespace testudo::distributor {
namespace {

constexpr NodeId kA(2), kB(3);
constexpr std::uint32_t kFlow = 100, kOther = 200;
constexpr std::size_t kGroups = 1000;

wire::ReplayCommit accepted(std::uint64_t n) {
  return {.sa = SaId(1), .base = SeqNo(n), .accepted = 1, .rejected = 0};
}

TEST(ReplayMemory, WithoutRoomTheOwnerAuthenticates) {
  ReplayMemory memory(2);
  ReplayLedger ledger(32, {.size = 1024, .memory = &memory}), other(32, {.size = 1024, .memory = &memory});
  ledger.forwarded(SeqNo(8), kA, kFlow);
  EXPECT_EQ(other.check(SeqNo(8), kA, kFlow), Replay::kForward);
  other.forwarded(SeqNo(8), kA, kFlow);
  EXPECT_EQ(ledger.check(SeqNo(16), kA, kFlow), Replay::kAuthenticateFirst);
  EXPECT_EQ(ledger.check(SeqNo(8), kA, kFlow), Replay::kForward);  // its target judges, as ever
  // A forgery goes no further. The genuine packet does, and no second one.
  EXPECT_EQ(ledger.authenticated(SeqNo(16), kFlow), Replay::kForward);
  ledger.forwarded(SeqNo(16), kA, kFlow);
  EXPECT_EQ(ledger.check(SeqNo(16), kA, kFlow), Replay::kReplay);
  EXPECT_EQ(ledger.authenticated(SeqNo(16), kOther), Replay::kReplay);
  EXPECT_TRUE(ledger.report(SaId(1), 32).sees(SeqNo(16)));
  other.commit(kA, accepted(8));
  EXPECT_EQ(ledger.check(SeqNo(24), kA, kFlow), Replay::kForward);
}

TEST(ReplayMemory, GroupsComeBack) {
  ReplayMemory memory(kGroups);
  ReplayLedger ledger(32, {.size = 256, .memory = &memory});
  for (std::uint64_t n = 1; n <= 64; ++n) ledger.forwarded(SeqNo(n), kA, kFlow);
  EXPECT_EQ(memory.left(), kGroups - 9);  // 1 to 7, …, 64
  ledger.commit(kA, {.sa = SaId(1), .base = SeqNo(1), .accepted = 0xff, .rejected = 0xff00});
  EXPECT_EQ(memory.left(), kGroups - 7);  // 17 to 23, …, 64
  ledger.node_died(kB);
  EXPECT_EQ(memory.left(), kGroups - 7);
  ledger.forwarded(SeqNo(40), kB, kFlow);
  ledger.node_died(kA);
  EXPECT_EQ(memory.left(), kGroups - 1);
  ledger.seen_by_owner(SeqNo(100'000));  // what is behind the window is forgotten as its place is used again
  for (std::uint64_t n = 99'900; n < 100'100; ++n) ledger.seen_by_owner(SeqNo(n));
  EXPECT_EQ(memory.left(), kGroups);
}

TEST(ReplayMemory, ThePlaceOfALedgerThatEndedIsClean) {
  ReplayMemory memory(kGroups);
  for (int round = 0; round < 200; ++round) {
    ReplayLedger ledger(32, {.size = 256, .memory = &memory});
    for (std::uint64_t n = 1; n <= 128; ++n) {
      ASSERT_EQ(ledger.check(SeqNo(n), kB, kOther), Replay::kForward);
      if (n % 3 != 0) ledger.forwarded(SeqNo(n), kA, kFlow);
      if (n % 3 == 0) ledger.seen_by_owner(SeqNo(n));
    }
    ledger.commit(kA, {.sa = SaId(1), .base = SeqNo(1), .accepted = 0, .rejected = ~std::uint64_t{0}});
  }
  EXPECT_EQ(memory.left(), kGroups);
}

TEST(ReplayMemory, ADeathIsOfAllLedgersOrOfOne) {
  ReplayMemory memory(kGroups);
  ReplayLedger one(32, {.size = 1024, .memory = &memory}), two(32, {.size = 1024, .memory = &memory});
  for (ReplayLedger* ledger : {&one, &two}) {
    ledger->forwarded(SeqNo(50), kA, kFlow);
    ledger->forwarded(SeqNo(51), kB, kFlow);
  }
  one.node_died(kA);
  EXPECT_EQ(one.check(SeqNo(50), kA, kFlow), Replay::kReplay);
  EXPECT_EQ(two.check(SeqNo(50), kA, kFlow), Replay::kForward);
  memory.node_died(kB);
  EXPECT_EQ(one.check(SeqNo(51), kB, kFlow), Replay::kReplay);
  EXPECT_EQ(two.check(SeqNo(51), kB, kFlow), Replay::kReplay);
  EXPECT_EQ(two.check(SeqNo(50), kA, kFlow), Replay::kForward);
}

/// The rules of ReplayLedger for one number at a time, with nothing forgotten but what is behind the window.
class Rules {
 public:
  explicit Rules(std::uint64_t size) : half_(size / 2) {}

  [[nodiscard]] Replay check(std::uint64_t n, NodeId node, std::uint32_t flow) const {
    if (n <= floor_) return Replay::kTooOld;
    if (n > top_ + half_) return Replay::kAuthenticateFirst;
    const Number& number = at(n);
    if (number.seen) return Replay::kReplay;
    if (!number.pending || (number.node == node && number.flow == flow)) return Replay::kForward;
    return Replay::kAuthenticateFirst;
  }
  [[nodiscard]] Replay authenticated(std::uint64_t n, std::uint32_t flow) {
    if (n <= floor_) return Replay::kTooOld;
    move_to(n);
    const Number& number = at(n);
    return number.seen || (number.pending && number.flow == flow) ? Replay::kReplay : Replay::kForward;
  }
  void forwarded(std::uint64_t n, NodeId node, std::uint32_t flow) {
    if (n <= floor_ || n > top_ + half_ || at(n).seen) return;
    Number& number = numbers_[n];
    number = {.node = node, .flow = flow, .pending = true, .seen = false, .copies = number.copies + 1};
  }
  void see(std::uint64_t n) {
    if (n <= floor_) return;
    move_to(n);
    numbers_[n].pending = false;
    numbers_[n].seen = true;
  }
  void reject(std::uint64_t n, NodeId from) {
    if (n <= floor_ || n > top_ + half_ || !at(n).pending) return;
    if (at(n).node == from && at(n).copies == 1) numbers_[n].pending = false;
  }
  void node_died(NodeId node) {
    for (auto& [n, number] : numbers_) {
      if (number.pending && number.node == node) number.pending = false, number.seen = true;
    }
  }
  [[nodiscard]] std::uint64_t top() const { return top_; }
  [[nodiscard]] bool seen(std::uint64_t n) const { return n <= floor_ || at(n).seen; }

 private:
  struct Number {
    NodeId node;
    std::uint32_t flow = 0;
    bool pending = false, seen = false;
    std::uint32_t copies = 0;
  };
  [[nodiscard]] Number at(std::uint64_t n) const {
    const auto found = numbers_.find(n);
    return found == numbers_.end() ? Number{} : found->second;
  }
  void move_to(std::uint64_t n) {
    top_ = std::max(top_, n);
    floor_ = std::max(floor_, top_ > half_ ? top_ - half_ : 0);
    numbers_.erase(numbers_.begin(), numbers_.upper_bound(floor_));
  }
  std::uint64_t half_, top_ = 0, floor_ = 0;
  std::map<std::uint64_t, Number> numbers_;
};

class Pair {
 public:
  Pair(ReplayMemory& memory, std::uint32_t size)
      : ledger_(32, {.size = size, .memory = &memory}), rules_(size), size_(size) {}

  /// A step at random, and a look at some numbers.
  void step(SeededRng& rng) {
    const auto random = [&rng](std::uint64_t below) { return rng.next() % below; };
    const std::uint64_t top = rules_.top();
    const std::uint64_t back = random(size_ + 20);
    std::uint64_t n = top + size_ / 2 + 10 > back ? top + size_ / 2 + 10 - back : 1;
    if (random(4) == 0) n = top + 1;
    if (random(300) == 0) n = top + random(4 * size_);
    const NodeId node(static_cast<std::uint16_t>(2 + random(3)));
    const auto flow = static_cast<std::uint32_t>(random(3));
    switch (random(8)) {
      case 0:
        ASSERT_EQ(ledger_.authenticated(SeqNo(n), flow), rules_.authenticated(n, flow)) << n;
        break;
      case 1:
        if (n > top + size_ / 2 && random(20) != 0) break;  // far ahead: rarely
        ledger_.seen_by_owner(SeqNo(n));
        rules_.see(n);
        break;
      case 2:
      case 3:
        commit(node, n, rng);
        break;
      default:
        ledger_.forwarded(SeqNo(n), node, flow);
        rules_.forwarded(n, node, flow);
    }
    if (random(2000) == 0) ledger_.node_died(node), rules_.node_died(node);
    ASSERT_EQ(ledger_.top().value(), rules_.top());
    for (const std::uint64_t look : {n, n ^ 1, n + 64, n + size_ / 2, n > size_ ? n - size_ / 2 : 1, n + size_}) {
      ASSERT_EQ(ledger_.check(SeqNo(look), node, flow), rules_.check(look, node, flow)) << look << " after " << n;
    }
    if (random(500) == 0) compare_report();
  }
  void node_died(NodeId node) { rules_.node_died(node); }

 private:
  void commit(NodeId from, std::uint64_t base, SeededRng& rng) {
    const std::uint64_t accepted = rng.next() & rng.next() & rng.next() & (rng.next() >> (rng.next() & 63));
    const std::uint64_t rejected = rng.next() & rng.next();
    ledger_.commit(from, {.sa = SaId(1), .base = SeqNo(base), .accepted = accepted, .rejected = rejected});
    for (std::uint64_t i = 64; i-- > 0;) {
      if ((accepted >> i & 1) != 0) rules_.see(base + i);
    }
    for (std::uint64_t i = 0; i < 64; ++i) {
      if ((rejected & ~accepted) >> i & 1) rules_.reject(base + i, from);
    }
  }
  void compare_report() {
    const WindowReport report = ledger_.report(SaId(1), size_);
    for (std::uint64_t n = 1 + (rules_.top() > size_ ? rules_.top() - size_ : 0); n < rules_.top() + size_; ++n) {
      ASSERT_EQ(report.sees(SeqNo(n)), rules_.seen(n)) << n;
    }
  }
  ReplayLedger ledger_;
  Rules rules_;
  std::uint32_t size_;
};

TEST(ReplayMemoryProperty, IsAsTheRulesSay) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SeededRng rng(seed);
    ReplayMemory memory(kGroups);
    std::array<std::optional<Pair>, 4> pairs;
    for (int i = 0; i < 8000; ++i) {
      auto& pair = pairs[rng.next() % pairs.size()];
      if (!pair || rng.next() % 1000 == 0) pair.emplace(memory, rng.next() % 2 == 0 ? 128u : 512u);
      pair->step(rng);
      if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << ", step " << i;
      if (rng.next() % 3000 != 0) continue;
      memory.node_died(kB);
      for (auto& each : pairs) {
        if (each) each->node_died(kB);
      }
    }
    for (auto& each : pairs) each.reset();
    ASSERT_EQ(memory.left(), kGroups);
  }
}

}  // namespace
}  // namespace testudo::distributor
