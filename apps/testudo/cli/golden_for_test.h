// SPDX-License-Identifier: Apache-2.0
// Golden answers: each NAME.toml of a folder has its NAME.out, what the program prints about it. After a wanted
// change: UPDATE_GOLDEN=1 build/release/apps/testudo/cli/cli_test, and read the difference.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command_line.h"

namespace testudo::cli {

namespace fs = std::filesystem;

/// Names of the folder's *.toml, sorted.
inline std::vector<std::string> golden_cases(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

inline std::string golden_name(const testing::TestParamInfo<std::string>& test_case) {
  std::string name = test_case.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

inline void expect_golden(const fs::path& golden, const std::string& got) {
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(golden) << got;
  std::stringstream expected;
  expected << std::ifstream(golden).rdbuf();
  EXPECT_EQ(got, expected.str());
}

/// One test per case, each with a folder of its own in which the files to be read are put.
class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "testudo-golden-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  /// Standard output of a command line, the folder replaced by DIR, and the exit status.
  std::string output_of(std::vector<const char*> argv) {
    std::ostringstream out, err;
    const int status = run(static_cast<int>(argv.size()), argv.data(), out, err);
    EXPECT_EQ(err.str(), "");
    std::string text = out.str();
    for (auto at = text.find(folder_.string()); at != std::string::npos; at = text.find(folder_.string()))
      text.replace(at, folder_.string().size(), "DIR");
    return text + "exit status " + std::to_string(status) + "\n";
  }

  fs::path folder_;
};

}  // namespace testudo::cli
