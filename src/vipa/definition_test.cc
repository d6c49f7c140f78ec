// SPDX-License-Identifier: Apache-2.0
#include "vipa/definition.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

namespace testudo::vipa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

std::vector<std::string> errors_of(const std::string& text) {
  std::vector<std::string> out;
  for (const Diagnostic& e : parse_definition(text, "f").errors) out.push_back(e.to_string());
  return out;
}

std::string block(const std::string& statements) { return "VIPADYNAMIC\n" + statements + "\nENDVIPADYNAMIC\n"; }

Definition good(const std::string& text) {
  const ParsedDefinition parsed = parse_definition(text, "f");
  EXPECT_THAT(parsed.errors, IsEmpty()) << parsed.errors.front().to_string();
  return parsed.definition;
}

TEST(Definition, OwnerOfTheManual) {
  const Definition d = good(R"(
; the owner's block
VIPADYNAMIC
  VIPADEFINE MOVEABLE IMMEDIATE 255.255.255.0
             192.0.2.100 192.0.2.101   ; one subnet
  VIPADISTRIBUTE DEFINE 192.0.2.100 PORT 443 80 DESTIP 10.77.0.11, 10.77.0.12, 10.77.0.13
  VIPADISTRIBUTE 192.0.2.101 DESTIP ALL
  VIPABACKUP 200 192.0.2.110
  VIPARANGE DEFINE MOVEABLE DISRUPTIVE 255.255.255.240 192.0.2.160
ENDVIPADYNAMIC
)");
  ASSERT_EQ(d.defines.size(), 2u);
  EXPECT_EQ(d.defines[1].address, ip("192.0.2.101"));
  EXPECT_EQ(d.defines[1].subnet, IpPrefix::parse("192.0.2.0/24").value());
  EXPECT_EQ(d.defines[1].movement, Movement::kImmediate);
  EXPECT_EQ(d.defines[1].at, (Position{5, 26}));
  ASSERT_EQ(d.distributes.size(), 2u);
  EXPECT_THAT(d.distributes[0].ports, ElementsAre(80, 443));
  EXPECT_THAT(d.distributes[0].targets, ElementsAre(ip("10.77.0.11"), ip("10.77.0.12"), ip("10.77.0.13")));
  EXPECT_TRUE(d.distributes[1].all_ports());
  EXPECT_TRUE(d.distributes[1].all_targets());
  ASSERT_EQ(d.backups.size(), 1u);
  EXPECT_EQ(d.backups[0].rank, 200);
  ASSERT_EQ(d.ranges.size(), 1u);
  EXPECT_TRUE(d.ranges[0].disruptive);
  EXPECT_EQ(d.ranges[0].prefix, IpPrefix::parse("192.0.2.160/28").value());
  EXPECT_EQ(d.find_define(ip("192.0.2.110")), nullptr);
  EXPECT_EQ(d.distributes_of(ip("192.0.2.101")).size(), 1u);
}

