// SPDX-License-Identifier: Apache-2.0
// What every Facility must do, run against the one in memory (virtual time) and a real etcd on loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "facility/facility.h"
#include "facility/test_stores.h"

namespace testudo::facility {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Duration kSoon = 15s;
constexpr Duration kTtl = 2s;
constexpr Duration kLongTtl = 60s;  // longer than kSoon: what vanishes meanwhile was not waited out

/// What a watch tells, as lines that read aloud: "k=v" and "k gone".
struct Seen {
  std::vector<std::string> lines;
  std::map<std::string, std::string> now;
  std::vector<Revision> revisions;

  std::function<void(const Event&)> sink() {
    return [this](const Event& event) {
      lines.push_back(event.entry.key + (event.deleted ? " gone" : "=" + event.entry.value));
      revisions.push_back(event.entry.modified);
      if (event.deleted) {
        now.erase(event.entry.key);
      } else {
        now[event.entry.key] = event.entry.value;
      }
    };
  }
};

class FacilityContract : public ::testing::TestWithParam<StoreMaker> {
 protected:
  void SetUp() override {
    store_ = GetParam().make();
    ASSERT_EQ(store_->trouble(), "");
    a_ = store_->connect("a");
    b_ = store_->connect("b");
    wait_until_it_answers(*a_);
    wait_until_it_answers(*b_);
  }
  void TearDown() override {
    a_.reset();
    b_.reset();
  }

  bool until(const std::function<bool()>& done) { return store_->executor().run_until(done, kSoon); }

  template <typename T>
  Result<T> wait(const std::function<void(Facility::Callback<T>)>& call) {
    std::optional<Result<T>> answer;
    int times = 0;
    call([&](Result<T> result) {
      answer = std::move(result);
      ++times;
    });
    EXPECT_EQ(times, 0) << "a callback must not run within the call";
    if (!until([&] { return answer.has_value(); })) return fail("the callback never ran");
    EXPECT_EQ(times, 1);
    return *answer;
  }
  Result<CasOutcome> cas(Facility& f, CompareAndSet request) {
    return wait<CasOutcome>([&](auto done) { f.compare_and_set(std::move(request), std::move(done)); });
  }
  Result<CasOutcome> put(Facility& f, const std::string& key, const std::string& value, Revision expected = {}) {
    return cas(f, {.key = key, .expected = expected, .value = value});
  }
  Result<CasOutcome> remove(Facility& f, const std::string& key, Revision expected) {
    return wait<CasOutcome>([&](auto done) { f.remove(key, expected, std::move(done)); });
  }
  Result<Facility::Listing> list(Facility& f, const std::string& prefix) {
    return wait<Facility::Listing>([&](auto done) { f.list(prefix, std::move(done)); });
  }
  Result<void> open(Facility& f, std::function<void()> lost, Duration ttl = kTtl) {
    return wait<void>([&](auto done) { f.open_session(ttl, std::move(done), std::move(lost)); });
  }
  std::vector<std::string> keys(Facility& f, const std::string& prefix) {
    std::vector<std::string> found;
    const auto listing = list(f, prefix);
    EXPECT_TRUE(listing.has_value());
    for (const Entry& entry : listing->entries) found.push_back(entry.key);
    return found;
  }
  void wait_until_it_answers(Facility& f) {
    for (int i = 0; i < 100; ++i) {
      if (list(f, "/").has_value()) return;
      store_->executor().run_for(100ms);
    }
    FAIL() << "the facility never answered";
  }

