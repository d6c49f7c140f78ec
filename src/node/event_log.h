// SPDX-License-Identifier: Apache-2.0
// EventLog: the transitions of DVIPAs that this node has made or seen: a line in the log each, and the last of them
// for `testudo events`.
//
//   events.add({.what = "serving", .dvipa = d, .epoch = e, .reason = "12 connections go on", .took = 41ms});
//   for (const EventLog::Event& event : events.list()) …
//
// Control thread only.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "base/address.h"
#include "base/executor.h"
#include "base/strong.h"
#include "base/time.h"
#include "node/log.h"

namespace testudo::node {

class EventLog {
 public:
  static constexpr std::size_t kMost = 1000;

  struct Event {
    std::string what;  // one word, as docs/commands.md lists them
    IpAddress dvipa;
    Epoch epoch;
    std::string reason = {};
    std::optional<Duration> took = {};
    LogLevel level = LogLevel::kInfo;
    Time when = {};  // add() sets it
  };

  EventLog(const Executor& executor, Log& log) : executor_(executor), log_(log) {}

  void add(Event event);
  /// Oldest first.
  [[nodiscard]] const std::deque<Event>& list() const { return events_; }

 private:
  const Executor& executor_;
  Log& log_;
  std::deque<Event> events_;
};

/// To the microsecond.
[[nodiscard]] double milliseconds(Duration duration);

}  // namespace testudo::node