TEST(Definition, Ipv6) {
  const Definition d = good(block(R"(
    VIPADEFINE MOVEABLE WHENIDLE 2001:db8::100/64, 2001:DB8::101, 2001:db8::102/64
    VIPADEFINE 192.0.2.100/24 192.0.2.101
    VIPADEFINE 2001:db8:ffff::/127 2001:db8:ffff::1
    VIPADISTRIBUTE 2001:db8::100 PORT 80 DESTIP 10.77.0.11 fd00:77::12
    VIPADISTRIBUTE 2001:db8::101 DESTIP ALL
    VIPABACKUP 9 2001:db8:1::1
    VIPARANGE DEFINE 2001:db8:2::/48
    VIPADELETE 2001:db8::102)"));
  ASSERT_EQ(d.defines.size(), 6u);
  EXPECT_EQ(d.defines[1].address, ip("2001:db8::101"));
  EXPECT_EQ(d.defines[1].subnet, IpPrefix::parse("2001:db8::/64").value());
  EXPECT_EQ(d.defines[1].movement, Movement::kWhenIdle);
  EXPECT_EQ(d.defines[3].subnet, IpPrefix::parse("192.0.2.0/24").value());
  EXPECT_EQ(d.defines[4].address, ip("2001:db8:ffff::"));
  EXPECT_THAT(d.distributes[0].targets, ElementsAre(ip("10.77.0.11"), ip("fd00:77::12")));
  EXPECT_EQ(d.distributes_of(ip("2001:db8::101")).size(), 1u);
  EXPECT_EQ(d.find_backup(ip("2001:db8:1::1"))->rank, 9);
  ASSERT_EQ(d.ranges.size(), 1u);
  EXPECT_EQ(d.ranges[0].prefix, IpPrefix::parse("2001:db8:2::/48").value());
}

TEST(Definition, ShortestFormsInAnyCase) {
  const Definition d = good(
      "vipadyn vipadef move whenidle 255.255.255.0 192.0.2.1 VipaDist 192.0.2.1 port 1 destip all "
      "vipab 1 192.0.2.9 VIPAR move nondisrupt 255.255.255.0 198.51.100.0 vipadel 192.0.2.9 endvipadyn");
  ASSERT_EQ(d.defines.size(), 1u);
  EXPECT_EQ(d.defines[0].movement, Movement::kWhenIdle);
  EXPECT_TRUE(d.backups.empty());
  EXPECT_EQ(d.distributes.size(), 1u);
  EXPECT_EQ(d.ranges.size(), 1u);
}

// One letter less than the shortest form is no keyword.
TEST(Definition, TooShort) {
  for (const char* word : {"VIPADE", "VIPA", "VIPADIS", "VIPADEL1"}) {
    EXPECT_THAT(errors_of(block(word + std::string(" 1.2.3.4"))), testing::SizeIs(1)) << word;
  }
}

TEST(Definition, StatementsApplyInOrder) {
  const Definition d = good(block(R"(
    VIPADEFINE 255.255.255.0 192.0.2.100 192.0.2.101
    VIPADISTRIBUTE 192.0.2.100 PORT 80 443 DESTIP ALL
    VIPADISTRIBUTE 192.0.2.100 PORT 8080 DESTIP 10.77.0.11
    VIPADISTRIBUTE 192.0.2.101 DESTIP ALL
    VIPADISTRIBUTE DELETE 192.0.2.100 PORT 443 8080
    VIPADISTRIBUTE DELETE 192.0.2.101 DESTIP ALL
    VIPADELETE 192.0.2.101
    VIPABACKUP 9 192.0.2.101)"));
  ASSERT_EQ(d.distributes.size(), 1u);
  EXPECT_THAT(d.distributes[0].ports, ElementsAre(80));
  EXPECT_EQ(d.defines.size(), 1u);
  EXPECT_EQ(d.backups.size(), 1u);
}

struct BadCase {
  const char* statements;  // from line 2 on
  std::vector<std::string> errors;
};

TEST(Definition, EveryErrorSaysWhereAndWhatWouldBeRight) {
  const std::vector<BadCase> table = {
      {"VIPABACKUP 300 192.0.2.1", {"f:2:12: VIPABACKUP: rank 300 is outside 1–254"}},
      {"VIPABACKUP 0 192.0.2.1", {"f:2:12: VIPABACKUP: rank 0 is outside 1–254"}},
      {"VIPABACKUP first 192.0.2.1",
       {"f:2:12: VIPABACKUP: rank \"first\" is not a number: one of 1–254 is expected"}},
      {"VIPABACKUP 99999999999999999999 192.0.2.1",
       {"f:2:12: VIPABACKUP: rank 99999999999999999999 is outside 1–254"}},
      {"VIPABACKUP", {"f:2:1: VIPABACKUP: the rank is missing: VIPABACKUP rank address, with a rank of 1–254"}},
      {"VIPABACKUP 7", {"f:2:1: VIPABACKUP: no address is given: at least one is expected"}},
      {"VIPADEFINE 255.255.255.0 192.0.2.1\nVIPABACKUP 7 192.0.2.1",
       {"f:3:14: VIPABACKUP: this node defines 192.0.2.1 itself on line 2: a backup is another node"}},
      {"VIPABACKUP 7 192.0.2.1\nVIPADEFINE 255.255.255.0 192.0.2.1",
       {"f:3:26: VIPADEFINE: 192.0.2.1 is backed up by this node on line 2: its VIPADEFINE belongs on another "
        "node"}},
      {"VIPABACKUP 7 192.0.2.1 192.0.2.1",
       {"f:2:24: VIPABACKUP: 192.0.2.1 already has a rank on line 2: give it one"}},
      {"VIPADEFINE 255.255.255.0 192.0.2.1\nVIPADEFINE 255.255.255.0 192.0.2.1",
       {"f:3:26: VIPADEFINE: 192.0.2.1 is already defined on line 2: define it once"}},
      {"VIPADEFINE 192.0.2.1",
       {"f:2:12: VIPADEFINE: \"192.0.2.1\" is not a subnet mask: one such as 255.255.255.0 stands before the "
        "address",
        "f:2:1: VIPADEFINE: no address is given: at least one is expected"}},
      {"VIPADEFINE 255.0.255.0 192.0.2.1",
       {"f:2:12: VIPADEFINE: \"255.0.255.0\" is not a subnet mask: one such as 255.255.255.0 stands before the "
        "address"}},
      {"VIPADEFINE MOVEABLE 255.255.255.0 192.0.2.1",
       {"f:2:1: VIPADEFINE: MOVEABLE says how: MOVEABLE IMMEDIATE or MOVEABLE WHENIDLE"}},
      {"VIPADEFINE 255.255.255.0 192.0.2.1 192.0.3.1",
       {"f:2:36: VIPADEFINE: 192.0.3.1 is outside 192.0.2.0/24, the subnet of this statement's first address: "
        "addresses of another subnet take a VIPADEFINE of their own"}},
      {"VIPADEFINE 255.255.255.0 192.0.2.255",
       {"f:2:26: VIPADEFINE: 192.0.2.255 is the broadcast address of 192.0.2.0/24: a DVIPA is a host's address"}},
      {"VIPADEFINE 192.0.2.0/24",
       {"f:2:12: VIPADEFINE: 192.0.2.0 is the network address of 192.0.2.0/24: a DVIPA is a host's address"}},
      {"VIPADEFINE 2001:db8::/64",
       {"f:2:12: VIPADEFINE: 2001:db8:: is the subnet-router anycast address of 2001:db8::/64: a DVIPA is a host's "
        "address"}},
      {"VIPADEFINE 2001:db8::1",
       {"f:2:12: VIPADEFINE: the prefix length is missing: write it behind the address, such as 2001:db8::1/64"}},
      {"VIPADEFINE 2001:db8::1/129", {"f:2:12: VIPADEFINE: prefix length \"129\" is not one of 1–128"}},
      {"VIPADEFINE 192.0.2.1/0", {"f:2:12: VIPADEFINE: prefix length \"0\" is not one of 1–32"}},
      {"VIPADEFINE 2001:db8::1/64 2001:db8:1::1",
       {"f:2:27: VIPADEFINE: 2001:db8:1::1 is outside 2001:db8::/64, the subnet of this statement's first address: "
        "addresses of another subnet take a VIPADEFINE of their own"}},
      {"VIPADEFINE 2001:db8::1/64 192.0.2.1",
       {"f:2:27: VIPADEFINE: the prefix length is missing: write it behind the address, such as 192.0.2.1/24"}},
      {"VIPADEFINE 255.255.255.0 2001:db8::1/64",
       {"f:2:26: VIPADEFINE: 2001:db8::1: a mask before the addresses is for IPv4 addresses without a prefix "
        "length; "
        "write no mask, but 192.0.2.100/24 or 2001:db8::100/64"}},
      {"VIPABACKUP 1 fe80::1",
       {"f:2:14: VIPABACKUP: fe80::1 cannot be a DVIPA: it is no address that a single host can have"}},
      {"VIPABACKUP 1 ::ffff:192.0.2.1",
       {"f:2:14: VIPABACKUP: \"::ffff:192.0.2.1\" is not a DVIPA: an address such as 192.0.2.100 or 2001:db8::100 "
        "is "
        "expected"}},
      {"VIPARANGE 2001:db8::/48\nVIPARANGE 2001:db8:0:1::/64",
       {"f:3:11: VIPARANGE: 2001:db8:0:1::/64 overlaps 2001:db8::/48 of line 2: ranges are apart from each other"}},
      {"VIPADEFINE 255.255.255.0 224.0.0.1",
       {"f:2:26: VIPADEFINE: 224.0.0.1 cannot be a DVIPA: it is no address that a single host can have"}},
      {"VIPADEFINE 255.255.255.0 192.0.2.300",
       {"f:2:26: VIPADEFINE: \"192.0.2.300\" is not a DVIPA: an address such as 192.0.2.100 or "
        "2001:db8::100 is expected"}},
      {"VIPADISTRIBUTE 192.0.2.1 PORT 80 DESTIP ALL",
       {"f:2:16: VIPADISTRIBUTE: 192.0.2.1 is not defined: a VIPADEFINE or VIPABACKUP of it stands before"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT 0 70000 80 80 DESTIP ALL",
       {"f:3:31: VIPADISTRIBUTE: port 0 is outside 1–65535",
        "f:3:33: VIPADISTRIBUTE: port 70000 is outside 1–65535",
        "f:3:42: VIPADISTRIBUTE: port 80 is repeated: name each port once"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT 80",
       {"f:3:1: VIPADISTRIBUTE: DESTIP is missing: DESTIP ALL, or DESTIP with the targets' XCF addresses"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT DESTIP ALL",
       {"f:3:1: VIPADISTRIBUTE: PORT names no port: at least one is expected; without PORT, all ports are "
        "distributed"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 DISTMETHOD ROUNDROBIN DESTIP ALL",
       {"f:3:26: VIPADISTRIBUTE: \"DISTMETHOD\" is not understood here: PORT with a list of ports, or DESTIP, is "
        "expected"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 DESTIP ALL 10.0.0.1",
       {"f:3:37: VIPADISTRIBUTE: \"10.0.0.1\" follows ALL: DESTIP has either ALL or a list of XCF addresses"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 DESTIP 10.0.0.1 10.0.0.1",
       {"f:3:42: VIPADISTRIBUTE: 10.0.0.1 is repeated: name each target once"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 DESTIP 192.0.2.1",
       {"f:3:16: VIPADISTRIBUTE: DESTIP 192.0.2.1 is a DVIPA: targets are named by their XCF addresses"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 DESTIP ALL\nVIPADISTRIBUTE 192.0.2.1 PORT 1 DESTIP ALL",
       {"f:4:16: VIPADISTRIBUTE: line 3 distributes all ports of 192.0.2.1 already"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT 1 DESTIP ALL\nVIPADISTRIBUTE 192.0.2.1 DESTIP ALL",
       {"f:4:16: VIPADISTRIBUTE: without PORT this is all ports of 192.0.2.1, but line 3 distributes some of them "
        "already"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT 1 DESTIP ALL\n"
       "VIPADISTRIBUTE 192.0.2.1 PORT 2 1 DESTIP ALL",
       {"f:4:16: VIPADISTRIBUTE: port 1 of 192.0.2.1 is distributed already on line 3: name it once"}},
      {"VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE DELETE 192.0.2.1 PORT 5",
       {"f:3:23: VIPADISTRIBUTE: DELETE: port 5 of 192.0.2.1 is not distributed: a VIPADISTRIBUTE of it stands "
        "before"}},
      {"VIPADISTRIBUTE DELETE 192.0.2.1 DESTIP 10.0.0.1",
       {"f:2:23: VIPADISTRIBUTE: DELETE takes back ports for all targets: leave DESTIP out"}},
      {"VIPARANGE 255.255.255.0 192.0.2.0 192.0.3.0",
       {"f:2:35: VIPARANGE: \"192.0.3.0\" is too much: one mask and one address, or one prefix, make a range"}},
      {"VIPARANGE 255.255.255.0 192.0.2.0\nVIPARANGE 255.255.255.128 192.0.2.128",
       {"f:3:27: VIPARANGE: 192.0.2.128/25 overlaps 192.0.2.0/24 of line 2: ranges are apart from each other"}},
      {"VIPADELETE 192.0.2.1",
       {"f:2:12: VIPADELETE: 192.0.2.1 is not defined: a VIPADEFINE or VIPABACKUP of it stands before"}},
      {"VIPADEFIME 255.255.255.0 192.0.2.1",
       {"f:2:1: \"VIPADEFIME\" is not a statement: did you mean VIPADEFINE?"}},
      {"VIPAROUTE 10.0.0.1", {"f:2:1: \"VIPAROUTE\" is not a statement: did you mean VIPARANGE?"}},
      {"VIPADYNAMIC", {"f:2:1: VIPADYNAMIC: ENDVIPADYNAMIC is missing before it"}},
      {"ENDVIPADYNAMIC 1.2.3.4\nVIPADYNAMIC",
       {"f:2:16: ENDVIPADYNAMIC: \"1.2.3.4\" is not understood here: nothing follows ENDVIPADYNAMIC but another "
        "VIPADYNAMIC"}},
      {"\x1b[31mred",
       {"f:2:1: VIPADYNAMIC: \"\\x1b[31mred\" is not understood here: a statement such as VIPADEFINE is "
        "expected"}},
  };
  for (const BadCase& c : table) {
    std::vector<std::string> sorted = c.errors;
    std::vector<std::string> got = errors_of(block(c.statements));
    std::sort(sorted.begin(), sorted.end());
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, sorted) << c.statements;
  }
}

TEST(Definition, ZeroByteEndsNoAddress) {
  const std::string zero(1, '\0');
  EXPECT_THAT(
      errors_of(block("VIPABACKUP 1 192.0.2.1" + zero)),
      ElementsAre("f:2:14: VIPABACKUP: \"192.0.2.1\\x00\" is not a DVIPA: an address such as 192.0.2.100 or "
                  "2001:db8::100 is expected"));
  EXPECT_THAT(errors_of(block("VIPADEFINE 255.255.255.0" + zero + " 192.0.2.1")), testing::SizeIs(1));
}

TEST(Definition, BlockIsOpenedAndClosed) {
  EXPECT_THAT(errors_of(""),
              ElementsAre("f:1:1: there is no definition block: VIPADYNAMIC … ENDVIPADYNAMIC is expected"));
  EXPECT_THAT(errors_of("VIPADYNAMIC VIPABACKUP 1 192.0.2.1"),
              ElementsAre("f:1:26: VIPADYNAMIC: the block is not closed: ENDVIPADYNAMIC is missing at the end"));
  EXPECT_THAT(errors_of("VIPABACKUP 1 192.0.2.1 ENDVIPADYNAMIC"),
              ElementsAre("f:1:1: VIPABACKUP: VIPADYNAMIC is missing before it"));
}

// An error in a VIPADEFINE is reported once, not again by each statement about the same address.
TEST(Definition, ErrorsDoNotCascade) {
  EXPECT_THAT(errors_of(block("VIPADEFINE 255.0.255.0 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT 99999 DESTIP ALL\n"
                              "VIPADISTRIBUTE DELETE 192.0.2.1\nVIPADELETE 192.0.2.1")),
              testing::SizeIs(2));
}

TEST(Definition, SixtyFourPortsAreTheMost) {
  std::string ports;
  for (int p = 1; p <= 64; ++p) ports += fmt::format(" {}", p);
  const std::string start = "VIPABACKUP 1 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT" + ports;
  EXPECT_THAT(errors_of(block(start + " DESTIP ALL")), IsEmpty());
  EXPECT_THAT(
      errors_of(block(start + " 65 DESTIP ALL")),
      ElementsAre("f:3:16: VIPADISTRIBUTE: 65 distributed ports of 192.0.2.1 are too many: a DVIPA can have 64, "
                  "or all by leaving PORT out"));
  EXPECT_THAT(errors_of(block(start + " DESTIP ALL\nVIPADISTRIBUTE 192.0.2.1 PORT 65 DESTIP ALL")),
              testing::SizeIs(1));
}

RC_GTEST_PROP(Definition, LayoutAndCaseDoNotMatter, ()) {
  const std::string text =
      block("VIPADEFINE 255.255.255.0 192.0.2.1\nVIPADISTRIBUTE 192.0.2.1 PORT 7 DESTIP 10.0.0.1");
  std::string varied;
  for (const char c : text) {
    if (c == ' ' || c == '\n') {
      varied += *rc::gen::elementOf(std::vector<std::string>{" ", "\n", "\t ", " ; a comment\n", "\r\n", ","});
    } else {
      varied += *rc::gen::arbitrary<bool>() ? static_cast<char>(std::tolower(c)) : c;
    }
  }
  const ParsedDefinition parsed = parse_definition(varied, "f");
  RC_ASSERT(parsed.errors.empty());
  RC_ASSERT(parsed.definition.distributes.at(0).ports == std::vector<std::uint16_t>{7});
}

RC_GTEST_PROP(Definition, AnyWordsEndInDefinitionOrErrors, ()) {
  const auto words =
      *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(std::vector<std::string>{"VIPADYNAMIC",
                                                                                                "ENDVIPADYNAMIC",
                                                                                                "VIPADEFINE",
                                                                                                "VIPABACKUP",
                                                                                                "VIPADISTRIBUTE",
                                                                                                "VIPARANGE",
                                                                                                "VIPADELETE",
                                                                                                "MOVEABLE",
                                                                                                "IMMEDIATE",
                                                                                                "WHENIDLE",
                                                                                                "DISRUPTIVE",
                                                                                                "DEFINE",
                                                                                                "DELETE",
                                                                                                "PORT",
                                                                                                "DESTIP",
                                                                                                "ALL",
                                                                                                "192.0.2.1",
                                                                                                "192.0.2.2",
                                                                                                "10.0.0.1",
                                                                                                "255.255.255.0",
                                                                                                "80",
                                                                                                "0",
                                                                                                "300",
                                                                                                "junk",
                                                                                                "; comment\n",
                                                                                                "\n"}));
  std::string text;
  for (const std::string& w : words) text += w + " ";
  const ParsedDefinition parsed = parse_definition(text, "f");
  for (const Distribute& d : parsed.definition.distributes) {
    if (parsed.errors.empty()) {
      RC_ASSERT(parsed.definition.find_define(d.address) || parsed.definition.find_backup(d.address));
    }
  }
}

TEST(Nearest, FindsWhatWasMeant) {
  const std::vector<std::string_view> known = {"name", "cluster", "session-ttl-seconds"};
  EXPECT_EQ(nearest("Nmae", known), "name");
  EXPECT_EQ(nearest("session-ttl", known), "session-ttl-seconds");
  EXPECT_EQ(nearest("x", std::vector<std::string_view>{"xcf"}), "");
  EXPECT_EQ(nearest("session_ttl_seconds", known), "session-ttl-seconds");
  EXPECT_EQ(nearest("zzzzzzzz", known), "");
}

}  // namespace
}  // namespace testudo::vipa
