// SPDX-License-Identifier: Apache-2.0
#include "node/control_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "io/descriptor.h"
#include "io/loop.h"

namespace testudo::node {
namespace {

using testing::HasSubstr;

class ControlSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "testudo-control-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ + "/run/n.sock";
    loop_ = io::Loop::create().value();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<std::unique_ptr<ControlSocket>> open() {
    return ControlSocket::open(*loop_, path_, "",
                               [this](const ControlSocket::Request& request, ControlSocket::Reply reply) {
                                 const std::string& command = request.command;
                                 commands_.push_back(command);
                                 if (command == "later") {
                                   later_ = std::move(reply);
                                 } else {
                                   reply({{"you_said", command}});
                                 }
                               });
  }
  io::Descriptor client() {
    io::Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path_.begin(), path_.end(), address.sun_path);
    CHECK(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
  }
  void rounds() {
    for (int i = 0; i < 20; ++i) loop_->run_once(Duration(0));
  }
  /// Sends, lets the loop turn, and returns what has come back; "EOF" at the end if the node has closed.
  std::string exchange(const io::Descriptor& fd, const std::string& text) {
    for (std::size_t sent = 0; sent < text.size();) {
      const ssize_t n = ::send(fd.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n < 0) break;
      sent += static_cast<std::size_t>(n);
    }
    rounds();
    std::string out;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0) out.append(buffer, static_cast<std::size_t>(n));
    return n == 0 || errno == ECONNRESET ? out + "EOF" : out;  // reset: it closed with bytes unread
  }

  std::string folder_, path_;
  std::unique_ptr<io::Loop> loop_;
  std::vector<std::string> commands_;
  ControlSocket::Reply later_;
};

TEST_F(ControlSocketTest, AnswersLineByLine) {
  const auto socket = open();
  ASSERT_TRUE(socket) << socket.error().message;
  const io::Descriptor fd = client();
  EXPECT_EQ(exchange(fd, "{\"command\": \"status\"}\n"), "{\"you_said\":\"status\"}\n");
  EXPECT_EQ(exchange(fd, "{\"command\": \"a\"}\n{\"command\": \"b\"}\n"),
            "{\"you_said\":\"a\"}\n{\"you_said\":\"b\"}\n");
  EXPECT_EQ(exchange(fd, "{\"comm"), "");
  EXPECT_EQ(exchange(fd, "and\": \"c\"}\n"), "{\"you_said\":\"c\"}\n");
}

TEST_F(ControlSocketTest, BadRequestsGetAnError) {
  const auto socket = open();
  const io::Descriptor fd = client();
  for (const char* bad :
       {"\n", "status\n", "[]\n", "{}\n", "{\"command\": 5}\n", "{\"command\": \n", "\xff\xfe\n"}) {
    EXPECT_THAT(exchange(fd, bad), HasSubstr("\"error\":\"a request is one line of JSON")) << bad;
  }
  EXPECT_TRUE(commands_.empty());
}

TEST_F(ControlSocketTest, RequestsAreBounded) {
  const auto socket = open();
  const io::Descriptor fd = client();
  EXPECT_THAT(exchange(fd, std::string(5000, 'x')), testing::EndsWith("EOF"));
  EXPECT_EQ(exchange(client(), "{\"command\": \"s\"}\n"), "{\"you_said\":\"s\"}\n");
}

TEST_F(ControlSocketTest, ReplyMayComeLaterOrNeverBeWanted) {
  auto socket = open();
  {
    const io::Descriptor fd = client();
    EXPECT_EQ(exchange(fd, "{\"command\": \"later\"}\n{\"command\": \"next\"}\n"), "");
    EXPECT_THAT(commands_, testing::ElementsAre("later"));  // one at a time
    later_({{"at", "last"}});
    later_({{"and", "again"}});  // ignored
    EXPECT_EQ(exchange(fd, ""), "{\"at\":\"last\"}\n{\"you_said\":\"next\"}\n");
    exchange(fd, "{\"command\": \"later\"}\n");
  }
  rounds();
  later_({{"to", "nobody"}});  // the asker is gone
  rounds();
  socket.value().reset();
  later_({{"from", "nobody"}});  // the node is gone
}

TEST_F(ControlSocketTest, AskerMayShutDownItsSideFirst) {
  const auto socket = open();
  const io::Descriptor fd = client();
  const std::string request = "{\"command\": \"status\"}\n";
  ASSERT_EQ(::send(fd.get(), request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(exchange(fd, ""), "{\"you_said\":\"status\"}\nEOF");
}

TEST_F(ControlSocketTest, OnlyTheOwnerMayConnect) {
  const auto socket = open();
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(ControlSocketTest, LiveNodeIsNotReplacedADeadOneIs) {
  auto first = open();
  ASSERT_TRUE(first);
  const auto second = open();
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("a node is already running with the control socket"));
  EXPECT_EQ(exchange(client(), "{\"command\": \"s\"}\n"), "{\"you_said\":\"s\"}\n");
  const std::string kept = path_ + ".kept";
  std::filesystem::create_hard_link(path_, kept);  // survives the orderly end, as the file does a crash
  first.value().reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
  std::filesystem::rename(kept, path_);
  EXPECT_TRUE(open());
}

TEST_F(ControlSocketTest, OtherFilesAreNotTouched) {
  std::filesystem::create_directories(folder_ + "/run");
  std::ofstream(path_) << "precious";
  const auto socket = open();
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error().message, HasSubstr("is no socket"));
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(ControlSocketTest, ManyAskersAtOnce) {
  const auto socket = open();
  std::vector<io::Descriptor> all;
  for (int i = 0; i < 40; ++i) {
    all.push_back(client());
    rounds();
  }
  EXPECT_EQ(exchange(all[0], "{\"command\": \"s\"}\n"), "{\"you_said\":\"s\"}\n");
  EXPECT_THAT(exchange(all[39], ""), "EOF");  // turned away
}

}  // namespace
}  // namespace testudo::node
