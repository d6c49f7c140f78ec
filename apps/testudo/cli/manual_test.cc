// SPDX-License-Identifier: Apache-2.0
// testudo sa check, load and unload. What is said of each file of apps/testdata/manual/ stands beside it.
#include "cli/manual.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command_line.h"

namespace testudo::cli {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;
using testing::Not;

const fs::path kTestData = "apps/testdata/manual";

std::vector<std::string> cases() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(kTestData)) {
    if (entry.path().extension() == ".toml") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

class Manual : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "such a file belongs to root";
    std::string name = (fs::temp_directory_path() / "testudo-manual-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string copy(const std::string& name, mode_t mode = 0600) {
    const fs::path to = folder_ / (name + ".toml");
    fs::copy_file(kTestData / (name + ".toml"), to);
    ::chmod(to.c_str(), mode);
    return to.string();
  }
  /// Standard output of `testudo sa check`, the folder replaced by DIR, and the exit status.
  std::string checked(const std::string& file) {
    std::vector<const char*> argv = {"testudo", "sa", "check", file.c_str()};
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

TEST_P(Manual, Check) {
  const std::string got = checked(copy(GetParam()));
  const fs::path golden = kTestData / (GetParam() + ".out");
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(golden) << got;
  std::stringstream expected;
  expected << std::ifstream(golden).rdbuf();
  EXPECT_EQ(got, expected.str());
}

// Keys are never said, right ones and wrong ones.
TEST_P(Manual, NoKeyIsSaid) {
  const std::string got = checked(copy(GetParam()));
  EXPECT_FALSE(std::regex_search(got, std::regex("[0-9a-fA-F]{16}"))) << got;
}

INSTANTIATE_TEST_SUITE_P(, Manual, testing::ValuesIn(cases()), [](const auto& test_case) {
  std::string name = test_case.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

class ManualFileMode : public Manual {};

TEST_F(ManualFileMode, OthersMustNotReadIt) {
  EXPECT_THAT(checked(copy("ah-esp", 0640)),
              HasSubstr("ah-esp.toml: has mode 0640: chmod 0600 it and make new keys"));
  const std::string theirs = copy("every-key");
  ASSERT_EQ(::chown(theirs.c_str(), 4711, 0), 0);
  EXPECT_THAT(checked(theirs), HasSubstr("belongs to user 4711: chown root it"));
  EXPECT_THAT(checked(folder_), HasSubstr("is no file"));
  EXPECT_THAT(checked((folder_ / "none").string()), HasSubstr("cannot be read: No such file"));
}

TEST(Change, RequestHasAnAbsolutePathAndNoKey) {
  const auto request = change_request(true, "/etc/testudo/../a.toml");
  EXPECT_EQ(request.dump(), R"({"command":"sa load","file":"/etc/a.toml"})");
  EXPECT_TRUE(change_request(false, "b").at("file").get<std::string>().starts_with('/'));
}

TEST(Change, AnswersReadWell) {
  const auto said = [](const char* json, int status) {
    std::ostringstream out, err;
    EXPECT_EQ(write_change(nlohmann::json::parse(json), out, err), status);
    return out.str() + err.str();
  };
  EXPECT_EQ(said(R"({"file": "/a", "installed": 1, "kept": 2, "removed": 0, "waiting": 3, "filters": 1})", kOk),
            "/a: 1 SA installed, 2 kept, 0 removed; 1 filter\n"
            "note: 3 SAs for a DVIPA that this node does not own now: installed when it does\n");
  EXPECT_EQ(said(R"({"file": "/a", "removed": 2})", kOk), "/a: 2 SAs removed\n");
  EXPECT_EQ(said(R"({"error": "/a: nothing of it is loaded", "errors": [{"file": "/a", "line": 3, "column": 0,
                      "subject": "[[sa]] 1 spi", "message": "is missing"}]})",
                 kFailed),
            "/a:3: [[sa]] 1 spi: is missing\ntestudo: the node says: /a: nothing of it is loaded\n");
}

}  // namespace
}  // namespace testudo::cli
