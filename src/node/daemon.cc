// SPDX-License-Identifier: Apache-2.0
#include "node/daemon.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <memory>

#include "base/rng.h"
#include "facility/etcd/etcd_facility.h"
#include "ike/bridge.h"
#include "io/loop.h"
#include "io/netlink/kernel_network.h"
#include "node/control_socket.h"
#include "node/log_spdlog.h"
#include "node/node.h"
#include "node/report.h"
#include "node/thread_data_plane.h"
#include "xcf/grpc/grpc_bus.h"

namespace testudo::node {
namespace {

// Of all threads, for those that are made later inherit it: a new SA passes five of them on its way to a target and
// back, and members that are not heard in time are taken for dead. Above what else the host does, below the
// workers.
constexpr int kControlNice = -5;

/// SIGINT and SIGTERM as something to wait for. Blocked before any thread is made, so that none is interrupted.
Result<io::Descriptor> stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  if (pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return fail(io::system_error("blocking signals"));
  io::Descriptor descriptor(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!descriptor.open()) return fail(io::system_error("signalfd"));
  return descriptor;
}

void make_folder_of(const std::string& socket) {
  std::error_code ignored;  // the socket's own error says what is missing
  std::filesystem::create_directories(std::filesystem::path(socket).parent_path(), ignored);
}

/// The real world of one node, in the order in which it is built up; destroyed in reverse.
struct Daemon {
  explicit Daemon(const NodeConfig& of) : config(of) {}

  const NodeConfig& config;
  std::unique_ptr<Log> log = make_log(config);
  KernelRng rng;
  io::Descriptor signals;
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<ControlSocket> control;
  std::unique_ptr<KeyLog> key_log;
  std::unique_ptr<facility::Facility> facility;
  std::unique_ptr<xcf::GrpcBus> bus;
  io::KernelNetwork host;
  std::unique_ptr<ike::CharonBridge> charon;
  std::unique_ptr<ThreadDataPlane> plane;
  std::unique_ptr<Node> node;
  int status = 0;

  Result<void> build();
  Result<void> listen();
  Result<void> open_key_log();
  void stop(int with_status);
};

Result<void> Daemon::build() {
  auto blocked = stop_signals();
  if (!blocked) return tl::unexpected(blocked.error());
  signals = std::move(*blocked);
  auto made = io::Loop::create();
  if (!made) return tl::unexpected(made.error());
  loop = std::move(*made);
  if (auto listening = listen(); !listening) return listening;
  if (auto opened = open_key_log(); !opened) return opened;

  auto etcd = facility::connect_etcd(*loop, {.endpoints = config.facility.endpoints,
                                             .ca_file = config.tls.ca,
                                             .certificate_file = config.tls.certificate,
                                             .key_file = config.tls.key});
  if (!etcd) return tl::unexpected(etcd.error());
  facility = std::move(*etcd);
  xcf::GrpcOptions options;
  options.listen = {config.xcf.address, config.xcf.control_port};
  options.ca_file = config.tls.ca;
  options.certificate_file = config.tls.certificate;
  options.key_file = config.tls.key;
  auto streams = xcf::GrpcBus::listen(*loop, options);
  if (!streams) return tl::unexpected(streams.error());
  bus = std::move(*streams);
  if (config.ike.enabled()) {
    make_folder_of(config.ike.socket);
    charon = std::make_unique<ike::CharonBridge>(*loop, config.ike.socket);
  }
  plane = std::make_unique<ThreadDataPlane>(config, *loop, host, rng, *log);
  node = std::make_unique<Node>(config, Node::World{.executor = *loop,
                                                    .rng = rng,
                                                    .facility = *facility,
                                                    .bus = *bus,
                                                    .plane = *plane,
                                                    .host = host,
                                                    .ike = charon.get(),
                                                    .log = *log,
                                                    .key_log = key_log.get()});
  node->on_failed([this](const Error& error) {
    log->error("{}", error.message);
    stop(1);
  });
  return {};
}

Result<void> Daemon::listen() {
  make_folder_of(config.control.socket);
  auto socket = ControlSocket::open(*loop, config.control.socket, config.control.group,
                                    [this](const ControlSocket::Request& request, ControlSocket::Reply reply) {
                                      if (node)
                                        node->answer(request, std::move(reply));
                                      else
                                        reply({{"error", "the node is starting"}});
                                    });
  if (!socket) return tl::unexpected(socket.error());
  control = std::move(*socket);
  return loop->watch(signals.get(), EPOLLIN, [this](std::uint32_t) {
    signalfd_siginfo info{};
    if (read(signals.get(), &info, sizeof info) != sizeof info) return;
    log->info("stopping: signal {}", info.ssi_signo);
    stop(0);
  });
}

Result<void> Daemon::open_key_log() {
  if (config.debug.key_log.empty()) return {};
  auto opened = KeyLog::open(config.debug.key_log);
  if (!opened) return tl::unexpected(opened.error());
  key_log = std::move(*opened);
  log->warning(
      "[debug] key-log is on: THE KEYS OF ALL SAS ARE WRITTEN TO {}; whoever has that file can read their "
      "traffic. Leave the key out when you are done, and remove the file",
      key_log->path());
  return {};
}

void Daemon::stop(int with_status) {
  status = with_status;
  if (node) node->stop();
  loop->stop();
}

}  // namespace

int run_daemon(const NodeConfig& config) {
  // No core dump and no ptrace by others: key material passes through more than locked memory (spec B6).
  prctl(PR_SET_DUMPABLE, 0);
  static_cast<void>(setpriority(PRIO_PROCESS, 0, kControlNice));  // without the right to, it runs as it is
  Daemon daemon(config);
  if (auto built = daemon.build(); !built) {
    daemon.log->error("{}", built.error().message);
    return 1;
  }
  daemon.log->info("testudo {} starts as {} in cluster {}", TESTUDO_VERSION, config.name, config.cluster);
  daemon.node->start();
  daemon.loop->run();
  return daemon.status;
}

}  // namespace testudo::node
