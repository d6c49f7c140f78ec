// SPDX-License-Identifier: Apache-2.0
#include "sim/virtual_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace testudo::sim {
namespace {

using testing::ElementsAre;

TEST(VirtualTime, RunsEventsInOrderOfTimeThenOfInsertion) {
  VirtualTime time;
  std::vector<std::string> ran;
  time.after(2ms, [&] { ran.push_back("late"); });
  time.after(1ms, [&] { ran.push_back("first"); });
  time.after(1ms, [&] { ran.push_back("second"); });
  time.run_until(Time(1ms));
  EXPECT_THAT(ran, ElementsAre("first", "second"));
  EXPECT_EQ(time.now(), Time(1ms));
  EXPECT_TRUE(time.step());
  EXPECT_FALSE(time.step());
  EXPECT_EQ(time.now(), Time(2ms));
}

TEST(VirtualTime, NeverGoesBack) {
  VirtualTime time;
  time.run_until(Time(5ms));
  Time ran{};
  time.at(Time(1ms), [&] { ran = time.now(); });
  EXPECT_TRUE(time.step());
  EXPECT_EQ(ran, Time(5ms));
}

TEST(VirtualTime, CancelledEventsDoNotRun) {
  VirtualTime time;
  int ran = 0;
  const auto id = time.after(1ms, [&] { ++ran; });
  time.cancel(id);
  time.cancel(id);
  EXPECT_FALSE(time.step());
  EXPECT_EQ(ran, 0);
}

TEST(VirtualExecutor, RunsNothingAfterItsEnd) {
  VirtualTime time;
  int ran = 0;
  VirtualExecutor executor(time);
  executor.run_after(1ms, [&] { ++ran; });
  executor.run_after(3ms, [&] { ++ran; });
  time.run_until(Time(2ms));
  executor.stop();
  executor.post([&] { ++ran; });
  time.run_until(Time(10ms));
  EXPECT_EQ(ran, 1);
}

TEST(VirtualExecutor, TaskMayCancelItself) {
  VirtualTime time;
  VirtualExecutor executor(time);
  Executor::Timer timer = 0;
  bool ran = false;
  timer = executor.run_after(1ms, [&] {
    executor.cancel(timer);
    ran = true;
  });
  time.run_until(Time(2ms));
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace testudo::sim
