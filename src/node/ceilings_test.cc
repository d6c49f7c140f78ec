// SPDX-License-Identifier: Apache-2.0
#include "node/ceilings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "facility/memory/memory_facility.h"
#include "facility/memory/memory_store.h"
#include "facility/test_executor.h"

namespace testudo::node {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

constexpr IpAddress kDvipa(0xc0000264);
constexpr SaId kSa(0x2900000001);
const std::string kOwnerKey = "/testudo/c1/owner/192.0.2.100";
const std::string kKey = "/testudo/c1/ceiling/0000002900000001";

class CeilingsTest : public testing::Test {
 protected:
  CeilingsTest() : store(executor, {.latency = 10ms}), facility(store.connect(executor, "owner")) {
    facility->compare_and_set({.key = kOwnerKey, .value = "owner"}, [this](Result<facility::CasOutcome> outcome) {
      epoch = Epoch(outcome->revision.value());
    });
    executor.run_for(1s);
    ceilings.emplace(
        *facility, executor, "/testudo/c1/", [](IpAddress a) { return "/testudo/c1/owner/" + a.to_string(); },
        [this](SaId sa, SeqNo last) { reserved.emplace_back(sa, last); },
        [this](const std::string& line) { notes.push_back(line); });
  }

  void reserve(std::uint64_t last) {
    ceilings->reserve({.sa = kSa, .dvipa = kDvipa, .epoch = epoch, .last = SeqNo(last)});
  }
  std::string stored() const {
    const auto found = store.entries().find(kKey);
    return found == store.entries().end() ? "none" : found->second.value;
  }

  facility::TestExecutor executor{facility::TestExecutor::kVirtual};
  facility::MemoryStore store;
  std::unique_ptr<facility::Facility> facility;
  Epoch epoch;
  std::vector<std::pair<SaId, SeqNo>> reserved;
  std::vector<std::string> notes;
  std::optional<Ceilings> ceilings;
};

TEST_F(CeilingsTest, GrantsWhatTheFacilityHas) {
  reserve(1000);
  EXPECT_THAT(reserved, IsEmpty());  // not before it is written
  EXPECT_EQ(ceilings->waiting(), 1u);
  executor.run_for(1s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000))));
  EXPECT_EQ(stored(), "1000");
  reserve(2000);
  executor.run_for(1s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000)), Pair(kSa, SeqNo(2000))));
  EXPECT_EQ(stored(), "2000");
  EXPECT_EQ(ceilings->waiting(), 0u);
  reserve(1500);  // is there: answered at once, and the key does not go back
  EXPECT_EQ(reserved.back(), std::pair(kSa, SeqNo(2000)));
  executor.run_for(1s);
  EXPECT_EQ(stored(), "2000");
}

TEST_F(CeilingsTest, WritesTheNewestRequestAfterTheOneUnderWay) {
  reserve(1000);
  reserve(2000);
  reserve(3000);
  executor.run_for(1s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000)), Pair(kSa, SeqNo(3000))));
  EXPECT_EQ(stored(), "3000");
}

TEST_F(CeilingsTest, TriesUntilTheFacilityIsBack) {
  store.set_reachable("owner", false);
  reserve(1000);
  executor.run_for(10s);
  EXPECT_EQ(ceilings->waiting(), 1u);
  EXPECT_THAT(reserved, IsEmpty());
  EXPECT_THAT(notes, SizeIs(1));  // said once, not at each try
  store.set_reachable("owner", true);
  executor.run_for(5s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000))));
  EXPECT_EQ(ceilings->waiting(), 0u);
}

// The write was done, its answer lost: the revision that is expected next is not the one we know.
TEST_F(CeilingsTest, GoesOnAfterALostAnswer) {
  reserve(1000);
  executor.run_for(15ms);  // arrived, not yet answered
  store.set_reachable("owner", false);
  EXPECT_EQ(stored(), "1000");
  executor.run_for(5s);
  reserve(900);  // a smaller request must not lower what is written
  store.set_reachable("owner", true);
  executor.run_for(5s);
  ASSERT_THAT(reserved, SizeIs(1));
  EXPECT_EQ(reserved[0], std::pair(kSa, SeqNo(1000)));
  EXPECT_EQ(stored(), "1000");
  reserve(2000);
  executor.run_for(1s);
  EXPECT_EQ(stored(), "2000");
}

// Spec G5: whose ownership is over reserves nothing, even if it does not know yet.
TEST_F(CeilingsTest, StopsWhenTheOwnershipIsOver) {
  reserve(1000);
  executor.run_for(1s);
  facility->remove(kOwnerKey, facility::Revision(epoch.value()), [](auto) {});
  facility->compare_and_set({.key = kOwnerKey, .value = "another"}, [](auto) {});
  executor.run_for(1s);
  reserve(2000);
  executor.run_for(5s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000))));
  EXPECT_EQ(stored(), "1000");
  EXPECT_THAT(notes, ElementsAre(HasSubstr("is over")));
  EXPECT_EQ(ceilings->waiting(), 0u);
}

TEST_F(CeilingsTest, StopsWhenItWasNeverOwner) {
  epoch = Epoch(epoch.value() + 1);
  reserve(1000);
  executor.run_for(5s);
  EXPECT_THAT(reserved, IsEmpty());
  EXPECT_EQ(stored(), "none");
  EXPECT_THAT(notes, SizeIs(1));
}

