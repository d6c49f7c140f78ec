// SPDX-License-Identifier: Apache-2.0
// testudo check against golden answers: each apps/testdata/check/NAME.toml has its NAME.out. After a wanted change:
//   UPDATE_GOLDEN=1 build/release/apps/testudo/cli/cli_test --gtest_filter='Golden*'    and read the difference.
#include "cli/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command_line.h"

namespace testudo::cli {
namespace {

namespace fs = std::filesystem;

const fs::path kTestData = "apps/testdata/check";

std::vector<std::string> cases() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(kTestData)) {
    if (entry.path().extension() == ".toml") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

void write(const fs::path& path, mode_t mode) {
  std::ofstream(path) << "-----BEGIN TEST-----\n";
  ::chmod(path.c_str(), mode);
}

/// A copy of the test data with TLS files beside it: private keys have modes that a repository does not keep.
class Golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "testudo-check-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::copy(kTestData, folder_, fs::copy_options::recursive);
    fs::create_directory(folder_ / "tls");
    write(folder_ / "tls/ca.pem", 0644);
    write(folder_ / "tls/node.pem", 0644);
    write(folder_ / "tls/node.key", 0600);
    write(folder_ / "tls/everybody.key", 0644);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Standard output of `testudo check`, the folder replaced by DIR, and the exit status.
  std::string check_output(const std::string& name, bool json) {
    const std::string config = (folder_ / (name + ".toml")).string();
    std::vector<const char*> argv = {"testudo", "check", "--config", config.c_str()};
    if (json) argv.push_back("--json");
    std::ostringstream out, err;
    const int status = run(static_cast<int>(argv.size()), argv.data(), out, err);
    EXPECT_EQ(err.str(), "");
    std::string text = out.str();
    for (auto at = text.find(folder_.string()); at != std::string::npos; at = text.find(folder_.string())) {
      text.replace(at, folder_.string().size(), "DIR");
    }
    return text + "exit status " + std::to_string(status) + "\n";
  }

  fs::path folder_;
};

TEST_P(Golden, Check) {
  const std::string got = check_output(GetParam(), /*json=*/false);
  const fs::path golden = kTestData / (GetParam() + ".out");
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(golden) << got;
  std::stringstream expected;
  expected << std::ifstream(golden).rdbuf();
  EXPECT_EQ(got, expected.str());
}

// The JSON says the same as the text.
TEST_P(Golden, Json) {
  const std::string text = check_output(GetParam(), /*json=*/false);
  const std::string line = check_output(GetParam(), /*json=*/true);
  const nlohmann::json json = nlohmann::json::parse(line.substr(0, line.find('\n')));
  EXPECT_EQ(json.at("ok").get<bool>(), text.find("exit status 0") != std::string::npos);
  EXPECT_EQ(json.at("ok").get<bool>(), json.at("errors").empty());
  for (const auto& e : json.at("errors")) EXPECT_THAT(text, testing::HasSubstr(e.at("message").get<std::string>()));
  EXPECT_EQ(line.substr(line.find("exit")), text.substr(text.find("exit")));
}

INSTANTIATE_TEST_SUITE_P(, Golden, testing::ValuesIn(cases()), [](const auto& test_case) {
  std::string name = test_case.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Check, FileThatIsNotThere) {
  std::ostringstream out;
  EXPECT_EQ(check({.config = "no/such.toml"}, out), kFailed);
  EXPECT_EQ(out.str(), "no/such.toml: cannot be read: No such file or directory\nno/such.toml: 1 error\n");
}

}  // namespace
}  // namespace testudo::cli
