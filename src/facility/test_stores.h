// SPDX-License-Identifier: Apache-2.0
// A facility of either kind with the faults that the contract test wants: the one in memory, and a real etcd.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "facility/etcd/etcd_facility.h"
#include "facility/facility.h"
#include "facility/memory/memory_store.h"
#include "facility/test_executor.h"

namespace testudo::facility {

class TestStore {
 public:
  explicit TestStore(TestExecutor::Mode mode) : time_is_exact_(mode == TestExecutor::kVirtual), executor_(mode) {}
  TestStore(const TestStore&) = delete;
  TestStore& operator=(const TestStore&) = delete;
  virtual ~TestStore() = default;

  TestExecutor& executor() { return executor_; }
  /// Time is virtual, so that a test may measure it.
  [[nodiscard]] bool time_is_exact() const { return time_is_exact_; }
  /// Empty: fit to test. Otherwise what is wrong with this host.
  [[nodiscard]] virtual std::string trouble() const { return {}; }
  virtual std::unique_ptr<Facility> connect(const std::string& node) = 0;
  /// Nobody gets an answer, until resume(); the store keeps its content and its clock runs on.
  virtual void stop_answering() = 0;
  virtual void resume() = 0;
  /// The store forgets its history while nobody can reach it; a deletion of `key` happens meanwhile.
  virtual void lose_history_and(const std::string& key) = 0;

 private:
  bool time_is_exact_;
  TestExecutor executor_;
};

class MemoryTestStore final : public TestStore {
 public:
  MemoryTestStore()
      : TestStore(TestExecutor::kVirtual), store(executor(), {.latency = 2ms, .call_timeout = 500ms}) {}
  std::unique_ptr<Facility> connect(const std::string& node) override {
    nodes_.push_back(node);
    return store.connect(executor(), node);
  }
  void stop_answering() override {
    for (const auto& node : nodes_) store.set_reachable(node, false);
  }
  void resume() override {
    for (const auto& node : nodes_) store.set_reachable(node, true);
  }
  void lose_history_and(const std::string& key) override {
    stop_answering();
    auto other = store.connect(executor(), "other");
    other->remove(key, store.entries().at(key).modified, [](const Result<CasOutcome>&) {});
    executor().run_for(100ms);
    store.compact();
    resume();
  }

  MemoryStore store;

 private:
  std::vector<std::string> nodes_;
};

/// etcd on free loopback ports with a directory of its own.
class EtcdProcess {
 public:
  static constexpr const char* kProgram = "/usr/bin/etcd";

  /// With `certificates` (a directory of tools/make-certificates.sh) it serves https and demands client
  /// certificates.
  explicit EtcdProcess(std::string certificates = {}) : certificates_(std::move(certificates)) {
    std::string pattern = std::filesystem::temp_directory_path() / "testudo-etcd-XXXXXX";
    CHECK(mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    client_port_ = free_port();
    peer_port_ = free_port();
    start();
  }
  EtcdProcess(const EtcdProcess&) = delete;
  EtcdProcess& operator=(const EtcdProcess&) = delete;
  ~EtcdProcess() {
    stop();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    const std::string scheme = certificates_.empty() ? "http" : "https";
    std::vector<std::string> arguments = {
        kProgram,
        "--name=test",
        "--data-dir=" + directory_ + "/data",
        "--log-outputs=" + directory_ + "/log",
        "--logger=zap",
        "--listen-client-urls=" + endpoint(),
        "--advertise-client-urls=" + endpoint(),
        "--listen-peer-urls=http://127.0.0.1:" + std::to_string(peer_port_),
        "--initial-advertise-peer-urls=http://127.0.0.1:" + std::to_string(peer_port_),
        "--initial-cluster=test=http://127.0.0.1:" + std::to_string(peer_port_),
        "--heartbeat-interval=50",
        "--election-timeout=250",
        "--unsafe-no-fsync"};
    if (!certificates_.empty()) {
      arguments.push_back("--client-cert-auth");
      arguments.push_back("--trusted-ca-file=" + certificates_ + "/ca.crt");
      arguments.push_back("--cert-file=" + certificates_ + "/etcd.crt");
      arguments.push_back("--key-file=" + certificates_ + "/etcd.key");
    }
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // not even a test that aborts leaves it behind
    const int null = open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) dup2(null, fd);
    execv(kProgram, argv.data());
    _exit(127);
  }
  void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGCONT);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void freeze() const {
    kill(pid_, SIGSTOP);
    waitpid(pid_, nullptr, WUNTRACED);  // until every thread of it stands still
  }
  void thaw() const { kill(pid_, SIGCONT); }

  [[nodiscard]] std::string endpoint() const {
    return (certificates_.empty() ? "http" : "https") + std::string("://127.0.0.1:") + std::to_string(client_port_);
  }
  /// Runs etcdctl; true if it succeeds.
  [[nodiscard]] bool control(const std::string& arguments) const {
    const std::string command =
        "ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + endpoint() + " " + arguments + " >/dev/null 2>&1";
    return std::system(command.c_str()) == 0;
  }

 private:
  static std::uint16_t free_port() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    close(fd);
    return ntohs(address.sin_port);
  }

  std::string certificates_;
  std::string directory_;
  std::uint16_t client_port_ = 0;
  std::uint16_t peer_port_ = 0;
  pid_t pid_ = -1;
};

class EtcdTestStore final : public TestStore {
 public:
  EtcdTestStore() : TestStore(TestExecutor::kReal) {
    if (trouble().empty()) etcd = std::make_unique<EtcdProcess>();
  }
  [[nodiscard]] std::string trouble() const override {
    for (const char* program : {EtcdProcess::kProgram, "/usr/bin/etcdctl"}) {
      if (access(program, X_OK) != 0) {
        return std::string(program) + " is missing: install Debian's etcd-server and etcd-client (tools/setup.sh)";
      }
    }
    return {};
  }
  std::unique_ptr<Facility> connect(const std::string&) override {
    auto facility = connect_etcd(executor(), {.endpoints = {etcd->endpoint()}, .call_timeout = 500ms});
    CHECK(facility.has_value());
    return std::move(*facility);
  }
  void stop_answering() override { etcd->freeze(); }
  void resume() override { etcd->thaw(); }
  /// etcd restarts and compacts in between, before our client is back: it retries every 100 ms, etcdctl waits for
  /// it.
  void lose_history_and(const std::string& key) override {
    etcd->stop();
    executor().run_for(300ms);
    etcd->start();
    while (!etcd->control("del " + key)) usleep(20'000);  // this thread is the executor: our client cannot list yet
    CHECK(etcd->control("put filler 1"));
    CHECK(etcd->control("compact $(ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + etcd->endpoint() +
                        " get filler -w fields | sed -n 's/\"Revision\" : //p')"));
  }

  std::unique_ptr<EtcdProcess> etcd;
};

struct StoreMaker {
  std::string name;
  std::function<std::unique_ptr<TestStore>()> make;
};
inline std::ostream& operator<<(std::ostream& out, const StoreMaker& maker) { return out << maker.name; }

}  // namespace testudo::facility
