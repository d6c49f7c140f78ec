// SPDX-License-Identifier: Apache-2.0
#include "ike/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace testudo::ike {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kEsp = ipsec::Protocol::kEsp;
constexpr auto kAh = ipsec::Protocol::kAh;

ChildConfiguration child(std::vector<Proposal> proposals) {
  return {.connection = "clients", .child = "web", .mode = 2, .proposals = std::move(proposals)};
}

std::vector<std::string> refused(const ChildConfiguration& configuration) {
  std::vector<std::string> out;
  for (const Objection& o : objections({configuration}, {})) {
    if (o.refused) out.push_back(o.text);
  }
  return out;
}

TEST(Agreement, WhatTheEngineCanDoIsNotObjectedTo) {
  EXPECT_THAT(objections({}, {}), IsEmpty());
  const auto none = objections({child({
                                   {kEsp, {{20, 128}, {20, 256}, {28, 0}, {16, 192}}, {}},       // AEADs
                                   {kEsp, {{12, 128}, {13, 256}, {11, 0}}, {{12, 0}, {14, 0}}},  // each with each
                                   {kAh, {}, {{12, 0}, {5, 0}}},
                               })},
                               {});
  EXPECT_THAT(none, IsEmpty()) << none.front().text;
}

TEST(Agreement, AMismatchNamesConnectionChildAndProposal) {
  EXPECT_THAT(
      refused(child({{kEsp, {{20, 128}}, {}}, {kEsp, {{3, 0}, {12, 128}}, {{1, 0}, {12, 0}}}})),
      ElementsAre(testing::AllOf(HasSubstr("connection clients, child web: ESP proposal with 3DES_CBC(3) ("),
                                 HasSubstr("SHOULD NOT in RFC 8221 section 5"),
                                 HasSubstr("Write esp_proposals of aes128gcm16")),
                  testing::AllOf(HasSubstr("ESP proposal with HMAC_MD5_96(1) ("),
                                 HasSubstr("MUST NOT in RFC 8221 section 6"))));
  EXPECT_THAT(refused(child({{kEsp, {{23, 256}}, {{12, 0}}}})),
              ElementsAre(HasSubstr("ESP proposal with CAMELLIA_CBC(23) with 256 bits: the engine has no such")));
  EXPECT_THAT(refused(child({{kAh, {}, {{1, 0}}}})), ElementsAre(HasSubstr("AH proposal with HMAC_MD5_96(1)")));
  EXPECT_THAT(
      refused(child({{kEsp, {{12, 128}}, {}}})),
      ElementsAre(HasSubstr("ESP proposal AES_CBC(12) with a key of 128 bits, no integrity: not supported")));
}

TEST(Agreement, ModesAndOptions) {
  ChildConfiguration c = child({{kEsp, {{20, 128}}, {}}});
  c.mode = 1;
  EXPECT_THAT(refused(c), IsEmpty());
  c.mode = 3;
  c.ipcomp = c.sha256_96 = true;
  EXPECT_THAT(refused(c), ElementsAre(HasSubstr("set mode = tunnel or transport"), HasSubstr("set ipcomp = no"),
                                      HasSubstr("set sha256_96 = no")));
}

TEST(Agreement, WhatIsOnItsWayOutIsAWarning) {
  const auto list = objections({child({{kEsp, {{12, 128}}, {{2, 0}}}, {kAh, {}, {{2, 0}}}})}, {});
  ASSERT_EQ(list.size(), 2U);
  EXPECT_FALSE(list[0].refused);
  EXPECT_THAT(list[0].text, HasSubstr("AES-CBC-128+HMAC-SHA1-96 is MUST- in RFC 8221"));
  EXPECT_THAT(list[1].text, HasSubstr("child web: HMAC-SHA1-96 is MUST- in RFC 8221"));
}

TEST(Agreement, EachTextOnce) {
  const Proposal bad{kEsp, {{3, 0}}, {{12, 0}}};
  EXPECT_EQ(refused(child({bad, bad})).size(), 1U);
}

}  // namespace
}  // namespace testudo::ike