TEST_F(CeilingsTest, ForgetsAnSaAndItsKey) {
  reserve(1000);
  executor.run_for(1s);
  ceilings->forget(kSa);
  executor.run_for(1s);
  EXPECT_EQ(stored(), "none");
}

TEST_F(CeilingsTest, ForgetsAnSaThatIsBeingWritten) {
  reserve(1000);
  ceilings->forget(kSa);
  executor.run_for(1s);
  EXPECT_EQ(stored(), "none");
  EXPECT_THAT(reserved, IsEmpty());
}

// ---- numbers that have a name ----

class NamedCeilings : public CeilingsTest {
 protected:
  Result<Ceilings::Opened> open(Ceilings& of) {
    std::optional<Result<Ceilings::Opened>> got;
    of.open({.name = "00ff", .dvipa = kDvipa, .epoch = epoch, .mark = ++marks},
            [&](Result<Ceilings::Opened> o) { got = o; });
    executor.run_for(1s);
    return got ? *got : fail("no answer");
  }
  std::string named() const {
    const auto found = store.entries().find("/testudo/c1/manual-ceiling/00ff");
    return found == store.entries().end() ? "none" : found->second.value;
  }
  void put(const std::string& value) {
    facility->compare_and_set({.key = "/testudo/c1/manual-ceiling/00ff", .value = value}, [](auto) {});
    executor.run_for(1s);
  }
  /// Another process: it knows only what the facility has.
  Ceilings another() {
    return Ceilings(
        *facility, executor, "/testudo/c1/", [](IpAddress a) { return "/testudo/c1/owner/" + a.to_string(); },
        [this](SaId sa, SeqNo last) { theirs.emplace_back(sa, last); }, [](const std::string&) {});
  }
  std::vector<std::pair<SaId, SeqNo>> theirs;
  std::uint64_t marks = 0;
};

TEST_F(NamedCeilings, BeginBehindWhatWasEverSetAside) {
  auto opened = open(*ceilings);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->first(), SeqNo(1));
  ceilings->adopt(kSa, *opened);
  reserve(1000);
  executor.run_for(1s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000))));
  EXPECT_EQ(stored(), "none");
  ceilings->forget(kSa);  // unloaded: what was used stays known
  executor.run_for(1s);
  opened = open(*ceilings);
  EXPECT_EQ(opened->first(), SeqNo(1001));
  Ceilings restarted = another();
  opened = open(restarted);
  EXPECT_EQ(opened->first(), SeqNo(1001));
  EXPECT_TRUE(named().starts_with("1000 ")) << named();
}

TEST_F(NamedCeilings, WhoOpenedLastRaisesThem) {
  ceilings->adopt(kSa, *open(*ceilings));
  reserve(1000);
  executor.run_for(1s);
  Ceilings newer = another();
  const auto theirs_opened = open(newer);
  ASSERT_TRUE(theirs_opened);
  EXPECT_EQ(theirs_opened->first(), SeqNo(1001));
  newer.adopt(SaId(2), *theirs_opened);
  reserve(2000);  // the older one: never again
  executor.run_for(1s);
  newer.reserve({.sa = SaId(2), .dvipa = kDvipa, .epoch = epoch, .last = SeqNo(3000)});
  executor.run_for(1s);
  reserve(4000);
  executor.run_for(1s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000))));
  EXPECT_THAT(theirs, ElementsAre(Pair(SaId(2), SeqNo(3000))));
  EXPECT_THAT(notes, ElementsAre(HasSubstr("somebody else's")));
  EXPECT_EQ(ceilings->waiting(), 0u);
}

TEST_F(NamedCeilings, GoOnAfterALostAnswer) {
  ceilings->adopt(kSa, *open(*ceilings));
  reserve(1000);
  executor.run_for(15ms);  // arrived, not yet answered
  store.set_reachable("owner", false);
  executor.run_for(5s);
  store.set_reachable("owner", true);
  executor.run_for(5s);
  EXPECT_THAT(reserved, ElementsAre(Pair(kSa, SeqNo(1000))));
}

TEST_F(NamedCeilings, AreNotOpenedByWhoIsNoOwnerOrCannotReadThem) {
  epoch = Epoch(epoch.value() + 1);
  EXPECT_FALSE(open(*ceilings));
  EXPECT_EQ(named(), "none");
  epoch = Epoch(epoch.value() - 1);
  put("what?");
  EXPECT_THAT(open(*ceilings).error().message, HasSubstr("holds no number"));
  store.set_reachable("owner", false);
  std::optional<bool> opened;
  ceilings->open({.name = "00", .dvipa = kDvipa, .epoch = epoch}, [&](const auto& o) { opened = o.has_value(); });
  executor.run_for(30s);
  EXPECT_EQ(opened, false);
}

// Somebody has deleted the key: nobody knows any more what was used.
TEST_F(NamedCeilings, StopWhenTheirKeyIsGone) {
  const auto opened = open(*ceilings);
  ceilings->adopt(kSa, *opened);
  facility->remove("/testudo/c1/manual-ceiling/00ff", opened->revision, [](auto) {});
  executor.run_for(1s);
  reserve(1000);
  executor.run_for(1s);
  reserve(2000);
  executor.run_for(5s);
  EXPECT_THAT(reserved, IsEmpty());
  EXPECT_EQ(named(), "none");
}

TEST_F(CeilingsTest, MayEndWhileItWaits) {
  reserve(1000);
  ceilings.reset();
  executor.run_for(5s);
  EXPECT_THAT(reserved, IsEmpty());
}

}  // namespace
}  // namespace testudo::node
