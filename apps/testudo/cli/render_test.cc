// SPDX-License-Identifier: Apache-2.0
#include "cli/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/table.h"

namespace testudo::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

/// The example answers of docs/commands.md: every block of JSON under a heading of a command.
std::string documented(const std::string& command) {
  std::ifstream in("docs/commands.md");
  std::string line, json;
  bool here = false, inside = false;
  while (std::getline(in, line)) {
    if (line.starts_with("### ")) here = line == "### " + command;
    if (here && line == "```") inside = false;
    if (here && inside) json += line + "\n";
    if (here && line == "```json") inside = true;
  }
  return json;
}

TEST(Render, EveryDocumentedAnswer) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> table = {
      {"status",
       {"node owner of cluster demo, testudo 0.1.0", "facility: reachable for 2 m 0 s, endpoints 10.77.0.1:2379",
        "charon:   connected", "192.0.2.100  owner     17  owner      backup (200)    80     80: t1, t2",
        "t1       3  10.77.0.11   up    yes    yes"}},
      {"sa", {"0xc1d2e3f4", "104.9 MB of 900.0 MB", "backup, t1, t2, t3", "1048576", "protect"}},
      {"connections",
       {"Connections: 1", "198.51.100.7:40312  192.0.2.100:80  tcp       t2      established  yes", "0.012 s"}},
      {"counters", {"SEND FAILED", "Owner, inbound", "forwarded", "nothing"}},
      {"dvipa move", {"192.0.2.100 is moving from owner to backup"}},
      {"drain", {"192.0.2.100 is moving to backup\n192.0.2.101 stays: it has no live backup\n"}},
      {"events", {"192.0.2.100     17  serving  41.7 ms  3 connections and 2 SAs go on"}},
  };
  for (const auto& [command, wanted] : table) {
    const auto json = nlohmann::json::parse(documented(command));
    const Result<std::string> text = render(command, json);
    ASSERT_TRUE(text) << command << ": " << text.error().message;
    for (const std::string& part : wanted) {
      EXPECT_THAT(*text, HasSubstr(part)) << command;
    }
    EXPECT_THAT(*text, Not(HasSubstr(" \n"))) << command;
  }
}

TEST(Render, NodeThatKnowsLittle) {
  for (const char* command : {"status", "sa", "connections", "counters", "events", "drain"}) {
    EXPECT_TRUE(render(command, nlohmann::json::object())) << command;
  }
  const auto text =
      render("status", nlohmann::json::parse(R"({"dvipas": [{"address": "192.0.2.1", "owner": null}]})"));
  EXPECT_THAT(text.value(), HasSubstr("192.0.2.1  -"));
}

TEST(Render, AnotherShapeIsAnErrorNotACrash) {
  for (const char* json :
       {R"({"members": 5, "dvipas": "x"})", R"({"dvipas": [{"targets_ready": {"eighty": ["t1"]}}]})",
        R"({"facility": 3})", R"({"warnings": [3]})", R"({"dvipas": [7]})"}) {
    EXPECT_FALSE(render("status", nlohmann::json::parse(json))) << json;
  }
  EXPECT_FALSE(render("counters", nlohmann::json::parse(R"({"drops": {"replay": "many"}})")));
}

TEST(Render, DropsHaveTheirMeaning) {
  const auto text = render("counters", nlohmann::json::parse(R"({"drops": {"replay": 4, "truncated": 0}})"));
  EXPECT_THAT(text.value(), HasSubstr("replay                 4  sequence number was seen before"));
  EXPECT_THAT(text.value(), Not(HasSubstr("truncated")));
}

TEST(Table, AlignsCharactersAndHidesControlBytes) {
  Table t({"A", "NUMBER"}, {Align::kLeft, Align::kRight});
  t.row({"é", "1"});
  t.row({"\x1b[2J", "1234567"});
  t.row({"", "5"});
  EXPECT_EQ(t.text(), "A      NUMBER\né           1\n?[2J  1234567\n-           5\n");
}

TEST(Units, ReadWell) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1000), "1.0 kB");
  EXPECT_EQ(bytes_text(999'999), "1.0 MB");
  EXPECT_EQ(bytes_text(UINT64_MAX), "18.4 EB");
  EXPECT_EQ(milliseconds_text(9'999), "9.999 s");
  EXPECT_EQ(milliseconds_text(10'000), "10 s");
  EXPECT_EQ(milliseconds_text(65'000), "1 m 5 s");
  EXPECT_EQ(milliseconds_text(7'260'000), "2 h 1 m");
}

}  // namespace
}  // namespace testudo::cli
