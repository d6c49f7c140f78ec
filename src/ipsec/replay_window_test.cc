// SPDX-License-Identifier: Apache-2.0
#include "ipsec/replay_window.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <vector>

namespace testudo::ipsec {
namespace {

enum class Is { kNew, kSeen, kOld };

Is is(const ReplayWindow& window, std::uint64_t n) {
  const auto drop = window.check(SeqNo(n));
  if (!drop) return Is::kNew;
  return *drop == Drop::kReplay ? Is::kSeen : Is::kOld;
}

// One window of 32, row after row: check says `verdict`; a new number is committed.
TEST(ReplayWindow, TruthTable) {
  struct Row {
    int number;
    std::uint64_t seq;
    Is verdict;
  };
  const Row rows[] = {
      {1, 0, Is::kSeen},  // no packet has number 0
      {2, 1, Is::kNew},
      {3, 1, Is::kSeen},
      {4, 0, Is::kSeen},
      {5, 3, Is::kNew},
      {6, 2, Is::kNew},  // late, within the window
      {7, 2, Is::kSeen},
      {8, 32, Is::kNew},
      {9, 4, Is::kNew},
      {10, 33, Is::kNew},  // now 2 … 33
      {11, 1, Is::kOld},
      {12, 2, Is::kSeen},
      {13, 5, Is::kNew},
      {14, 64, Is::kNew},  // 33 … 64
      {15, 32, Is::kOld},
      {16, 33, Is::kSeen},
      {17, 34, Is::kNew},
      {18, 63, Is::kNew},
      {19, 64, Is::kSeen},
      {20, 128, Is::kNew},  // 97 … 128: exactly two words on
      {21, 96, Is::kOld},
      {22, 97, Is::kNew},
      {23, 127, Is::kNew},
      {24, 1'000'000, Is::kNew},  // a leap of more than the ring
      {25, 128, Is::kOld},
      {26, 999'968, Is::kOld},
      {27, 999'969, Is::kNew},
      {28, 999'999, Is::kNew},
      {29, 0xffffffff, Is::kNew},
      {30, 0x100000000, Is::kNew},  // ESN: into the next subspace
      {31, 0xffffffff, Is::kSeen},
      {32, 0xfffffffe, Is::kNew},
      {33, 0xffffffe0, Is::kOld},
      {34, 0xffffffe1, Is::kNew},
      {35, 0xffffffffffffffff, Is::kNew},
      {36, 0xffffffffffffffff, Is::kSeen},
      {37, 0, Is::kSeen},
  };
  ReplayWindow window(32);
  for (const Row& row : rows) {
    ASSERT_EQ(is(window, row.seq), row.verdict) << "row " << row.number;
    if (row.verdict == Is::kNew) window.commit(SeqNo(row.seq));
  }
}

// Against the definition: a set of all numbers ever committed, and the highest of them.
RC_GTEST_PROP(ReplayWindow, IsTheDefinition, ()) {
  const auto size = *rc::gen::inRange<std::uint32_t>(kReplayWindowMin, kReplayWindowMax + 1);
  ReplayWindow window(size);
  std::set<std::uint64_t> seen = {0};
  std::uint64_t at = 1;
  const auto steps = *rc::gen::container<std::vector<int>>(rc::gen::inRange(-5000, 5000));
  for (const int step : steps) {
    const int scaled = *rc::gen::element(step, step / 64, step % 3);
    at = scaled < 0 && at <= static_cast<std::uint64_t>(-scaled) ? 1 : at + static_cast<std::uint64_t>(scaled);
    const std::uint64_t newest = *seen.rbegin();
    const Is expected = at + size <= newest ? Is::kOld : seen.contains(at) ? Is::kSeen : Is::kNew;
    RC_ASSERT(is(window, at) == expected);
    window.commit(SeqNo(at));  // behind the window: changes nothing
    if (expected != Is::kOld) seen.insert(at);
    RC_ASSERT(window.newest() == SeqNo(*seen.rbegin()));
  }
}

TEST(ReplayWindow, EverySizeRemembersExactlyItsOwn) {
  for (std::uint32_t size = kReplayWindowMin; size <= kReplayWindowMax; size += size < 300 ? 1 : 61) {
    for (const std::uint64_t newest : {10'000ull, 10'047ull, 10'048ull, 10'111ull}) {
      ReplayWindow window(size);
      for (std::uint64_t n = newest - size - 100; n <= newest; ++n) window.commit(SeqNo(n));
      ASSERT_EQ(is(window, newest - size), Is::kOld) << size;
      for (std::uint64_t n = newest - size + 1; n <= newest; ++n) ASSERT_EQ(is(window, n), Is::kSeen) << size;
      for (std::uint64_t n = newest + 1; n <= newest + 2 * size; ++n) ASSERT_EQ(is(window, n), Is::kNew) << size;
    }
  }
}

// RFC 4303 appendix A2.2, cases A and B, at their edges.
TEST(InferSequence, TruthTable) {
  struct Row {
    int number;
    std::uint64_t newest;
    std::uint32_t window, low;
    std::uint64_t full;
  };
  const Row rows[] = {
      {1, 0, 32, 1, 1},
      {2, 0, 32, 0xffffffff, 0xffffffff},  // nothing before the first number
      {3, 31, 32, 0, 0},                   // case A begins: bottom is 0
      {4, 31, 32, 0xffffffff, 0xffffffff},
      {5, 32, 32, 0, 0x100000000},  // before the bottom: the next subspace
      {6, 32, 32, 1, 1},
      {7, 1000, 32, 969, 969},  // the bottom itself
      {8, 1000, 32, 968, 0x1000003c8},
      {9, 0xffffffff, 32, 0, 0x100000000},
      {10, 0xffffffff, 32, 0xffffffe0, 0xffffffe0},
      {11, 0xffffffff, 32, 0xffffffdf, 0x1ffffffdf},
      {12, 0x100000000, 32, 0xffffffff, 0xffffffff},  // case B: the window spans two subspaces
      {13, 0x100000000, 32, 0xffffffe1, 0xffffffe1},
      {14, 0x100000000, 32, 0xffffffe0, 0x1ffffffe0},
      {15, 0x10000001e, 32, 0xffffffff, 0xffffffff},  // the last of case B
      {16, 0x10000001f, 32, 0xffffffff, 0x1ffffffff},
      {17, 0x500000005, 4096, 0xfffff006, 0x4fffff006},
      {18, 0x500000005, 4096, 0xfffff005, 0x5fffff005},
      {19, 0x500000005, 4096, 6, 0x500000006},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(infer_sequence(SeqNo(row.newest), row.window, row.low), SeqNo(row.full)) << "row " << row.number;
  }
}

// Whatever lies in the window, or less than 2^32 - W ahead, is told apart.
RC_GTEST_PROP(InferSequence, FindsEveryNumberThatCanArrive, ()) {
  const auto window = *rc::gen::inRange<std::uint32_t>(kReplayWindowMin, kReplayWindowMax + 1);
  const auto newest = *rc::gen::inRange<std::uint64_t>(window, 1ull << 40);
  const auto ahead = *rc::gen::inRange<std::uint64_t>(0, (1ull << 32) - window);
  const auto behind = *rc::gen::inRange<std::uint64_t>(0, window);
  for (const std::uint64_t seq : {newest + ahead, newest - behind}) {
    RC_ASSERT(infer_sequence(SeqNo(newest), window, static_cast<std::uint32_t>(seq)) == SeqNo(seq));
  }
}

}  // namespace
}  // namespace testudo::ipsec
