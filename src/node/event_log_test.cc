// SPDX-License-Identifier: Apache-2.0
#include "node/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/world_for_test.h"

namespace testudo::node {
namespace {

struct Lines final : Log {
  void line(LogLevel level, const std::string& text) override { all.emplace_back(level, text); }
  std::vector<std::pair<LogLevel, std::string>> all;
};

TEST(EventLog, SaysEachOnceAndKeepsTheLast) {
  facility::TestExecutor executor{facility::TestExecutor::kVirtual};
  Lines lines;
  EventLog events(executor, lines);
  executor.run_for(5s);
  events.add({.what = "won", .dvipa = kDvipa, .epoch = Epoch(17)});
  events.add({.what = "lost",
              .dvipa = kDvipa,
              .epoch = Epoch(17),
              .reason = "why",
              .took = 41'720us,
              .level = LogLevel::kError});
  EXPECT_THAT(lines.all,
              testing::ElementsAre(std::pair(LogLevel::kInfo, "192.0.2.100, epoch 17: won"),
                                   std::pair(LogLevel::kError, "192.0.2.100, epoch 17: lost after 41.7 ms: why")));
  EXPECT_EQ(events.list().front().when, executor.now());
  for (std::size_t i = 0; i < EventLog::kMost; ++i) events.add({.what = "won", .dvipa = kDvipa, .epoch = Epoch(i)});
  EXPECT_EQ(events.list().size(), EventLog::kMost);
  EXPECT_EQ(events.list().front().epoch, Epoch(0));
}

}  // namespace
}  // namespace testudo::node
