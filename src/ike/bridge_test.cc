// SPDX-License-Identifier: Apache-2.0
// The bridge with a plugin played by the test, over a real Unix socket and a real loop.
#include "ike/bridge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <optional>

#include "bridge.pb.h"

namespace testudo::ike {
namespace {

using testing::HasSubstr;

const IpAddress kDvipa(0xc0000264), kPeer(0xc6336401);

/// Writes down what the bridge says.
class Recorder final : public IkeEvents {
 public:
  void ike_connected(const std::string& daemon, bool restarted) override {
    said.push_back("connected " + daemon + (restarted ? " restarted" : ""));
  }
  void ike_disconnected(const std::string& reason) override { said.push_back("disconnected " + reason); }
  Result<void> ike_configuration(const std::vector<ChildConfiguration>& children) override {
    configured = children;
    return children.empty() ? Result<void>() : fail("child " + children.back().child + " cannot be");
  }
  Result<Spi> allocate_spi(IpAddress dvipa, IpAddress) override {
    if (dvipa != kDvipa) return fail("not mine");
    return Spi(0x1234);
  }
  Result<void> add_sa(ipsec::SaParameters sa) override {
    tunnels.push_back(sa.tunnel);
    return {};
  }
  Result<void> update_sa(SaName, const SaPath& path) override {
    said.push_back("update to " + path.source.to_string());
    return {};
  }
  Result<SaUse> query_sa(SaName) override {
    return SaUse{.bytes = 7, .packets = 2, .used = true, .idle_seconds = 3};
  }
  Result<void> delete_sa(SaName name) override {
    said.push_back("delete " + std::to_string(name.spi.value()));
    return {};
  }
  void flush_sas() override { said.push_back("flush"); }
  Result<void> add_policy(const Policy& policy) override {
    said.push_back("policy " + policy.filters.at(0).tunnel());
    return {};
  }
  Result<void> delete_policy(const Policy&) override { return fail("no such policy"); }
  void flush_policies() override {}
  void send_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) override {
    said.push_back("ike " + local.to_string() + " " + remote.to_string() + " " + std::to_string(payload.size()));
  }
  void ike_warning(const std::string& text) override { said.push_back("warning " + text); }

  std::vector<std::string> said;
  std::vector<std::string> tunnels;
  std::vector<ChildConfiguration> configured;
};

class Plugin {
 public:
  explicit Plugin(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    connected = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }

  void send(const bridge::ToNode& message) { send(message.SerializeAsString()); }
  void send(const std::string& bytes) { EXPECT_GT(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), 0); }
  void hello(bool starts, std::uint32_t version = 2) {
    bridge::ToNode m;
    m.mutable_hello()->set_version(version);
    m.mutable_hello()->set_daemon("test");
    m.mutable_hello()->set_starts(starts);
    send(m);
  }
  std::optional<bridge::ToCharon> receive() {
    char buffer[65536];
    const ssize_t size = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    bridge::ToCharon m;
    if (size <= 0 || !m.ParseFromArray(buffer, static_cast<int>(size))) return std::nullopt;
    return m;
  }

  bool connected = false;

 private:
  io::Descriptor fd_;
};

class BridgeTest : public testing::Test {
 protected:
  BridgeTest() {
    char folder[] = "/tmp/testudo-bridge-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/charon.sock";
    loop_ = std::move(*io::Loop::create());
  }
  ~BridgeTest() override { std::filesystem::remove_all(folder_); }

  void turn() {
    for (int i = 0; i < 5; ++i) loop_->run_once(0ms);
  }
  void start() {
    bridge_ = std::make_unique<CharonBridge>(*loop_, path_);
    const auto started = bridge_->start(events_);
    ASSERT_TRUE(started) << started.error().message;
  }
  bridge::Answer ask(Plugin& plugin, bridge::ToNode message) {
    message.set_request(77);
    plugin.send(message);
    turn();
    const auto reply = plugin.receive();
    EXPECT_TRUE(reply && reply->has_answer() && reply->answer().request() == 77);
    return reply ? reply->answer() : bridge::Answer();
  }

  std::string folder_, path_;
  std::unique_ptr<io::Loop> loop_;
  Recorder events_;
  std::unique_ptr<CharonBridge> bridge_;
};

bridge::ToNode add_sa() {
  bridge::ToNode message;
  bridge::AddSa& m = *message.mutable_add_sa();
  m.mutable_id()->mutable_source()->set_address(kPeer.to_bytes());
  m.mutable_id()->mutable_destination()->set_address(kDvipa.to_bytes());
  m.mutable_id()->set_spi(0x1234);
  m.mutable_id()->set_protocol(50);
  m.set_inbound(true);
  m.set_reqid(1);
  m.set_connection("clients");
  m.set_mode(2);
  m.set_encryption(20);
  m.set_encryption_key(std::string(20, 'k'));
  m.set_integrity(1024);
  return message;
}

