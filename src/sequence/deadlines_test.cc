// SPDX-License-Identifier: Apache-2.0
#include "sequence/deadlines.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <utility>
#include <vector>

namespace testudo::sequence {
namespace {

RC_GTEST_PROP(Deadlines, IsAMapOrderedByTimeThenIndex,
              (const std::vector<std::pair<std::uint8_t, std::uint8_t>>& steps)) {
  Deadlines timers;
  std::map<std::uint32_t, Time> model;
  for (const auto& [index, value] : steps) {
    const Time when = value == 0 ? Time::max() : Time(Duration(value % 16));
    timers.set(index % 32u, when);
    model[index % 32u] = when;
  }
  for (;;) {
    auto first = model.end();
    for (auto it = model.begin(); it != model.end(); ++it) {
      if (it->second != Time::max() && (first == model.end() || it->second < first->second)) first = it;
    }
    RC_ASSERT(timers.earliest() == (first == model.end() ? Time::max() : first->second));
    if (first == model.end()) break;
    RC_ASSERT(timers.pop() == first->first);
    model.erase(first);
  }
}

}  // namespace
}  // namespace testudo::sequence
