// SPDX-License-Identifier: Apache-2.0
// Nodes with a bus of either kind, for the contract test: each keeps what its bus told it.
#pragma once

#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "facility/test_executor.h"
#include "xcf/bus.h"
#include "xcf/grpc/grpc_bus.h"
#include "xcf/memory/memory_network.h"

namespace testudo::xcf {

inline constexpr std::size_t kTestQueueMessages = 256;
inline constexpr std::size_t kTestQueueBytes = 1 << 20;

struct TestNode {
  std::unique_ptr<Bus> bus;
  Member member;
  v1::Hello hello;
  std::map<std::string, v1::Hello> hellos;
  std::map<std::string, int> ups;
  std::map<std::string, std::string> downs;  // last reason
  std::vector<std::uint64_t> numbers;        // of heartbeats
  std::vector<std::string> messages;         // other ones, serialized
  std::vector<std::string> refusals;

  [[nodiscard]] bool is_up(const TestNode& peer) const { return hellos.contains(peer.member.name); }
  [[nodiscard]] std::string log() const {
    std::string text = member.name + ":";
    for (const auto& refusal : refusals) text += " refused " + refusal + ";";
    for (const auto& [peer, reason] : downs) text += " down " + peer + " " + reason + ";";
    return text + "\n";
  }
  [[nodiscard]] BusEvents events() {
    return {.up =
                [this](const v1::Hello& peer) {
                  hellos[peer.node()] = peer;
                  ++ups[peer.node()];
                },
            .down =
                [this](const std::string& peer, const std::string& reason) {
                  hellos.erase(peer);
                  downs[peer] = reason;
                },
            .received =
                [this](const std::string&, const v1::Envelope& message) {
                  if (message.has_heartbeat()) {
                    numbers.push_back(message.heartbeat().number());
                  } else {
                    messages.push_back(message.SerializeAsString());
                  }
                },
            .refused = [this](const std::string& who,
                              const std::string& reason) { refusals.push_back(who + ": " + reason); }};
  }
};

class TestCluster {
 public:
  struct NodeSpec {
    std::string name;
    std::string cluster = "c1";
    std::uint32_t version = 0;  // 0: the bus fills in its own
    std::string authority = "ca";
    std::string certificate{};          // name in it; empty: the node's (grpc only)
    std::string address = "127.0.0.1";  // grpc only
  };

  explicit TestCluster(facility::TestExecutor::Mode mode) : executor_(mode) {}
  TestCluster(const TestCluster&) = delete;
  TestCluster& operator=(const TestCluster&) = delete;
  virtual ~TestCluster() = default;

  facility::TestExecutor& executor() { return executor_; }
  TestNode& get(const std::string& name) { return *nodes_.at(name); }
  TestNode& add(const NodeSpec& spec) {
    auto node = std::make_unique<TestNode>();
    node->member.name = spec.name;
    node->hello.set_node(spec.name);
    node->hello.set_cluster(spec.cluster);
    node->hello.set_version(spec.version);
    node->hello.set_node_id(++last_id_);
    make_bus(spec, *node);
    node->bus->start(node->hello, node->events());
    return *(nodes_[spec.name] = std::move(node));
  }
  void stop(const std::string& name) { nodes_.at(name)->bus.reset(); }

 protected:
  virtual void make_bus(const NodeSpec& spec, TestNode& node) = 0;
  void clear() { nodes_.clear(); }

 private:
  facility::TestExecutor executor_;
  std::map<std::string, std::unique_ptr<TestNode>> nodes_;
  std::uint32_t last_id_ = 0;
};

class MemoryCluster final : public TestCluster {
 public:
  MemoryCluster()
      : TestCluster(facility::TestExecutor::kVirtual),
        network(
            executor(), 1,
            {.delay = 1ms, .jitter = 2ms, .queue_messages = kTestQueueMessages, .queue_bytes = kTestQueueBytes}) {}
  ~MemoryCluster() override { clear(); }

 private:
  void make_bus(const NodeSpec& spec, TestNode& node) override {
    node.bus = network.join(executor(), {.node = spec.name, .authority = spec.authority});
  }

 public:
  MemoryNetwork network;
};

/// Certificates of two clusters, made once per test program by the project's own script.
class Certificates {
 public:
  static const Certificates& get() {
    static const Certificates certificates;
    return certificates;
  }
  [[nodiscard]] GrpcOptions options(const std::string& authority, const std::string& node) const {
    const std::string directory = directory_ + "/" + authority + "/";
    GrpcOptions options;
    options.listen = {.address = IpAddress(0x7f000001), .port = 0};
    options.ca_file = directory + "ca.crt";
    options.certificate_file = directory + node + ".crt";
    options.key_file = directory + node + ".key";
    options.queue_messages = kTestQueueMessages;
    options.queue_bytes = kTestQueueBytes;
    return options;
  }

 private:
  Certificates() {
    std::string pattern = std::filesystem::temp_directory_path() / "testudo-tls-XXXXXX";
    CHECK(mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    for (const std::string authority : {"ca", "other"}) {
      const std::string command = "tools/make-certificates.sh " + directory_ + "/" + authority + " " + authority +
                                  " a=127.0.0.1 b=127.0.0.1 c=127.0.0.1 >/dev/null";
      CHECK(std::system(command.c_str()) == 0);  // run from the project's root
    }
  }
  ~Certificates() { std::filesystem::remove_all(directory_); }
  std::string directory_;
};

class GrpcCluster final : public TestCluster {
 public:
  GrpcCluster() : TestCluster(facility::TestExecutor::kReal) {}
  ~GrpcCluster() override { clear(); }

 private:
  void make_bus(const NodeSpec& spec, TestNode& node) override {
    auto options =
        Certificates::get().options(spec.authority, spec.certificate.empty() ? spec.name : spec.certificate);
    options.listen.address = *IpAddress::parse(spec.address);
    auto bus = GrpcBus::listen(executor(), options);
    if (!bus) std::fprintf(stderr, "%s\n", bus.error().message.c_str());
    CHECK(bus.has_value());
    node.member.control = (*bus)->endpoint();
    node.bus = std::move(*bus);
  }
};

struct ClusterMaker {
  std::string name;
  std::function<std::unique_ptr<TestCluster>()> make;
};
inline ClusterMaker memory_cluster() {
  return {"memory", [] { return std::make_unique<MemoryCluster>(); }};
}
inline ClusterMaker grpc_cluster() {
  return {"grpc", [] { return std::make_unique<GrpcCluster>(); }};
}
inline std::ostream& operator<<(std::ostream& out, const ClusterMaker& maker) { return out << maker.name; }

}  // namespace testudo::xcf
