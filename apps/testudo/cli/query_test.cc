// SPDX-License-Identifier: Apache-2.0
// The command line against a control socket served by the node's own code.
#include "cli/query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cli/command_line.h"
#include "io/loop.h"
#include "node/control_socket.h"

namespace testudo::cli {
namespace {

using testing::HasSubstr;

struct Outcome {
  int status;
  std::string out, err;
};

Outcome testudo(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "testudo");
  std::ostringstream out, err;
  const int status = run(static_cast<int>(arguments.size()), arguments.data(), out, err);
  return {status, out.str(), err.str()};
}

class Query : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "testudo-query-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ + "/n.sock";
  }
  void TearDown() override {
    if (loop_) loop_->stop();
    if (thread_.joinable()) thread_.join();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void serve(node::ControlSocket::Handler handler) {
    loop_ = io::Loop::create().value();
    server_ = node::ControlSocket::open(*loop_, path_, "", std::move(handler)).value();
    thread_ = std::thread([this] { loop_->run(); });
  }

  std::string folder_, path_;
  std::unique_ptr<io::Loop> loop_;
  std::unique_ptr<node::ControlSocket> server_;
  std::thread thread_;
};

TEST_F(Query, AnswerAsTableAndAsJson) {
  serve([](const node::ControlSocket::Request& request, node::ControlSocket::Reply reply) {
    if (request.command != "status") return reply(node::ControlSocket::unknown_command(request.command));
    reply({{"node", "t1"}, {"cluster", "demo"}, {"version", "9"}});
  });
  const Outcome table = testudo({"status", "--socket", path_.c_str()});
  EXPECT_EQ(table.status, kOk);
  EXPECT_THAT(table.out, HasSubstr("node t1 of cluster demo, testudo 9\n"));
  const Outcome json = testudo({"status", "--json", "--socket", path_.c_str()});
  EXPECT_EQ(json.status, kOk);
  EXPECT_EQ(json.out, "{\"cluster\":\"demo\",\"node\":\"t1\",\"version\":\"9\"}\n");
  const Outcome refused = testudo({"sa", "--socket", path_.c_str()});
  EXPECT_EQ(refused.status, kFailed);
  EXPECT_THAT(refused.err, HasSubstr("this node knows no command"));
}

// Much larger than a socket's buffer.
TEST_F(Query, LargeAnswerComesWhole) {
  serve([](const node::ControlSocket::Request&, node::ControlSocket::Reply reply) {
    reply({{"big", std::string(5U << 20, 'x')}});
  });
  const Result<nlohmann::json> answer = ask(path_, "connections", 10s);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->at("big").get<std::string>().size(), 5U << 20);
}

TEST_F(Query, NobodyThere) {
  const Outcome missing = testudo({"status", "--socket", path_.c_str()});
  EXPECT_EQ(missing.status, kUnreachable);
  EXPECT_EQ(missing.err, "testudo: node not running? no socket at " + path_ + "\n");
}

TEST_F(Query, NodeThatDoesNotAnswerInTime) {
  serve([](const node::ControlSocket::Request&, const node::ControlSocket::Reply&) {});
  const Result<nlohmann::json> answer = ask(path_, "status", 100ms);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("does not answer in time"));
}

TEST(CommandLine, ExitStatuses) {
  EXPECT_EQ(testudo({}).status, kUsage);
  EXPECT_EQ(testudo({"fly"}).status, kUsage);
  EXPECT_EQ(testudo({"check"}).status, kUsage);
  EXPECT_EQ(testudo({"status", "--socket", "a", "--config", "b"}).status, kUsage);
  EXPECT_EQ(testudo({"--help"}).status, kOk);
  EXPECT_EQ(testudo({"--version"}).status, kOk);
  EXPECT_EQ(testudo({"sa", "--help"}).status, kOk);
  EXPECT_EQ(testudo({"node", "--config", "no/such.toml"}).status, kFailed);
}

}  // namespace
}  // namespace testudo::cli
