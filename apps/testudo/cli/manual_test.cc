// SPDX-License-Identifier: Apache-2.0
// testudo sa check, load and unload. What is said of each file of apps/testdata/manual/ stands beside it.
#include "cli/manual.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <regex>
#include <sstream>
#include <string>

#include "cli/golden_for_test.h"

namespace testudo::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

const fs::path kTestData = "apps/testdata/manual";

class Manual : public GoldenTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "such a file belongs to root";
    GoldenTest::SetUp();
  }

  std::string copy(const std::string& name, mode_t mode = 0600) {
    const fs::path to = folder_ / (name + ".toml");
    fs::copy_file(kTestData / (name + ".toml"), to);
    ::chmod(to.c_str(), mode);
    return to.string();
  }
  std::string checked(const std::string& file) { return output_of({"testudo", "sa", "check", file.c_str()}); }
};

TEST_P(Manual, Check) { expect_golden(kTestData / (GetParam() + ".out"), checked(copy(GetParam()))); }

// Keys are never said, right ones and wrong ones.
TEST_P(Manual, NoKeyIsSaid) {
  const std::string got = checked(copy(GetParam()));
  EXPECT_FALSE(std::regex_search(got, std::regex("[0-9a-fA-F]{16}"))) << got;
}

INSTANTIATE_TEST_SUITE_P(, Manual, testing::ValuesIn(golden_cases(kTestData)), golden_name);

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
