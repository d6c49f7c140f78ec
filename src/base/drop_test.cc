// SPDX-License-Identifier: Apache-2.0
#include "base/drop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace testudo {
namespace {

/// The first two columns of docs/counters.md's table of drops. Tests run in the project's root.
std::vector<std::string> documented() {
  std::ifstream file("docs/counters.md");
  std::vector<std::string> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    rows.push_back(line.substr(0, line.find('|', line.find('|', 1) + 1) + 1));
  }
  return rows;
}

TEST(Drop, EveryReasonIsInTheDocumentationInThisOrder) {
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < kDropNames.size(); ++i) {
    expected.push_back("| `" + std::string(kDropNames[i]) + "` | " + std::string(kDropTexts[i]) + " |");
  }
  EXPECT_THAT(documented(), testing::ElementsAreArray(expected))
      << "bring docs/counters.md and base/drop.h in step";
}

TEST(Drop, NamesAreDistinctAndFitJsonAndMetrics) {
  EXPECT_EQ(std::set<std::string_view>(kDropNames.begin(), kDropNames.end()).size(), kDropNames.size());
  for (const std::string_view name : kDropNames) EXPECT_THAT(std::string(name), testing::MatchesRegex("[a-z_]+"));
}

TEST(Drop, IsCountedByReason) {
  DropCounters drops;
  drops.count(Drop::kReplay);
  drops.count(Drop::kReplay, 2);
  EXPECT_EQ(drops.value(Drop::kReplay), 3u);
  EXPECT_EQ(drops.value(Drop::kTruncated), 0u);
}

}  // namespace
}  // namespace testudo
