// SPDX-License-Identifier: Apache-2.0
// What only the bus over gRPC has: certificates, ports, links that fall silent, peers that do not keep to the
// protocol.
#include "xcf/grpc/grpc_bus.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "xcf/grpc/codec.h"
#include "xcf/grpc/credentials.h"
#include "xcf/messages.grpc.pb.h"
#include "xcf/silent_relay.h"
#include "xcf/test_cluster.h"

namespace testudo::xcf {
namespace {

using ::testing::HasSubstr;
constexpr Duration kSoon = 15s;

class GrpcBusTest : public ::testing::Test {
 protected:
  bool until(const std::function<bool()>& done) { return cluster_.executor().run_until(done, kSoon); }
  GrpcCluster cluster_;
};

TEST_F(GrpcBusTest, SaysWhatIsWrongWithAFileOrAPort) {
  auto options = Certificates::get().options("ca", "a");
  const auto error_of = [&](const GrpcOptions& given) {
    const auto bus = GrpcBus::listen(cluster_.executor(), given);
    return bus ? std::string("no error") : bus.error().message;
  };
  auto wrong = options;
  wrong.key_file = "/none/key";
  EXPECT_THAT(error_of(wrong), HasSubstr("cannot read this node's private key from '/none/key'"));
  wrong = options;
  wrong.ca_file = "/dev/null";
  EXPECT_THAT(error_of(wrong), HasSubstr("cannot read the cluster's CA certificate from '/dev/null'"));
  wrong = options;
  wrong.listen = cluster_.add({.name = "b"}).member.control;
  EXPECT_THAT(error_of(wrong), HasSubstr("cannot listen on " + wrong.listen.to_string()));
  wrong = options;
  wrong.key_file = Certificates::get().options("ca", "b").key_file;
  EXPECT_THAT(error_of(wrong), HasSubstr("must belong together"));
}

TEST_F(GrpcBusTest, RefusesADiallerWhoseCertificateIsForAnotherName) {
  TestNode& a = cluster_.add({.name = "a", .certificate = "c"});
  TestNode& b = cluster_.add({.name = "b"});
  a.bus->add_member(b.member);
  b.bus->add_member(a.member);
  ASSERT_TRUE(until([&] { return !a.refusals.empty() && !b.refusals.empty(); }));
  EXPECT_THAT(b.refusals[0], HasSubstr("calls itself 'a' but its certificate is for 'c'"));
  EXPECT_TRUE(a.ups.empty());
  EXPECT_TRUE(b.ups.empty());
}

TEST_F(GrpcBusTest, RefusesAListenerWhoseCertificateIsForAnotherName) {
  TestNode& a = cluster_.add({.name = "a"});
  TestNode& b = cluster_.add({.name = "b", .certificate = "c"});
  a.bus->add_member(b.member);
  b.bus->add_member(a.member);
  ASSERT_TRUE(until([&] { return !a.refusals.empty(); }));
  EXPECT_THAT(a.refusals[0], HasSubstr("certificate"));
  EXPECT_TRUE(a.ups.empty());
  EXPECT_TRUE(b.ups.empty());
}

TEST_F(GrpcBusTest, LinksNodesOfEitherFamily) {
  TestNode& a = cluster_.add({.name = "a", .address = "::1"});
  TestNode& b = cluster_.add({.name = "b", .address = "::1"});
  TestNode& c = cluster_.add({.name = "c"});
  EXPECT_TRUE(b.member.control.address.is_v6());
  for (TestNode* one : {&a, &b, &c}) {
    for (TestNode* other : {&a, &b, &c}) {
      if (one != other) one->bus->add_member(other->member);
    }
  }
  EXPECT_TRUE(until([&] { return a.is_up(b) && b.is_up(a) && a.is_up(c) && c.is_up(a) && b.is_up(c); }));
}

TEST_F(GrpcBusTest, NoticesALinkThatHasFallenSilent) {
  TestNode& a = cluster_.add({.name = "a"});
  TestNode& b = cluster_.add({.name = "b"});
  SilentRelay relay(b.member.control);
  a.bus->add_member({.name = "b", .control = relay.endpoint()});
  b.bus->add_member(a.member);
  ASSERT_TRUE(until([&] { return a.is_up(b) && b.is_up(a); }));
  relay.fall_silent();
  EXPECT_TRUE(until([&] { return a.downs.contains("b") && b.downs.contains("a"); }));
  relay.speak_again();
  EXPECT_TRUE(until([&] { return a.ups["b"] == 2 && b.ups["a"] == 2; }));
}

TEST_F(GrpcBusTest, FollowsAMemberToItsNewAddress) {
  TestNode& a = cluster_.add({.name = "a"});
  TestNode& b = cluster_.add({.name = "b"});
  SilentRelay relay(b.member.control);
  b.bus->add_member(a.member);
  a.bus->add_member(b.member);
  ASSERT_TRUE(until([&] { return a.ups["b"] == 1 && b.ups["a"] == 1; }));
  a.bus->add_member({.name = "b", .control = relay.endpoint()});
  EXPECT_TRUE(until([&] { return a.ups["b"] == 2 && b.ups["a"] == 2; }));
  EXPECT_THAT(a.downs["b"], HasSubstr("has moved to"));
}

/// A peer that does as the test wants. Blocking calls, so they run on a thread of their own.
class RawPeer {
 public:
  RawPeer(const Endpoint& to, const std::string& certificate, const std::string& server) {
    auto options = Certificates::get().options("ca", certificate.empty() ? "a" : certificate);
    auto credentials = load_credentials(options);
    CHECK(credentials.has_value());
    if (certificate.empty()) {
      std::ifstream file(options.ca_file);
      grpc::SslCredentialsOptions anonymous;
      anonymous.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
      credentials->client = grpc::SslCredentials(anonymous);
    }
    stub_ = v1::Xcf::NewStub(grpc::CreateCustomChannel((to.address.is_v4() ? "ipv4:" : "ipv6:") + to.to_string(),
                                                       credentials->client, channel_arguments(options, server)));
    stream_ = stub_->Exchange(&context_);
  }
  ~RawPeer() {
    context_.TryCancel();
    if (reader_.joinable()) reader_.join();
  }
  void say(const v1::Envelope& message) { stream_->Write(message); }
  void greet(const std::string& name) {
    v1::Envelope envelope;
    envelope.mutable_hello()->set_node(name);
    envelope.mutable_hello()->set_cluster("c1");
    envelope.mutable_hello()->set_version(kProtocolVersion);
    say(envelope);
  }
  void read(Executor& executor) {
    reader_ = std::thread([this, &executor] {
      v1::Envelope message;
      while (stream_->Read(&message)) executor.post([this] { ++answers; });
      const grpc::Status status = stream_->Finish();
      executor.post([this, status] {
        end = status;
        ended = true;
      });
    });
  }
  int answers = 0;
  bool ended = false;
  grpc::Status end;

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::Xcf::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::Envelope, v1::Envelope>> stream_;
  std::thread reader_;
};

TEST_F(GrpcBusTest, TurnsAwayAClientWithoutCertificate) {
  TestNode& b = cluster_.add({.name = "b"});
  RawPeer peer(b.member.control, "", "b");
  peer.read(cluster_.executor());
  peer.greet("a");
  ASSERT_TRUE(until([&] { return peer.ended; }));
  EXPECT_EQ(peer.answers, 0);
  EXPECT_EQ(peer.end.error_code(), grpc::StatusCode::UNAVAILABLE) << peer.end.error_message();
  EXPECT_TRUE(b.ups.empty());
}

TEST_F(GrpcBusTest, RefusesAStreamThatDoesNotBeginWithHello) {
  TestNode& b = cluster_.add({.name = "b"});
  RawPeer peer(b.member.control, "a", "b");
  peer.read(cluster_.executor());
  v1::Envelope message;
  message.mutable_heartbeat()->set_number(1);
  peer.say(message);
  ASSERT_TRUE(until([&] { return peer.ended && !b.refusals.empty(); }));
  EXPECT_EQ(peer.answers, 0);
  EXPECT_EQ(peer.end.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(GrpcBusTest, RefusesTheLargerNameAsDialler) {
  TestNode& b = cluster_.add({.name = "b"});
  b.bus->add_member({.name = "c", .control = {}});
  RawPeer peer(b.member.control, "c", "b");
  peer.read(cluster_.executor());
  peer.greet("c");
  ASSERT_TRUE(until([&] { return peer.ended; }));
  EXPECT_THAT(peer.end.error_message(), HasSubstr("the one with the smaller name connects"));
}

TEST_F(GrpcBusTest, LetsANewerStreamOfTheSameNodeReplaceTheOlderOne) {
  TestNode& b = cluster_.add({.name = "b"});
  b.bus->add_member({.name = "a", .control = {}});
  RawPeer older(b.member.control, "a", "b");
  older.read(cluster_.executor());
  older.greet("a");
  ASSERT_TRUE(until([&] { return b.ups["a"] == 1 && older.answers == 1; }));
  RawPeer newer(b.member.control, "a", "b");
  newer.read(cluster_.executor());
  newer.greet("a");
  ASSERT_TRUE(until([&] { return b.ups["a"] == 2 && newer.answers == 1 && older.ended; }));
  EXPECT_THAT(b.downs["a"], HasSubstr("replaced by a newer connection"));
  EXPECT_FALSE(newer.ended);
  v1::Envelope message;
  message.mutable_heartbeat()->set_number(4);
  EXPECT_TRUE(b.bus->send("a", message));
  EXPECT_TRUE(until([&] { return newer.answers == 2; }));
}

TEST(Codec, GivesBackWhatItWasGivenAndRefusesWhatIsNone) {
  v1::Envelope sent;
  sent.mutable_install()->add_sas()->set_key("secret");
  grpc::ByteBuffer buffer = serialize(sent);
  v1::Envelope received;
  ASSERT_TRUE(parse(buffer, received));
  EXPECT_EQ(received.SerializeAsString(), sent.SerializeAsString());
  grpc::ByteBuffer empty = serialize(v1::Envelope());
  EXPECT_TRUE(parse(empty, received));
  const grpc::Slice rubbish(std::string("\xff\xff\xff\xff"));
  grpc::ByteBuffer bad(&rubbish, 1);
  EXPECT_FALSE(parse(bad, received));
}

}  // namespace
}  // namespace testudo::xcf
