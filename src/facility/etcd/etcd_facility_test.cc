// SPDX-License-Identifier: Apache-2.0
// What only the etcd client has: endpoints to choose from, TLS, a server that restarts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "facility/etcd/etcd_facility.h"
#include "facility/test_stores.h"

namespace testudo::facility {
namespace {

using ::testing::HasSubstr;

constexpr Duration kSoon = 15s;

class EtcdFacilityTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(EtcdTestStore().trouble(), ""); }

  std::unique_ptr<Facility> connect(EtcdOptions options) {
    options.call_timeout = 500ms;
    auto facility = connect_etcd(executor_, std::move(options));
    EXPECT_TRUE(facility.has_value()) << facility.error().message;
    return facility ? std::move(*facility) : nullptr;
  }
  Result<CasOutcome> put(Facility& facility, const std::string& key) {
    std::optional<Result<CasOutcome>> answer;
    facility.compare_and_set({.key = key, .value = "v"}, [&](Result<CasOutcome> r) { answer = std::move(r); });
    EXPECT_TRUE(executor_.run_until([&] { return answer.has_value(); }, kSoon));
    return *answer;
  }
  bool put_in_the_end(Facility& facility, const std::string& key) {
    const Time end = executor_.now() + kSoon;
    while (executor_.now() < end) {
      const auto outcome = put(facility, key);
      if (outcome) return outcome->done || outcome->current.has_value();
      last_error_ = outcome.error().message;
      executor_.run_for(100ms);
    }
    return false;
  }

  TestExecutor executor_{TestExecutor::kReal};
  std::string last_error_;
};

TEST_F(EtcdFacilityTest, SaysWhatIsWrongWithAnEndpointOrAFile) {
  const auto error_of = [&](EtcdOptions options) {
    const auto facility = connect_etcd(executor_, std::move(options));
    return facility ? std::string("no error") : facility.error().message;
  };
  EXPECT_THAT(error_of({.endpoints = {}}), HasSubstr("name at least one"));
  for (const std::string bad :
       {"", "http://", "10.0.0.1", "http://10.0.0.1", "10.0.0.1:", ":1", "ftp://h:1", "h:1/x"}) {
    EXPECT_THAT(error_of({.endpoints = {bad}}), HasSubstr("write http://HOST:PORT")) << bad;
  }
  EXPECT_THAT(error_of({.endpoints = {"https://h:1"}}), HasSubstr("all three of"));
  EXPECT_THAT(
      error_of({.endpoints = {"h:1"}, .ca_file = "/none/ca", .certificate_file = "/none/c", .key_file = "/none/k"}),
      HasSubstr("cannot read '/none/ca'"));
}

TEST_F(EtcdFacilityTest, MovesOnToAnEndpointThatAnswers) {
  EtcdProcess etcd;
  const auto facility = connect({.endpoints = {"http://127.0.0.1:1", etcd.endpoint()}});
  std::vector<std::string> seen;
  facility->watch("/", [&](const Event& event) { seen.push_back(event.entry.key); });
  EXPECT_TRUE(put_in_the_end(*facility, "/k")) << last_error_;
  EXPECT_TRUE(executor_.run_until([&] { return !seen.empty(); }, kSoon));
}

TEST_F(EtcdFacilityTest, ResumesAWatchWithoutGapWhenEtcdRestarts) {
  EtcdProcess etcd;
  const auto facility = connect({.endpoints = {etcd.endpoint()}});
  std::vector<std::string> seen;
  facility->watch("/w/", [&](const Event& event) { seen.push_back(event.entry.key); });
  ASSERT_TRUE(put_in_the_end(*facility, "/w/1"));
  ASSERT_TRUE(executor_.run_until([&] { return seen.size() == 1; }, kSoon));
  etcd.stop();
  executor_.run_for(500ms);
  etcd.start();
  while (!etcd.control("put /w/2 x")) usleep(20'000);
  ASSERT_TRUE(etcd.control("del /w/2"));
  ASSERT_TRUE(etcd.control("put /w/3 x"));
  ASSERT_TRUE(executor_.run_until([&] { return seen.size() >= 4; }, kSoon));
  EXPECT_THAT(seen, ::testing::ElementsAre("/w/1", "/w/2", "/w/2", "/w/3"));
}

class EtcdTlsTest : public EtcdFacilityTest {
 protected:
  void SetUp() override {
    EtcdFacilityTest::SetUp();
    std::string pattern = std::filesystem::temp_directory_path() / "testudo-etcd-tls-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    for (const std::string authority : {"ca", "other"}) {
      const std::string command = "tools/make-certificates.sh " + directory_ + "/" + authority + " " + authority +
                                  " t1=127.0.0.1 >/dev/null";
      ASSERT_EQ(std::system(command.c_str()), 0) << "run this from the project's root";
    }
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  EtcdOptions options(const std::string& endpoint, const std::string& ca, const std::string& own) const {
    return {.endpoints = {endpoint},
            .ca_file = directory_ + "/" + ca + "/ca.crt",
            .certificate_file = directory_ + "/" + own + "/t1.crt",
            .key_file = directory_ + "/" + own + "/t1.key"};
  }
  std::string directory_;
};

TEST_F(EtcdTlsTest, TalksToEtcdOverMutualTls) {
  EtcdProcess etcd(directory_ + "/ca");
  const auto facility = connect(options(etcd.endpoint(), "ca", "ca"));
  EXPECT_TRUE(put_in_the_end(*facility, "/k")) << last_error_;
}

TEST_F(EtcdTlsTest, TrustsNoEtcdOfAnotherAuthorityAndIsNotTrustedByIt) {
  EtcdProcess etcd(directory_ + "/ca");
  ASSERT_TRUE(put_in_the_end(*connect(options(etcd.endpoint(), "ca", "ca")), "/k"));
  const auto distrusting = connect(options(etcd.endpoint(), "other", "ca"));
  EXPECT_FALSE(put(*distrusting, "/distrusting").has_value());
  const auto distrusted = connect(options(etcd.endpoint(), "ca", "other"));
  EXPECT_FALSE(put(*distrusted, "/distrusted").has_value());
}

}  // namespace
}  // namespace testudo::facility
