// SPDX-License-Identifier: Apache-2.0
#include "sequence/replay_commits.h"

#include <gtest/gtest.h>

#include <vector>

namespace testudo::sequence {
namespace {

constexpr Time kStart = Time{} + 1s;

class ReplayCommitsTest : public testing::Test {
 protected:
  ReplayCommitsTest() {
    commits_.add_sa(SaId(1), {.dvipa = IpAddress(1), .epoch = Epoch(9), .owner = NodeId(1), .window = 64});
  }

  std::vector<wire::ReplayCommit> poll(Time now) {
    commits_.poll(now, outbox_);
    std::vector<wire::ReplayCommit> entries;
    for (std::size_t i = 0; i < outbox_.size(); ++i) {
      const auto message = *wire::FastMessage::parse(outbox_.datagram(i).bytes);
      last_header_ = message.header();
      for (std::size_t k = 0; k < message.count(); ++k) entries.push_back(message.entry<wire::ReplayCommit>(k));
    }
    outbox_.clear();
    return entries;
  }

  ReplayCommits commits_{NodeId(2), 77, {.sas_max = 8}};
  wire::FastOutbox outbox_;
  wire::FastHeader last_header_;
};

TEST_F(ReplayCommitsTest, LeaveAfterAnEighthOfTheWindow) {
  for (std::uint64_t n = 1; n <= 7; ++n) commits_.accepted(SaId(1), SeqNo(n), kStart);
  EXPECT_TRUE(poll(kStart).empty());
  commits_.rejected(SaId(1), SeqNo(100), kStart);
  const auto entries = poll(kStart);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0], (wire::ReplayCommit{SaId(1), SeqNo(0), 0xfe, 0}));
  EXPECT_EQ(entries[1], (wire::ReplayCommit{SaId(1), SeqNo(64), 0, 1ull << 36}));
  EXPECT_EQ(last_header_.epoch, Epoch(9));
  EXPECT_EQ(last_header_.sender, NodeId(2));
  EXPECT_TRUE(poll(kStart + 1s).empty());
}

TEST_F(ReplayCommitsTest, LeaveAfterFiveMilliseconds) {
  commits_.accepted(SaId(1), SeqNo(3), kStart);
  commits_.accepted(SaId(1), SeqNo(4), kStart + 4ms);
  EXPECT_EQ(commits_.next_timer(), kStart + 5ms);
  EXPECT_TRUE(poll(kStart + 5ms - Duration(1)).empty());
  EXPECT_EQ(poll(kStart + 5ms).size(), 1u);
  EXPECT_EQ(commits_.next_timer(), Time::max());
}

TEST_F(ReplayCommitsTest, GoToTheNewOwnerAfterATakeover) {
  commits_.accepted(SaId(1), SeqNo((7ull << 32) + 3), kStart);
  commits_.set_owner(IpAddress(1), Epoch(12), NodeId(5));
  commits_.poll(kStart + 5ms, outbox_);
  EXPECT_EQ(outbox_.datagram(0).to, NodeId(5));
  EXPECT_EQ(poll(kStart + 5ms)[0].base, SeqNo(7ull << 32));
  EXPECT_EQ(last_header_.epoch, Epoch(12));
}

// The new owner may have forwarded another packet with that number since.
TEST_F(ReplayCommitsTest, ForgetAtATakeoverWhatWasRejected) {
  commits_.rejected(SaId(1), SeqNo(3), kStart);
  commits_.accepted(SaId(1), SeqNo(4), kStart);
  commits_.set_owner(IpAddress(1), Epoch(12), NodeId(5));
  const auto entries = poll(kStart + 5ms);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0], (wire::ReplayCommit{SaId(1), SeqNo(0), 1 << 4, 0}));
}

TEST_F(ReplayCommitsTest, KeepWhatFitsAndForgetAnUnknownSa) {
  for (std::uint64_t i = 0; i < 100; ++i) commits_.accepted(SaId(1), SeqNo(64 * i), kStart);
  EXPECT_EQ(poll(kStart).size(), 20u);
  commits_.accepted(SaId(2), SeqNo(1), kStart);
  commits_.accepted(SaId(1), SeqNo(1), kStart);
  commits_.remove_sa(SaId(1));
  EXPECT_TRUE(poll(kStart + 1s).empty());
}

}  // namespace
}  // namespace testudo::sequence
