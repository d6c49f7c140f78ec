// SPDX-License-Identifier: Apache-2.0
#include "node/event_log.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace testudo::node {

double milliseconds(Duration duration) {
  return 1e-3 * static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

void EventLog::add(Event event) {
  event.when = executor_.now();
  std::string line = fmt::format("{}, epoch {}: {}", event.dvipa.to_string(), event.epoch.value(), event.what);
  if (event.took) line += fmt::format(" after {:.1f} ms", milliseconds(*event.took));
  if (!event.reason.empty()) line += fmt::format(": {}", event.reason);
  log_.line(event.level, line);
  events_.push_back(std::move(event));
  if (events_.size() > kMost) events_.pop_front();
}

}  // namespace testudo::node
