// SPDX-License-Identifier: Apache-2.0
// Takeover of replay windows: reports, the journal, its keeper, and what a new owner makes of them.
#include "distributor/replay_recovery.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "distributor/replay_journal.h"
#include "distributor/replay_ledger.h"
#include "distributor/replay_report.h"

namespace testudo::distributor {
namespace {

constexpr SaId kSa(7);
constexpr NodeId kKeeper(2), kT(3), kU(4);
constexpr Epoch kEpoch(5);
constexpr Time kStart = Time{} + 1s;
constexpr std::uint32_t kFlow = 100;

WindowReport seen(std::vector<std::uint64_t> numbers, std::uint64_t top, std::uint64_t floor = 0) {
  WindowReport report{.sa = kSa, .top = SeqNo(top), .floor = SeqNo(floor), .blocks = {}};
  for (const std::uint64_t n : numbers) report.see(SeqNo(n));
  return report;
}

// ---- reports ----

TEST(WindowReport, SaysWhatATargetHasAccepted) {
  ipsec::ReplayWindow window(32);
  for (const std::uint64_t n : {60, 70, 90, 91}) window.commit(SeqNo(n));
  const WindowReport report = report_of(kSa, window);
  EXPECT_EQ(report.top, SeqNo(91));
  EXPECT_EQ(report.floor, SeqNo(59));
  for (std::uint64_t n = 1; n < 200; ++n) {
    EXPECT_EQ(report.sees(SeqNo(n)), n <= 59 || n == 60 || n == 70 || n == 90 || n == 91) << n;
  }
  EXPECT_LE(report.blocks.size(), 2u);
}

TEST(WindowReport, TheUnionSeesWhatEitherSees) {
  WindowReport report = seen({70, 200}, 70, 10);
  report.merge(seen({71, 130, 300}, 300, 128));
  EXPECT_EQ(report.top, SeqNo(300));
  for (const std::uint64_t n : {1, 70, 71, 128, 130, 200, 300}) EXPECT_TRUE(report.sees(SeqNo(n))) << n;
  for (const std::uint64_t n : {129, 131, 199, 301}) EXPECT_FALSE(report.sees(SeqNo(n))) << n;
  EXPECT_EQ(report.blocks.size(), 3u);  // nothing is kept below the floor
}

/// A ledger of 256 numbers with something of everything: pending at T and U, seen, top 500.
ReplayLedger some_ledger() {
  ReplayLedger ledger(32, {.size = 256});
  ledger.seen_by_owner(SeqNo(500));
  ledger.seen_by_owner(SeqNo(480));
  ledger.forwarded(SeqNo(481), kT, kFlow);
  ledger.forwarded(SeqNo(510), kT, kFlow);
  ledger.forwarded(SeqNo(511), kU, kFlow);
  return ledger;
}

TEST(ReplayLedgerReport, ALedgerGoesOnWhereAnotherWas) {
  ReplayLedger before = some_ledger();
  before.node_died(kT);
  ReplayLedger ledger(32, {.size = 256}, before.report(kSa, 32));
  EXPECT_EQ(ledger.top(), SeqNo(500));
  EXPECT_EQ(ledger.check(SeqNo(468), kU, kFlow), Replay::kTooOld);
  EXPECT_EQ(ledger.check(SeqNo(469), kU, kFlow), Replay::kForward);
  for (const std::uint64_t n : {480, 481, 500, 510})
    EXPECT_EQ(ledger.check(SeqNo(n), kU, kFlow), Replay::kReplay) << n;
  EXPECT_EQ(ledger.check(SeqNo(511), kU, kFlow), Replay::kForward);  // U knows
  EXPECT_EQ(ledger.check(SeqNo(500 + 129), kU, kFlow), Replay::kAuthenticateFirst);
  ledger.seen_by_owner(SeqNo(700));
  EXPECT_EQ(ledger.check(SeqNo(700 - 128), kU, kFlow), Replay::kTooOld);
  EXPECT_EQ(ledger.check(SeqNo(700 - 127), kU, kFlow), Replay::kForward);
}

TEST(ReplayLedgerReport, OfALargerLedgerNothingIsForgotten) {
  ReplayLedger large(32, {.size = 4096});
  large.seen_by_owner(SeqNo(1));
  large.forwarded(SeqNo(1900), kT, kFlow);
  large.node_died(kT);
  const ReplayLedger small(32, {.size = 256}, large.report(kSa, 32));
  EXPECT_EQ(small.check(SeqNo(1), kU, kFlow), Replay::kTooOld);
  EXPECT_EQ(small.check(SeqNo(1900), kU, kFlow), Replay::kReplay);
}

TEST(ReplayLedgerReport, TheTopGivesTheHighHalf) {
  const ReplayLedger ledger(32, {.size = 256},
                            seen({(5ull << 32) + 3}, (5ull << 32) + 3, (4ull << 32) + 0xffff'fff0));
  EXPECT_EQ(ipsec::infer_sequence(ledger.top(), 128, 9), SeqNo((5ull << 32) + 9));
  EXPECT_EQ(ipsec::infer_sequence(ledger.top(), 128, 0xffff'fffe), SeqNo((4ull << 32) + 0xffff'fffe));
  EXPECT_EQ(ledger.check(SeqNo((5ull << 32) + 3), kT, kFlow), Replay::kReplay);
}

// ---- the keeper ----

ReplayRecord record(std::uint32_t copy, bool whole, std::vector<std::uint64_t> numbers, Epoch epoch = kEpoch) {
  return {.epoch = epoch, .copy = copy, .serial = 1, .whole = whole, .windows = {seen(std::move(numbers), 10)}};
}

TEST(ReplayKeeper, KeepsTheUnionInAnyOrder) {
  ReplayKeeper keeper;
  EXPECT_FALSE(keeper.keep(record(1, false, {9})));  // the beginning is missing
  EXPECT_TRUE(keeper.keep(record(1, true, {1})));
  EXPECT_TRUE(keeper.keep(record(1, false, {3})));
  EXPECT_TRUE(keeper.keep(record(1, false, {2})));
  EXPECT_TRUE(keeper.keep(record(1, true, {1})));  // once more
  EXPECT_EQ(keeper.windows().at(kSa), seen({1, 2, 3}, 10));
  EXPECT_EQ(keeper.epoch(), kEpoch);
}

TEST(ReplayKeeper, ANewCopyReplacesTheOldOne) {
  ReplayKeeper keeper;
  EXPECT_TRUE(keeper.keep(record(1, true, {1})));
  EXPECT_FALSE(keeper.keep(record(2, false, {2})));
  EXPECT_TRUE(keeper.keep(record(2, true, {2})));
  EXPECT_FALSE(keeper.keep(record(1, false, {3})));
  EXPECT_FALSE(keeper.keep(record(1, true, {1})));
  EXPECT_EQ(keeper.windows().at(kSa), seen({2}, 10));
}

TEST(ReplayKeeper, TakesNothingOfAStaleOwner) {
  ReplayKeeper keeper;
  EXPECT_TRUE(keeper.keep(record(1, true, {1})));
  keeper.fence(Epoch(6));
  EXPECT_FALSE(keeper.keep(record(1, false, {2})));
  EXPECT_FALSE(keeper.keep(record(2, true, {2})));
  EXPECT_EQ(keeper.windows().at(kSa), seen({1}, 10));  // for the report
  EXPECT_TRUE(keeper.keep(record(1, true, {4}, Epoch(6))));
}

// ---- the journal ----

class ReplayJournalTest : public testing::Test {
 protected:
  /// The keeper has everything, and the facility what is wanted.
  void settle() {
    for (const ReplayRecord& r : journal_.poll(now_ += 1s))
      journal_.acknowledged(journal_.keeper(), r.copy, r.serial);
    while (const auto wanted = journal_.wanted()) journal_.stored(*wanted);
  }
  void begin() {
    journal_.keep_with(kKeeper, {seen({1}, 1)});
    journal_.target_joined({kT, 1});
    settle();
  }
  std::vector<Witness> targets() { return journal_.wanted().value_or(stored_).targets; }

  ReplayJournal journal_{kEpoch};
  ReplayWitnesses stored_;
  Time now_ = kStart;
};

TEST_F(ReplayJournalTest, NothingIsReceivedBeforeTheKeeperHasTheWindows) {
  EXPECT_EQ(journal_.wanted(), std::nullopt);
  journal_.keep_with(kKeeper, {seen({1}, 1)});
  journal_.target_joined({kT, 1});
  EXPECT_EQ(journal_.wanted(), std::nullopt);
  const auto records = journal_.poll(now_);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_TRUE(records[0].whole);
  journal_.acknowledged(kT, records[0].copy, records[0].serial);  // not the keeper
  EXPECT_EQ(journal_.wanted(), std::nullopt);
  journal_.acknowledged(kKeeper, records[0].copy, records[0].serial);
  EXPECT_FALSE(journal_.active());
  EXPECT_FALSE(journal_.may_forward(kT));
  const ReplayWitnesses wanted{.epoch = kEpoch, .keeper = kKeeper, .targets = {{kT, 1}}};
  EXPECT_EQ(journal_.wanted(), wanted);
  journal_.stored(wanted);
  EXPECT_TRUE(journal_.active());
  EXPECT_TRUE(journal_.may_forward(kT));
  EXPECT_EQ(journal_.wanted(), std::nullopt);
}

TEST_F(ReplayJournalTest, WhatTheOwnerAcceptsWaitsForTheKeeper) {
  begin();
  const auto ticket = journal_.accepted(kSa, SeqNo(20));
  EXPECT_FALSE(journal_.is_safe(ticket));
  const ReplayRecord first = journal_.poll(now_)[0];
  EXPECT_EQ(first.windows, std::vector{seen({20}, 20)});
  const auto later = journal_.accepted(kSa, SeqNo(21));
  const ReplayRecord second = journal_.poll(now_)[0];
  journal_.acknowledged(kKeeper, second.copy, second.serial);
  EXPECT_FALSE(journal_.is_safe(ticket));
  EXPECT_TRUE(journal_.poll(now_ + 4ms).empty());
  EXPECT_EQ(journal_.poll(now_ + 5ms).size(), 1u);  // the first one again
  journal_.acknowledged(kKeeper, first.copy, first.serial);
  EXPECT_TRUE(journal_.is_safe(ticket));
  EXPECT_TRUE(journal_.is_safe(later));
}

TEST_F(ReplayJournalTest, ATargetThatDiedIsAWitnessUntilTheKeeperHasTheSnapshot) {
  begin();
  journal_.target_gone(kT, {seen({1, 30}, 1)});
  EXPECT_FALSE(journal_.may_forward(kT));
  EXPECT_EQ(journal_.wanted(), std::nullopt);
  journal_.target_joined({kT, 2});  // it has restarted
  EXPECT_EQ(targets(), (std::vector<Witness>{{kT, 1}, {kT, 2}}));
  settle();
  EXPECT_TRUE(journal_.may_forward(kT));
  EXPECT_EQ(journal_.wanted(), std::nullopt);
  journal_.target_gone(kT, {});
  settle();
  EXPECT_EQ(journal_.wanted(), std::nullopt);
  EXPECT_FALSE(journal_.may_forward(kT));
}

TEST_F(ReplayJournalTest, AFalseAlarmTakesTheTargetBack) {
  begin();
  journal_.target_gone(kT, {seen({1}, 1)});
  journal_.target_joined({kT, 1});
  settle();
  EXPECT_TRUE(journal_.may_forward(kT));
}

// The write that strikes it off may have arrived: whoever comes next would not ask it.
TEST_F(ReplayJournalTest, ATargetThatIsBeingStruckOffGetsNothingThoughItComesBack) {
  begin();
  journal_.target_gone(kT, {seen({1}, 1)});
  for (const ReplayRecord& r : journal_.poll(now_)) journal_.acknowledged(kKeeper, r.copy, r.serial);
  const ReplayWitnesses without = journal_.wanted().value();
  journal_.storing(without);
  journal_.target_joined({kT, 1});
  EXPECT_FALSE(journal_.may_forward(kT));
  journal_.stored(without);
  EXPECT_FALSE(journal_.may_forward(kT));
  settle();
  EXPECT_TRUE(journal_.may_forward(kT));
}

TEST_F(ReplayJournalTest, WithTwoKeepersInDoubtNothingIsSafe) {
  begin();
  const auto have_all = [&] {
    for (const ReplayRecord& r : journal_.poll(now_ += 1s))
      journal_.acknowledged(journal_.keeper(), r.copy, r.serial);
  };
  journal_.keep_with(kU, {seen({1}, 1)});
  have_all();
  journal_.storing(journal_.wanted().value());
  journal_.keep_with(kKeeper, {seen({1}, 1)});
  const auto ticket = journal_.accepted(kSa, SeqNo(20));
  have_all();
  EXPECT_FALSE(journal_.is_safe(ticket));
  settle();
  journal_.stored({.epoch = kEpoch, .keeper = kKeeper, .targets = {{kT, 1}}});
  EXPECT_TRUE(journal_.is_safe(ticket));
}

TEST_F(ReplayJournalTest, ANewKeeperCountsWhenItHasTheWindowsAndTheFacilitySaysSo) {
  begin();
  const auto ticket = journal_.accepted(kSa, SeqNo(20));
  journal_.target_gone(kT, {seen({1, 20}, 20)});
  journal_.keep_with(kU, {seen({1, 20}, 20)});
  const auto records = journal_.poll(now_);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_TRUE(records[0].whole);
  journal_.acknowledged(kU, records[0].copy, records[0].serial);
  EXPECT_FALSE(journal_.is_safe(ticket));  // who takes over would ask the former keeper
  const ReplayWitnesses wanted{.epoch = kEpoch, .keeper = kU, .targets = {{kT, 1}}};
  EXPECT_EQ(journal_.wanted(), wanted);  // T leaves only then
  journal_.stored(wanted);
  EXPECT_TRUE(journal_.is_safe(ticket));
  EXPECT_TRUE(targets().empty());
}

TEST_F(ReplayJournalTest, AnOwnerWithoutKeeperSaysSoFirst) {
  begin();
  journal_.keep_with(NodeId(), {});
  const auto ticket = journal_.accepted(kSa, SeqNo(20));
  EXPECT_TRUE(journal_.poll(now_).empty());
  EXPECT_FALSE(journal_.is_safe(ticket));
  EXPECT_EQ(journal_.wanted()->keeper, NodeId());
  settle();
  EXPECT_TRUE(journal_.is_safe(ticket));
}

// ---- recovery ----

MemberReport target(NodeId node, std::uint32_t incarnation, std::vector<WindowReport> windows) {
  return {.from = {node, incarnation}, .windows = std::move(windows), .record_epoch = {}, .record = {}};
}
MemberReport keeper(std::vector<WindowReport> record, Epoch epoch = kEpoch) {
  return {.from = {kKeeper, 1}, .windows = {}, .record_epoch = epoch, .record = std::move(record)};
}
const ReplayWitnesses kBefore{.epoch = kEpoch, .keeper = kKeeper, .targets = {{kT, 1}, {kU, 8}}};

TEST(ReplayRecovery, TakesTheUnionOfAllWitnesses) {
  ReplayRecovery recovery(kBefore);
  EXPECT_EQ(recovery.missing(), (std::vector{kKeeper, kT, kU}));
  recovery.report(target(kT, 1, {seen({50, 52}, 52, 20)}));
  recovery.report(target(kT, 1, {seen({50, 52}, 52, 20)}));
  recovery.report(keeper({seen({40}, 40)}));
  EXPECT_FALSE(recovery.done());
  EXPECT_EQ(recovery.window(kSa), std::nullopt);
  recovery.report(target(kU, 8, {seen({51}, 51, 19)}));
  EXPECT_TRUE(recovery.done());
  EXPECT_EQ(recovery.window(kSa), seen({40, 50, 51, 52}, 52, 20));
  EXPECT_EQ(recovery.window(SaId(99)), std::nullopt);  // the former owner did not receive on it
}

TEST(ReplayRecovery, WhoIsAskedInVainLosesTheWindows) {
  const struct {
    const char* what;
    void (*happens)(ReplayRecovery&);
  } rows[] = {
      {"a target died with the owner", [](ReplayRecovery& r) { r.gone(kT); }},
      {"a target has restarted", [](ReplayRecovery& r) { r.report(target(kT, 2, {seen({1}, 1)})); }},
      {"the keeper died with the owner", [](ReplayRecovery& r) { r.gone(kKeeper); }},
      {"the keeper has restarted", [](ReplayRecovery& r) { r.report(keeper({}, Epoch())); }},
      {"the keeper has an older record", [](ReplayRecovery& r) { r.report(keeper({seen({1}, 1)}, Epoch(4))); }},
  };
  for (const auto& row : rows) {
    ReplayRecovery recovery(kBefore);
    row.happens(recovery);
    recovery.report(target(kT, 1, {seen({1}, 1)}));
    recovery.report(target(kU, 8, {}));
    recovery.report(keeper({seen({1}, 1)}));
    EXPECT_TRUE(recovery.done()) << row.what;
    EXPECT_TRUE(recovery.lost()) << row.what;
    EXPECT_EQ(recovery.window(kSa), std::nullopt) << row.what;
  }
}

TEST(ReplayRecovery, ADeathAfterTheReportHarmsNothing) {
  ReplayRecovery recovery({.epoch = kEpoch, .keeper = kKeeper, .targets = {{kT, 1}}});
  recovery.report(target(kT, 1, {seen({9}, 9)}));
  recovery.gone(kT);
  recovery.gone(kU);  // was no witness
  recovery.report(keeper({seen({3}, 3)}));
  EXPECT_EQ(recovery.window(kSa), seen({3, 9}, 9));
}

TEST(ReplayRecovery, NobodyCanTellWhatAnOwnerWithoutKeeperHasAccepted) {
  ReplayRecovery recovery({.epoch = kEpoch, .keeper = {}, .targets = {{kT, 1}}});
  EXPECT_TRUE(recovery.done());
  EXPECT_TRUE(recovery.lost());
  EXPECT_TRUE(ReplayRecovery({}).done());  // there was no owner before
}

// T dies, then the owner: only the owner knew what T had accepted.
TEST(ReplayRecovery, OneAfterTheOther) {
  for (const bool acknowledged : {true, false}) {
    ReplayLedger ledger = some_ledger();
    ReplayJournal journal(kEpoch);
    ReplayKeeper keeper_state;
    const auto carry = [&] {
      for (const ReplayRecord& r : journal.poll(Time::max() - 1s)) {
        if (keeper_state.keep(r)) journal.acknowledged(kKeeper, r.copy, r.serial);
      }
    };
    ReplayWitnesses facility;
    const auto store = [&] {
      while (const auto wanted = journal.wanted()) journal.stored(facility = *wanted);
    };
    journal.keep_with(kKeeper, {ledger.report(kSa, 32)});
    journal.target_joined({kT, 1});
    journal.target_joined({kU, 8});
    carry();
    store();
    ledger.node_died(kT);
    journal.target_gone(kT, {ledger.report(kSa, 32)});
    if (acknowledged) carry();
    store();

    ReplayRecovery recovery(facility);
    recovery.gone(kT);
    recovery.report(target(kU, 8, {}));
    std::vector<WindowReport> kept;
    for (const auto& [sa, window] : keeper_state.windows()) kept.push_back(window);
    recovery.report(keeper(kept, keeper_state.epoch()));
    ASSERT_TRUE(recovery.done());
    const auto known = recovery.window(kSa);
    ASSERT_EQ(known.has_value(), acknowledged);
    if (!acknowledged) continue;
    EXPECT_TRUE(known->sees(SeqNo(510)) && known->sees(SeqNo(481)) && !known->sees(SeqNo(511)));
  }
}

}  // namespace
}  // namespace testudo::distributor