  std::unique_ptr<TestStore> store_;
  std::unique_ptr<Facility> a_;
  std::unique_ptr<Facility> b_;
};

TEST_P(FacilityContract, CreatesChangesAndRemovesAKeyByItsRevision) {
  const auto created = put(*a_, "/k", "one");
  ASSERT_TRUE(created.has_value()) << created.error().message;
  EXPECT_TRUE(created->done);
  EXPECT_FALSE(created->current.has_value());
  const auto changed = put(*b_, "/k", "two", created->revision);
  ASSERT_TRUE(changed->done);
  EXPECT_GT(changed->revision, created->revision);

  const auto listing = list(*a_, "/k");
  ASSERT_EQ(listing->entries.size(), 1U);
  EXPECT_EQ(listing->entries[0].value, "two");
  EXPECT_EQ(listing->entries[0].created, created->revision);
  EXPECT_EQ(listing->entries[0].modified, changed->revision);
  EXPECT_GE(listing->at, changed->revision);

  const auto stale = remove(*a_, "/k", created->revision);
  EXPECT_FALSE(stale->done);
  ASSERT_TRUE(stale->current.has_value());
  EXPECT_EQ(stale->current->modified, changed->revision);
  EXPECT_TRUE(remove(*a_, "/k", changed->revision)->done);
  EXPECT_THAT(keys(*a_, "/k"), ElementsAre());
  EXPECT_FALSE(remove(*a_, "/k", changed->revision)->done);
}

TEST_P(FacilityContract, ShowsTheLoserWhatIsThere) {
  ASSERT_TRUE(put(*a_, "/k", "mine")->done);
  const auto lost = put(*b_, "/k", "yours");
  ASSERT_TRUE(lost.has_value());
  EXPECT_FALSE(lost->done);
  ASSERT_TRUE(lost->current.has_value());
  EXPECT_EQ(lost->current->value, "mine");
  const auto nothing = put(*b_, "/other", "x", Revision{1});
  EXPECT_FALSE(nothing->done);
  EXPECT_FALSE(nothing->current.has_value());
}

TEST_P(FacilityContract, LetsExactlyOneWinEveryRace) {
  Revision last{};
  for (int round = 0; round < 20; ++round) {
    std::vector<CasOutcome> outcomes;
    const auto collect = [&](const Result<CasOutcome>& outcome) {
      ASSERT_TRUE(outcome.has_value());
      outcomes.push_back(*outcome);
    };
    for (Facility* f : {a_.get(), b_.get(), a_.get()}) {
      f->compare_and_set({.key = "/race", .expected = last, .value = std::to_string(round)}, collect);
    }
    ASSERT_TRUE(until([&] { return outcomes.size() == 3; }));
    int winners = 0;
    for (const auto& outcome : outcomes) winners += outcome.done ? 1 : 0;
    EXPECT_EQ(winners, 1);
    last = list(*a_, "/race")->entries.at(0).modified;
  }
}

TEST_P(FacilityContract, ListsByPrefixInKeyOrder) {
  for (const std::string key : {"/p/b", "/p/a", "/q/c", "/p/a/1", "/o"}) ASSERT_TRUE(put(*a_, key, "v")->done);
  EXPECT_THAT(keys(*b_, "/p/"), ElementsAre("/p/a", "/p/a/1", "/p/b"));
  EXPECT_THAT(keys(*b_, "/"), ElementsAre("/o", "/p/a", "/p/a/1", "/p/b", "/q/c"));
  EXPECT_THAT(keys(*b_, "/none"), ElementsAre());
}

TEST_P(FacilityContract, WritesBehindAFenceOnlyWhileItStands) {
  const auto owner = put(*a_, "/owner", "a");
  const CompareAndSet fenced{
      .key = "/ceiling", .value = "1", .fence_key = "/owner", .fence_created = owner->revision};
  const auto first = cas(*a_, fenced);
  ASSERT_TRUE(first->done);

  // The fence's value may change; its creation counts.
  const auto renewed = put(*a_, "/owner", "a again", owner->revision);
  auto second = fenced;
  second.expected = first->revision;
  second.value = "2";
  const auto after_renewal = cas(*a_, second);
  ASSERT_TRUE(after_renewal->done);

  ASSERT_TRUE(remove(*b_, "/owner", renewed->revision)->done);
  auto third = fenced;
  third.expected = after_renewal->revision;
  third.value = "3";
  EXPECT_FALSE(cas(*a_, third)->done) << "no fence";
  const auto new_owner = put(*b_, "/owner", "b");
  const auto refused = cas(*a_, third);
  EXPECT_FALSE(refused->done) << "another's fence";
  EXPECT_EQ(refused->current->value, "2");
  third.fence_created = new_owner->revision;
  EXPECT_TRUE(cas(*b_, third)->done);
}

TEST_P(FacilityContract, RefusesRequestsThatMakeNoSense) {
  const auto unbound = cas(*a_, {.key = "/k", .with_session = true});
  ASSERT_FALSE(unbound.has_value());
  EXPECT_THAT(unbound.error().message, HasSubstr("open_session"));
  EXPECT_FALSE(cas(*a_, {.key = "/k", .value = "", .fence_key = "/f"}).has_value());
  EXPECT_FALSE(cas(*a_, {.key = ""}).has_value());
  EXPECT_FALSE(remove(*a_, "/k", Revision{}).has_value());
  ASSERT_TRUE(open(*a_, [] {}).has_value());
  EXPECT_FALSE(open(*a_, [] {}).has_value());
}

TEST_P(FacilityContract, KeepsASessionAliveBeyondItsTtl) {
  bool lost = false;
  ASSERT_TRUE(open(*a_, [&] { lost = true; }).has_value());
  ASSERT_TRUE(cas(*a_, {.key = "/s/a", .value = "here", .with_session = true})->done);
  store_->executor().run_for(2 * kTtl + 500ms);
  EXPECT_FALSE(lost);
  EXPECT_THAT(keys(*b_, "/s/"), ElementsAre("/s/a"));
}

TEST_P(FacilityContract, RemovesTheKeysOfAClosedSessionAtOnceAndTellsWatchers) {
  bool lost = false;
  ASSERT_TRUE(open(
                  *a_, [&] { lost = true; }, kLongTtl)
                  .has_value());
  ASSERT_TRUE(cas(*a_, {.key = "/s/a", .value = "1", .with_session = true})->done);
  ASSERT_TRUE(cas(*a_, {.key = "/s/b", .value = "2", .with_session = true})->done);
  ASSERT_TRUE(put(*a_, "/s/stays", "3")->done);
  Seen seen;
  b_->watch("/s/", seen.sink());
  ASSERT_TRUE(until([&] { return seen.now.size() == 3; }));
  a_->close_session();
  ASSERT_TRUE(until([&] { return seen.now.size() == 1; }));
  EXPECT_TRUE(seen.now.contains("/s/stays"));
  EXPECT_FALSE(lost);
  EXPECT_TRUE(open(*a_, [] {}).has_value()) << "and a new one can be opened";
}

TEST_P(FacilityContract, RemovesTheKeysOfAClosedSessionAlsoWhenItsNodeEndsRightAfter) {
  ASSERT_TRUE(open(
                  *a_, [] {}, kLongTtl)
                  .has_value());
  ASSERT_TRUE(cas(*a_, {.key = "/s/a", .value = "1", .with_session = true})->done);
  a_->close_session();
  a_.reset();
  ASSERT_TRUE(until([&] { return keys(*b_, "/s/").empty(); }));
}

TEST_P(FacilityContract, EndsTheSessionOfANodeThatIsGone) {
  Seen seen;
  b_->watch("/s/", seen.sink());
  ASSERT_TRUE(open(*a_, [] {}).has_value());
  ASSERT_TRUE(cas(*a_, {.key = "/s/a", .value = "1", .with_session = true})->done);
  ASSERT_TRUE(until([&] { return !seen.now.empty(); }));
  a_.reset();
  ASSERT_TRUE(until([&] { return seen.now.empty(); }));
  EXPECT_THAT(seen.lines, ElementsAre("/s/a=1", "/s/a gone"));
}

TEST_P(FacilityContract, LosesTheSessionByItsOwnClockWhenNothingAnswers) {
  bool lost = false;
  ASSERT_TRUE(open(*a_, [&] { lost = true; }).has_value());
  ASSERT_TRUE(cas(*a_, {.key = "/s/a", .value = "1", .with_session = true})->done);
  store_->stop_answering();
  const Time cut = store_->executor().now();
  ASSERT_TRUE(until([&] { return lost; }));
  if (store_->time_is_exact()) {
    EXPECT_LE(store_->executor().now() - cut, kTtl);
  }
  store_->resume();
  wait_until_it_answers(*b_);
  EXPECT_TRUE(until([&] { return keys(*b_, "/s/").empty(); }));
  const auto late = cas(*a_, {.key = "/s/a", .value = "2", .with_session = true});
  EXPECT_FALSE(late.has_value()) << "the session is over until a new one is opened";
  ASSERT_TRUE(open(*a_, [] {}).has_value());
  EXPECT_TRUE(cas(*a_, {.key = "/s/a", .value = "2", .with_session = true})->done);
}

TEST_P(FacilityContract, TellsAWatchWhatIsThereAndThenEveryChangeInOrder) {
  const auto one = put(*a_, "/w/1", "a");
  ASSERT_TRUE(put(*a_, "/x", "not mine")->done);
  Seen seen;
  b_->watch("/w/", seen.sink());
  ASSERT_TRUE(until([&] { return seen.lines.size() == 1; }));
  const auto two = put(*a_, "/w/2", "b");
  const auto changed = put(*a_, "/w/1", "c", one->revision);
  ASSERT_TRUE(remove(*a_, "/w/2", two->revision)->done);
  ASSERT_TRUE(put(*a_, "/w/2", "d")->done);
  ASSERT_TRUE(remove(*a_, "/w/1", changed->revision)->done);
  ASSERT_TRUE(until([&] { return seen.lines.size() == 6; }));
  EXPECT_THAT(seen.lines, ElementsAre("/w/1=a", "/w/2=b", "/w/1=c", "/w/2 gone", "/w/2=d", "/w/1 gone"));
  EXPECT_TRUE(std::is_sorted(seen.revisions.begin(), seen.revisions.end()));
}

TEST_P(FacilityContract, LosesNoChangeThatComesWhileAWatchBegins) {
  Seen seen;
  b_->watch("/w/", seen.sink());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(put(*a_, "/w/" + std::to_string(i), "v")->done);
  ASSERT_TRUE(until([&] { return seen.now.size() == 50; }));
  EXPECT_EQ(seen.lines.size(), 50U) << "each once";
}

TEST_P(FacilityContract, ServesSeveralWatches) {
  Seen all;
  Seen some;
  Seen own;
  b_->watch("/", all.sink());
  b_->watch("/w/1", some.sink());
  a_->watch("/w/", own.sink());
  ASSERT_TRUE(put(*a_, "/w/1", "a")->done);
  ASSERT_TRUE(put(*a_, "/w/2", "b")->done);
  ASSERT_TRUE(until([&] { return all.lines.size() == 2 && own.lines.size() == 2 && some.lines.size() == 1; }));
}

TEST_P(FacilityContract, FailsCallsAndTellsSoWhileUnreachableAndGoesOnAfterwards) {
  std::vector<bool> reachable;
  a_->on_reachable([&](bool now) { reachable.push_back(now); });
  Seen seen;
  a_->watch("/w/", seen.sink());
  ASSERT_TRUE(put(*a_, "/w/1", "before")->done);
  ASSERT_TRUE(until([&] { return seen.lines.size() == 1; }));

  store_->stop_answering();
  const auto failed = put(*a_, "/w/2", "during");
  ASSERT_FALSE(failed.has_value());
  EXPECT_FALSE(failed.error().message.empty());
  ASSERT_TRUE(until([&] { return reachable == std::vector<bool>{false}; }));
  store_->executor().run_for(3s);
  EXPECT_THAT(reachable, ElementsAre(false));

  store_->resume();
  ASSERT_TRUE(until([&] { return reachable == std::vector<bool>{false, true}; }));
  ASSERT_TRUE(put(*a_, "/w/3", "after")->done);
  ASSERT_TRUE(until([&] { return seen.now.contains("/w/3"); }));
  EXPECT_EQ(seen.now.at("/w/1"), "before");
}

TEST_P(FacilityContract, ListsAgainWhenTheHistoryWasCompactedAndReportsDeletions) {
  Seen seen;
  a_->watch("/w/", seen.sink());
  ASSERT_TRUE(put(*a_, "/w/1", "stays")->done);
  ASSERT_TRUE(put(*a_, "/w/2", "goes")->done);
  ASSERT_TRUE(until([&] { return seen.lines.size() == 2; }));
  store_->lose_history_and("/w/2");
  ASSERT_TRUE(until([&] { return seen.now.size() == 1; }));
  EXPECT_THAT(seen.lines, ElementsAre("/w/1=stays", "/w/2=goes", "/w/2 gone"));
  wait_until_it_answers(*b_);
  ASSERT_TRUE(put(*b_, "/w/3", "new")->done);
  ASSERT_TRUE(until([&] { return seen.now.contains("/w/3"); }));
}

TEST_P(FacilityContract, EndsWithoutDelayWhateverIsUnderWay) {
  Seen seen;
  a_->watch("/", seen.sink());
  ASSERT_TRUE(open(*a_, [] { FAIL(); }).has_value());
  store_->stop_answering();
  a_->list("/", [](const Result<Facility::Listing>&) { FAIL() << "a callback after the end"; });
  a_->compare_and_set({.key = "/k"}, [](const Result<CasOutcome>&) { FAIL() << "a callback after the end"; });
  store_->executor().run_for(50ms);
  a_.reset();
  b_.reset();
  store_->resume();
  store_->executor().run_for(1s);
}

INSTANTIATE_TEST_SUITE_P(Facilities, FacilityContract,
                         ::testing::Values(StoreMaker{"memory", [] { return std::make_unique<MemoryTestStore>(); }},
                                           StoreMaker{"etcd", [] { return std::make_unique<EtcdTestStore>(); }}),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace testudo::facility
