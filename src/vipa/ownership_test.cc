// SPDX-License-Identifier: Apache-2.0
// Orders of answers and watched events that a facility of two streams can bring: the test decides when each is
// heard.
#include "vipa/ownership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace testudo::vipa {
namespace {

using facility::CasOutcome;
using facility::Entry;
using facility::Event;
using facility::Revision;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr IpAddress kDvipa(0xc0000264);
const char* const kKey = "/testudo/c/owner/192.0.2.100";

struct ScriptedFacility final : facility::Facility {
  void open_session(Duration, Callback<void>, std::function<void()>) override {}
  void close_session() override {}
  void list(std::string, Callback<Listing>) override {}
  void compare_and_set(facility::CompareAndSet request, Callback<CasOutcome> done) override {
    if (request.key != kKey) return;
    requests.push_back(std::move(request));
    answer = std::move(done);
  }
  void remove(std::string, Revision, Callback<CasOutcome>) override {}
  void watch(std::string prefix, std::function<void(const Event&)> on_event) override {
    if (prefix.ends_with("owner/")) watched = std::move(on_event);
  }
  void on_reachable(std::function<void(bool)>) override {}

  std::vector<facility::CompareAndSet> requests;
  Callback<CasOutcome> answer;
  std::function<void(const Event&)> watched;
};

struct ManualExecutor final : Executor {
  [[nodiscard]] Time now() const override { return time; }
  void post(Task task) override { tasks.push_back(std::move(task)); }
  Timer run_after(Duration, Task task) override {
    tasks.push_back(std::move(task));
    return tasks.size();
  }
  void cancel(Timer) override {}
  void run() {
    time += 1min;
    for (Task& task : std::exchange(tasks, {})) task();
  }
  std::vector<Task> tasks;
  Time time{};
};

struct OwnershipOrder : testing::Test {
  OwnershipOrder()
      : ownership(
            facility, executor, options(),
            {.became_owner = [this](const Acquired& a) { log.push_back("own " + std::to_string(a.epoch.value())); },
             .lost = [this](IpAddress, const std::string&) { log.push_back("lost"); },
             .changed = [](const DvipaState&) {},
             .note = [](const std::string&) {}}) {
    ownership.start({.name = "o", .id = NodeId(1), .incarnation = 1, .session = 1});
  }
  static Ownership::Options options() {
    Ownership::Options out;
    out.cluster = "c";
    out.definition =
        parse_definition("VIPADYNAMIC VIPADEFINE 255.255.255.0 192.0.2.100 ENDVIPADYNAMIC", "f").definition;
    return out;
  }
  static Entry entry(std::uint64_t created, std::string value) {
    return {kKey, std::move(value), Revision(created), Revision(created)};
  }
  static Entry others(std::uint64_t created) {
    OwnerRecord r;
    r.node = "x";
    r.node_id = NodeId(9);
    return entry(created, r.to_json());
  }
  void put(const Entry& e) { facility.watched({.entry = e, .deleted = false}); }
  void deleted(std::uint64_t at) {
    facility.watched({.entry = {kKey, "", Revision(), Revision(at)}, .deleted = true});
  }

  ScriptedFacility facility;
  ManualExecutor executor;
  std::vector<std::string> log;
  Ownership ownership;
};

TEST_F(OwnershipOrder, AnswerThenWatch) {
  facility.answer(CasOutcome{.done = true, .revision = Revision(5), .current = {}});
  put(entry(5, facility.requests[0].value));
  EXPECT_THAT(log, ElementsAre("own 5"));
}

TEST_F(OwnershipOrder, WatchThenAnswer) {
  put(entry(5, facility.requests[0].value));
  facility.answer(CasOutcome{.done = true, .revision = Revision(5), .current = {}});
  EXPECT_THAT(log, ElementsAre("own 5"));
}

TEST_F(OwnershipOrder, AnswerIsLostButTheWriteWasDone) {
  facility.answer(fail("timeout"));
  executor.run();
  facility.answer(CasOutcome{.done = false, .revision = {}, .current = entry(5, facility.requests[0].value)});
  EXPECT_THAT(log, ElementsAre("own 5"));
}

TEST_F(OwnershipOrder, HoldersDeletionIsHeardBeforeTheRefusal) {
  put(others(3));
  deleted(6);
  facility.answer(CasOutcome{.done = false, .revision = {}, .current = others(3)});
  ASSERT_EQ(facility.requests.size(), 2u);  // nobody will tell again: it asks again at once
  facility.answer(CasOutcome{.done = true, .revision = Revision(7), .current = {}});
  EXPECT_THAT(log, ElementsAre("own 7"));
}

TEST_F(OwnershipOrder, OwnDeletionIsHeardBeforeTheAnswer) {
  put(entry(5, facility.requests[0].value));
  deleted(6);
  facility.answer(CasOutcome{.done = true, .revision = Revision(5), .current = {}});
  EXPECT_THAT(log, ElementsAre("own 5", "lost"));
}

TEST_F(OwnershipOrder, OldNewsChangeNothing) {
  facility.answer(CasOutcome{.done = true, .revision = Revision(5), .current = {}});
  put(others(3));
  deleted(4);
  EXPECT_THAT(log, ElementsAre("own 5"));
  EXPECT_EQ(ownership.dvipa(kDvipa)->owner->node, "o");
}

TEST_F(OwnershipOrder, NewerOwnerEndsThisOne) {
  facility.answer(CasOutcome{.done = true, .revision = Revision(5), .current = {}});
  put(others(8));
  EXPECT_THAT(log, ElementsAre("own 5", "lost"));
  EXPECT_EQ(ownership.dvipa(kDvipa)->owner->node, "x");
  EXPECT_EQ(ownership.dvipa(kDvipa)->epoch, Epoch(8));
}

TEST_F(OwnershipOrder, AnswerOfALostSessionIsNotHeard) {
  const auto old = facility.answer;
  ownership.session_lost();
  old(CasOutcome{.done = true, .revision = Revision(5), .current = {}});
  put(entry(5, facility.requests[0].value));
  EXPECT_THAT(log, IsEmpty());
}

}  // namespace
}  // namespace testudo::vipa
