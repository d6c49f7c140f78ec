// SPDX-License-Identifier: Apache-2.0
#include "node/thread_data_plane.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "io/tun/tun_port.h"
#include "io/udp/udp_port.h"
#include "node/worker_config.h"
#include "wire/udp.h"

namespace testudo::node {
namespace {

constexpr int kWorkerNice = -10;  // a worker that waits for a processor holds up the leases of a whole SA

}  // namespace

ThreadDataPlane::ThreadDataPlane(const NodeConfig& config, io::Loop& loop, io::HostNetwork& host, Rng& rng,
                                 Log& log)
    : config_(config), loop_(loop), host_(host), rng_(rng), log_(log) {}

ThreadDataPlane::~ThreadDataPlane() {
  stop_ = true;
  if (poller_) poller_->wake();
  if (thread_.joinable()) thread_.join();
}

Result<void> ThreadDataPlane::start(const vipa::Identity& self, OnEvent on_event) {
  on_event_ = std::move(on_event);
  const auto network = host_.interface(config_.interfaces.network);
  if (!network) return tl::unexpected(network.error());
  auto ports = open_ports();
  if (!ports) return tl::unexpected(ports.error());
  auto engine = crypto::make_engine(crypto_backend(config_));
  if (!engine) return tl::unexpected(engine.error());
  auto transforms = ipsec::Transforms::make(std::move(*engine), rng_);
  if (!transforms) return tl::unexpected(transforms.error());
  auto poller = io::Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  poller_ = std::move(*poller);
  worker_ = std::make_unique<path::Worker>(worker_config(config_, self, network->mtu, rng_), std::move(*ports),
                                           std::move(*transforms), clock_, commands_, events_);
  thread_ = std::thread([this] { run_worker(); });
  return {};
}

Result<path::WorkerPorts> ThreadDataPlane::open_ports() {
  path::WorkerPorts ports;
  auto tun =
      io::TunPort::open({.name = config_.interfaces.tun, .mtu = config_.interfaces.tun_mtu, .udp_trains = true});
  if (!tun) return tl::unexpected(tun.error());
  ports.tun = std::move(*tun);
  auto raw = io::RawPort::open({.device = config_.interfaces.network});
  if (!raw) return tl::unexpected(raw.error());
  raw_ = raw->get();
  ports.raw = std::move(*raw);
  const auto xcf = [this](std::uint16_t port) {
    io::UdpPort::Options options;
    options.local = {config_.xcf.address, port};
    options.device = config_.interfaces.xcf;  // spec C6: what does not come by the XCF link is not heard
    return io::UdpPort::open(options);
  };
  auto data = xcf(config_.xcf.data_port);
  if (!data) return tl::unexpected(data.error());
  ports.xcf_data = std::move(*data);
  auto fast = xcf(config_.xcf.fast_port);
  if (!fast) return tl::unexpected(fast.error());
  ports.xcf_fast = std::move(*fast);
  return ports;
}

// ---- DVIPAs' sockets ----

Result<path::SetDvipaPorts> ThreadDataPlane::open_sockets(const io::SteeredDvipa& dvipa, bool was_here) const {
  const auto open = [&](std::uint16_t port) {
    io::UdpPort::Options options;
    options.local = {dvipa.address, port};
    options.free_bind = true;
    return io::UdpPort::open(options);
  };
  path::SetDvipaPorts ports{.dvipa = dvipa.address, .ike = nullptr, .nat_t = nullptr, .keep_nat_t = was_here};
  if (!was_here) {
    auto nat_t = open(wire::kNatTraversalPort);
    if (!nat_t) return tl::unexpected(nat_t.error());
    ports.nat_t = std::move(*nat_t);
  }
  if (!dvipa.owned) return ports;
  auto ike = open(wire::kIkePort);
  if (!ike) return tl::unexpected(ike.error());
  ports.ike = std::move(*ike);
  return ports;
}

Result<void> ThreadDataPlane::serve(const std::vector<io::SteeredDvipa>& dvipas) {
  Result<void> result;
  std::map<IpAddress, bool> wanted;
  std::vector<IpAddress> owned;
  for (const io::SteeredDvipa& dvipa : dvipas) {
    wanted[dvipa.address] = dvipa.owned;
    if (dvipa.owned) owned.push_back(dvipa.address);
  }
  for (const auto& [address, owned_before] : served_) {
    if (!wanted.contains(address)) submit(path::SetDvipaPorts{.dvipa = address, .ike = nullptr, .nat_t = nullptr});
  }
  for (const io::SteeredDvipa& dvipa : dvipas) {
    const auto before = served_.find(dvipa.address);
    if (before != served_.end() && before->second == dvipa.owned) continue;
    auto sockets = open_sockets(dvipa, before != served_.end());
    if (sockets) {
      submit(std::move(*sockets));
    } else {
      result = tl::unexpected(sockets.error());
      wanted.erase(dvipa.address);
      if (before != served_.end()) wanted[dvipa.address] = before->second;
    }
  }
  served_ = std::move(wanted);
  if (raw_ != nullptr) {
    if (auto set = raw_->set_addresses(owned); !set) result = set;
  }
  return result;
}

// ---- the queues ----

void ThreadDataPlane::submit(path::Command command) {
  waiting_.push_back(std::move(command));
  push_waiting();
}

void ThreadDataPlane::push_waiting() {
  while (!waiting_.empty() && commands_.has_room()) {
    CHECK(commands_.push(std::move(waiting_.front())));
    waiting_.pop_front();
  }
  if (poller_) poller_->wake();
  if (waiting_.empty() || std::exchange(retry_pending_, true)) return;
  loop_.run_after(1ms, [this] {
    retry_pending_ = false;
    push_waiting();
  });
}

void ThreadDataPlane::tell_control() {
  if (events_.empty() || told_.exchange(true)) return;
  loop_.post([this] { take_events(); });
}

void ThreadDataPlane::take_events() {
  told_ = false;
  path::Event event;
  while (events_.pop(event)) on_event_(std::exchange(event, {}));
}

// ---- the worker's thread ----

void ThreadDataPlane::run_worker() {
  static_cast<void>(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kWorkerNice));
  std::uint64_t generation = ~std::uint64_t{0};
  std::vector<int> watched;
  while (!stop_) {
    const path::Worker::Turn turn = worker_->turn();
    tell_control();
    if (turn.busy) continue;
    watch_descriptors(generation, watched);
    const Time now = clock_.now();
    const Duration timeout = turn.next_timer == Time::max() ? Duration(1s) : turn.next_timer - now;
    static_cast<void>(poller_->wait(std::clamp<Duration>(timeout, Duration::zero(), 1s)));
  }
}

void ThreadDataPlane::watch_descriptors(std::uint64_t& generation, std::vector<int>& watched) {
  if (generation == worker_->generation()) return;
  generation = worker_->generation();
  for (const int descriptor : watched) poller_->unwatch(descriptor);
  watched = worker_->descriptors();
  for (const int descriptor : watched) {
    if (auto done = poller_->watch(descriptor, static_cast<std::uint64_t>(descriptor)); !done) {
      loop_.post([this, message = done.error().message] { log_.error("worker: {}", message); });
    }
  }
}

}  // namespace testudo::node
