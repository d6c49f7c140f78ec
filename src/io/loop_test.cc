// SPDX-License-Identifier: Apache-2.0
#include "io/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace testudo::io {
namespace {

struct LoopTest : testing::Test {
  std::unique_ptr<Loop> loop = std::move(*Loop::create());
  std::string log;
};

TEST_F(LoopTest, TimersRunInOrderOfDeadlineThenOfSetting) {
  loop->run_after(3ms, [&] {
    log += 'd';
    loop->stop();
  });
  loop->run_after(1ms, [&] { log += 'b'; });
  loop->run_after(0ms, [&] { log += 'a'; });
  const auto cancelled = loop->run_after(2ms, [&] { log += 'x'; });
  loop->run_after(2ms, [&] { log += 'c'; });
  loop->cancel(cancelled);
  loop->cancel(cancelled);
  loop->run();
  EXPECT_EQ(log, "abcd");
}

TEST_F(LoopTest, TimerMayCancelAnotherThatIsDueToo) {
  Executor::Timer second = 0;
  loop->run_after(0ms, [&] {
    log += 'a';
    loop->cancel(second);
  });
  second = loop->run_after(0ms, [&] { log += 'x'; });
  loop->run_after(1ms, [&] { loop->stop(); });
  loop->run();
  EXPECT_EQ(log, "a");
}

TEST_F(LoopTest, PostedTasksRunInOrderAlsoFromAnotherThread) {
  std::thread other([&] {
    for (char c = 'a'; c <= 'e'; ++c) loop->post([this, c] { log += c; });
    loop->post([&] { loop->stop(); });
  });
  loop->run();
  other.join();
  EXPECT_EQ(log, "abcde");
}

// Only the first of several tasks wakes the loop: none may be left behind by that.
TEST_F(LoopTest, NoTaskWaitsForever) {
  constexpr int kTasks = 20'000;
  int done = 0;
  std::thread other([&] {
    for (int i = 0; i < kTasks; ++i) loop->post([&] { ++done; });
  });
  for (int rounds = 0; done < kTasks && rounds < kTasks + 1; ++rounds) loop->run_once(10s);
  other.join();
  EXPECT_EQ(done, kTasks);
  loop->post([&] { loop->post([&] { loop->stop(); }); });
  loop->run();
}

TEST_F(LoopTest, CallbackMayUnwatchItselfAndOthers) {
  int a[2], b[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, a), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, b), 0);
  const auto once = [&](std::uint32_t events) {
    EXPECT_TRUE(events & EPOLLIN);
    log += 'r';
    loop->unwatch(a[0]);
    loop->unwatch(b[0]);
  };
  ASSERT_TRUE(loop->watch(a[0], EPOLLIN, once));
  ASSERT_TRUE(loop->watch(b[0], EPOLLIN, once));
  ASSERT_EQ(write(a[1], "x", 1), 1);
  ASSERT_EQ(write(b[1], "x", 1), 1);
  loop->run_once(100ms);
  loop->run_once(0ms);
  EXPECT_EQ(log, "r");
  for (const int fd : {a[0], a[1], b[0], b[1]}) close(fd);
}

TEST(Poller, WakesFromAnotherThreadAndTellsWhatIsReady) {
  auto poller = std::move(*Poller::create());
  std::thread other([&] { poller->wake(); });
  EXPECT_TRUE(poller->wait(Duration(-1)).empty());
  other.join();
  EXPECT_TRUE(poller->wait(1us).empty());  // the wake-up is used up

  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  ASSERT_TRUE(poller->watch(pair[0], 42));
  ASSERT_EQ(write(pair[1], "x", 1), 1);
  const auto ready = poller->wait(Duration(-1));
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_EQ(ready[0].token, 42u);
  poller->unwatch(pair[0]);
  EXPECT_TRUE(poller->wait(0ns).empty());
  close(pair[0]);
  close(pair[1]);
}

}  // namespace
}  // namespace testudo::io
