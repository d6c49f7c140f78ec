// SPDX-License-Identifier: Apache-2.0
// testudo check against golden answers (cli/golden_for_test.h) in apps/testdata/check/.
#include "cli/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cli/golden_for_test.h"

namespace testudo::cli {
namespace {

const fs::path kTestData = "apps/testdata/check";

void write(const fs::path& path, mode_t mode) {
  std::ofstream(path) << "-----BEGIN TEST-----\n";
  ::chmod(path.c_str(), mode);
}

/// A copy of the test data with TLS files beside it: private keys have modes that a repository does not keep.
class Golden : public GoldenTest {
 protected:
  void SetUp() override {
    GoldenTest::SetUp();
    fs::copy(kTestData, folder_, fs::copy_options::recursive);
    fs::create_directory(folder_ / "tls");
    write(folder_ / "tls/ca.pem", 0644);
    write(folder_ / "tls/node.pem", 0644);
    write(folder_ / "tls/node.key", 0600);
    write(folder_ / "tls/everybody.key", 0644);
  }

  std::string check_output(const std::string& name, bool json) {
    const std::string config = (folder_ / (name + ".toml")).string();
    std::vector<const char*> argv = {"testudo", "check", "--config", config.c_str()};
    if (json) argv.push_back("--json");
    return output_of(std::move(argv));
  }
};

TEST_P(Golden, Check) {
  expect_golden(kTestData / (GetParam() + ".out"), check_output(GetParam(), /*json=*/false));
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

INSTANTIATE_TEST_SUITE_P(, Golden, testing::ValuesIn(golden_cases(kTestData)), golden_name);

TEST(Check, FileThatIsNotThere) {
  std::ostringstream out;
  EXPECT_EQ(check({.config = "no/such.toml"}, out), kFailed);
  EXPECT_EQ(out.str(), "no/such.toml: cannot be read: No such file or directory\nno/such.toml: 1 error\n");
}

}  // namespace
}  // namespace testudo::cli