TEST_F(BridgeTest, SocketIsRootsAlone) {
  start();
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(BridgeTest, ConfigurationComesInPartsAndIsAnsweredAtTheEnd) {
  start();
  Plugin plugin(path_);
  plugin.hello(true);
  turn();
  ASSERT_TRUE(plugin.receive()->has_welcome());
  bridge::ToNode part;
  bridge::Child* child = part.mutable_configuration()->add_children();
  child->set_connection("clients");
  child->set_name("web");
  child->set_mode(1);
  bridge::Proposal* proposal = child->add_proposals();
  proposal->set_protocol(51);
  for (const std::uint32_t type : {1U, 3U, 4U}) {
    proposal->add_transforms()->set_type(type);
    proposal->mutable_transforms(proposal->transforms_size() - 1)->set_number(10 * type);
  }
  part.mutable_configuration()->set_more(true);
  EXPECT_EQ(ask(plugin, part).error(), "");
  EXPECT_TRUE(events_.configured.empty());
  part.mutable_configuration()->set_more(false);
  part.mutable_configuration()->mutable_children(0)->set_name("other");
  EXPECT_EQ(ask(plugin, part).error(), "child other cannot be");
  ASSERT_EQ(events_.configured.size(), 2U);
  EXPECT_EQ(events_.configured[0],
            (ChildConfiguration{.connection = "clients",
                                .child = "web",
                                .mode = 1,
                                .proposals = {{ipsec::Protocol::kAh, {{10, 0}}, {{30, 0}}}}}));
  // All of it again: what came before is replaced.
  EXPECT_EQ(ask(plugin, part).error(), "child other cannot be");
  EXPECT_EQ(events_.configured.size(), 1U);
}

TEST_F(BridgeTest, AnswersRequests) {
  start();
  Plugin plugin(path_);
  plugin.hello(true);
  turn();
  ASSERT_TRUE(plugin.receive()->has_welcome());
  EXPECT_TRUE(bridge_->connected());

  bridge::ToNode m;
  m.mutable_get_spi()->set_protocol(50);
  m.mutable_get_spi()->mutable_destination()->set_address(kDvipa.to_bytes());
  EXPECT_EQ(ask(plugin, m).spi(), 0x1234U);
  m.mutable_get_spi()->mutable_destination()->set_address(IpAddress(1).to_bytes());
  EXPECT_EQ(ask(plugin, m).error(), "not mine");

  EXPECT_EQ(ask(plugin, add_sa()).error(), "");
  EXPECT_THAT(events_.tunnels, testing::ElementsAre("clients{1}"));
  bridge::ToNode bad = add_sa();
  bad.mutable_add_sa()->set_encryption(3);
  EXPECT_THAT(ask(plugin, bad).error(), HasSubstr("3DES_CBC"));

  m.mutable_query_sa();
  EXPECT_EQ(ask(plugin, m).idle_seconds(), 3U);
  m.mutable_delete_policy()->mutable_policy();
  EXPECT_THAT(ask(plugin, m).error(), HasSubstr("unknown kind"));
  EXPECT_THAT(ask(plugin, bridge::ToNode()).error(), HasSubstr("does not know"));
}

TEST_F(BridgeTest, IkeDatagramsLoseAndGetTheMarkerOnPort4500Only) {
  start();
  Plugin plugin(path_);
  plugin.hello(true);
  turn();
  static_cast<void>(plugin.receive());
  const auto send = [&](std::uint16_t local, std::uint16_t remote, std::size_t size) {
    bridge::ToNode m;
    m.mutable_ike()->mutable_source()->set_address(kDvipa.to_bytes());
    m.mutable_ike()->mutable_source()->set_port(local);
    m.mutable_ike()->mutable_destination()->set_address(kPeer.to_bytes());
    m.mutable_ike()->mutable_destination()->set_port(remote);
    m.mutable_ike()->set_payload(std::string(size, '\0'));
    plugin.send(m);
  };
  send(500, 500, 28);
  send(4500, 40000, 32);
  send(4500, 500, 28);
  send(4500, 40000, 1);  // a NAT keepalive
  send(4500, 40000, 4);  // nothing behind the marker
  send(500, 500, 0);
  turn();
  EXPECT_THAT(events_.said, testing::ElementsAre("connected test", "ike 192.0.2.100:500 198.51.100.1:500 28",
                                                 "ike 192.0.2.100:4500 198.51.100.1:40000 28",
                                                 "ike 192.0.2.100:4500 198.51.100.1:500 28",
                                                 "ike 192.0.2.100:4500 198.51.100.1:40000 1"));

  const std::uint8_t payload[] = {9, 9, 9};
  EXPECT_TRUE(bridge_->deliver_ike({kDvipa, 4500}, {kPeer, 40000}, payload));
  EXPECT_EQ(plugin.receive()->ike().payload(), std::string("\0\0\0\0\x9\x9\x9", 7));
  EXPECT_TRUE(bridge_->deliver_ike({kDvipa, 500}, {kPeer, 500}, payload));
  const auto plain = plugin.receive();
  EXPECT_EQ(plain->ike().payload(), "\x9\x9\x9");
  EXPECT_EQ(plain->ike().source().address(), kPeer.to_bytes());
  // A peer whose own port is 4500 may send to 500: no marker in there, and charon strips none.
  EXPECT_TRUE(bridge_->deliver_ike({kDvipa, 500}, {kPeer, 4500}, payload));
  EXPECT_EQ(plugin.receive()->ike().payload().size(), 3U);
  EXPECT_FALSE(bridge_->deliver_ike({kDvipa, 500}, {kPeer, 500}, {}));
}

TEST_F(BridgeTest, UpCalls) {
  start();
  EXPECT_FALSE(bridge_->expire({Spi(1), kDvipa}, kPeer, Expiry::kSoft));
  Plugin plugin(path_);
  plugin.hello(true);
  turn();
  static_cast<void>(plugin.receive());
  EXPECT_TRUE(bridge_->expire({Spi(0xabcd), kDvipa}, kPeer, Expiry::kHard));
  const auto expire = plugin.receive();
  EXPECT_TRUE(expire->expire().hard());
  EXPECT_EQ(expire->expire().id().spi(), 0xabcdU);
  EXPECT_EQ(expire->expire().id().destination().address(), kDvipa.to_bytes());
  EXPECT_TRUE(bridge_->acquire({.reqid = 5, .source = {kDvipa, 80}, .destination = {kPeer, 0}, .protocol = 6}));
  const auto acquire = plugin.receive();
  EXPECT_EQ(acquire->acquire().reqid(), 5U);
  EXPECT_EQ(acquire->acquire().destination().last_port(), 65535U);
}

TEST_F(BridgeTest, AnotherCharonMeansOtherTunnelNames) {
  start();
  const auto name_after = [&](bool starts) {
    Plugin plugin(path_);
    plugin.hello(starts);
    turn();
    static_cast<void>(plugin.receive());
    ask(plugin, add_sa());
    return events_.tunnels.back();
  };
  EXPECT_EQ(name_after(true), "clients{1}");
  EXPECT_EQ(name_after(false), "clients{1}");  // the same one, connected again
  EXPECT_EQ(name_after(true), "clients{1}@1");
  EXPECT_EQ(name_after(true), "clients{1}@2");
  EXPECT_THAT(events_.said, testing::Contains("connected test restarted").Times(2));
}

TEST_F(BridgeTest, InstanceStaysForLifeAndDiffersFromTheNext) {
  const auto instance = [&] {
    Plugin plugin(path_);
    plugin.hello(false);
    turn();
    return plugin.receive()->welcome().instance();
  };
  start();
  const auto first = instance();
  EXPECT_EQ(instance(), first);
  bridge_.reset();
  EXPECT_FALSE(Plugin(path_).connected);
  start();
  EXPECT_NE(instance(), first);
}

TEST_F(BridgeTest, ANewerConnectionReplacesTheFormer) {
  start();
  Plugin old(path_);
  old.hello(true);
  turn();
  Plugin fresh(path_);
  fresh.hello(true);
  turn();
  ASSERT_EQ(events_.said.size(), 3U);
  EXPECT_EQ(events_.said[1], "disconnected a newer charon has connected");
  EXPECT_TRUE(bridge_->connected());
}

struct BadStart {
  const char* what;
  void (*send)(Plugin&);
  const char* says;
};
const BadStart kBadStarts[] = {
    {"rubbish", [](Plugin& p) { p.send(std::string("\xff\xff\xff")); }, "malformed"},
    {"no Hello", [](Plugin& p) { p.send(add_sa()); }, "not a Hello"},
    {"another version", [](Plugin& p) { p.hello(true, 3); }, "install both from one build"},
    {"two Hellos", [](Plugin& p) { p.hello(true), p.hello(true); }, "second Hello"},
};

TEST_F(BridgeTest, BadMessagesEndTheConnectionAndNotTheBridge) {
  start();
  for (const BadStart& c : kBadStarts) {
    Plugin plugin(path_);
    c.send(plugin);
    turn();
    EXPECT_FALSE(bridge_->connected()) << c.what;
    EXPECT_THAT(events_.said.back(), HasSubstr(c.says)) << c.what;
  }
  Plugin plugin(path_);
  plugin.hello(true);
  turn();
  EXPECT_TRUE(bridge_->connected());
}

TEST_F(BridgeTest, PathsThatCannotBe) {
  CharonBridge missing(*loop_, folder_ + "/nowhere/charon.sock");
  EXPECT_THAT(missing.start(events_).error().message, HasSubstr("No such file"));
  CharonBridge long_path(*loop_, "/tmp/" + std::string(200, 'x'));
  EXPECT_THAT(long_path.start(events_).error().message, HasSubstr("1–107"));
  start();
  CharonBridge second(*loop_, path_);
  EXPECT_THAT(second.start(events_).error().message, HasSubstr("another process"));
}

TEST(BridgeProtocol, MessagesAreZeroedOnceRead) {
  Recorder events;
  BridgeProtocol protocol(events, 1);
  std::string bytes = add_sa().SerializeAsString();
  std::vector<std::uint8_t> message(bytes.begin(), bytes.end());
  EXPECT_FALSE(protocol.handle(message));
  EXPECT_THAT(message, testing::Each(0));
}

}  // namespace
}  // namespace testudo::ike
