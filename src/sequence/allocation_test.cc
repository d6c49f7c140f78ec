// SPDX-License-Identifier: Apache-2.0
// Once their SAs are there, sequencer, lessee and outbox take no memory.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "sequence/lessee.h"
#include "sequence/replay_commits.h"
#include "sequence/sequencer.h"

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

namespace testudo::sequence {
namespace {

constexpr NodeId kOwner(1);
constexpr IpAddress kDvipa(1);
constexpr Epoch kEpoch(9);
constexpr std::uint64_t kSas = 20;

/// One worker that is owner and target at once: every message is looped back.
class Loop {
 public:
  Loop() {
    for (std::uint64_t sa = 1; sa <= kSas; ++sa) {
      sequencer_.add_sa(SaId(sa), {.dvipa = kDvipa, .epoch = kEpoch, .first = SeqNo(1)});
      sequencer_.set_ceiling(SaId(sa), SeqNo(1 << 30));
      lessee_.add_sa(SaId(sa), {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner});
      commits_.add_sa(SaId(sa), {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner});
    }
  }

  /// Returns how many numbers were taken.
  std::uint64_t turn() {
    now_ += 10us;
    std::uint64_t taken = 0;
    for (std::uint64_t sa = 1; sa <= kSas; ++sa) {
      while (const Numbers numbers = lessee_.take(SaId(sa), 10, now_)) {
        taken += numbers.count;
        lessee_.sent(SaId(sa), numbers.last());
        commits_.accepted(SaId(sa), numbers.first, now_);
        if (taken % 7 == 0) break;
      }
    }
    lessee_.poll(now_, outbox_);
    commits_.poll(now_, outbox_);
    sequencer_.tick(now_, outbox_);
    sequencer_.clear_events();
    for (std::size_t i = 0; i < outbox_.size(); ++i) receive(*wire::FastMessage::parse(outbox_.datagram(i).bytes));
    outbox_.clear();
    return taken;
  }

 private:
  void receive(const wire::FastMessage& message) {
    lessee_.receive(message, now_);
    sequencer_.receive(message, now_, outbox_);
  }

  Time now_{1s};
  Sequencer sequencer_{kOwner, {.sas_max = kSas}};
  Lessee lessee_{kOwner, 1, {.sas_max = kSas}};
  ReplayCommits commits_{kOwner, 1, {.sas_max = kSas}};
  wire::FastOutbox outbox_;
};

TEST(Allocation, NoneInSteadyState) {
  Loop loop;
  for (int i = 0; i < 100; ++i) (void)loop.turn();
  const std::uint64_t before = allocations;
  std::uint64_t taken = 0;
  for (int i = 0; i < 1000; ++i) taken += loop.turn();
  EXPECT_EQ(allocations, before);
  EXPECT_GT(taken, 10'000u);
}

}  // namespace
}  // namespace testudo::sequence
