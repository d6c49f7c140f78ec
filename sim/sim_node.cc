// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_node.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace testudo::sim {

/// The host's kernel as the control plane asks it. Announcing a DVIPA moves it on the lan.
class SimNode::Host final : public io::HostNetwork {
 public:
  Host(World& world, std::string node, TcpServer& server)
      : world_(world), node_(std::move(node)), server_(server) {}

  Result<void> apply(const io::Steering& wanted) override {
    for (const io::SteeredDvipa& dvipa : wanted.dvipas) {
      if (dvipa.owned) {
        world_.network.set_address(dvipa.address, node_);
      } else if (world_.network.holder(dvipa.address) == node_) {
        world_.network.set_address(dvipa.address, "");
      }
    }
    return {};
  }
  Result<void> renew(const io::Steering&) override { return {}; }
  Result<void> clear(const io::Steering& last) override {
    for (const io::SteeredDvipa& dvipa : last.dvipas) {
      if (world_.network.holder(dvipa.address) == node_) world_.network.set_address(dvipa.address, "");
    }
    return {};
  }
  Result<void> announce(const std::string&, IpAddress dvipa) override {
    world_.network.set_address(dvipa, node_);
    return {};
  }
  Result<std::set<io::Listener>> listening_ports(const std::string&) override { return server_.listeners(); }
  Result<std::set<io::TcpConnection>> connections(const std::string&, std::span<const IpAddress> dvipas) override {
    return server_.connections(dvipas);
  }
  Result<io::InterfaceInfo> interface(const std::string&) override {
    return io::InterfaceInfo{.index = 1, .mtu = 1500, .up = true, .addresses = {}};
  }

 private:
  World& world_;
  std::string node_;
  TcpServer& server_;
};

class SimNode::Log final : public node::Log {
 public:
  Log(Transcript& transcript, std::string node) : transcript_(transcript), node_(std::move(node)) {}
  void line(node::LogLevel level, const std::string& text) override {
    if (level < node::LogLevel::kInfo) return;
    const char* mark = level == node::LogLevel::kError     ? "ERROR "
                       : level == node::LogLevel::kWarning ? "warning "
                                                           : "";
    transcript_.line(node_, mark + text);
  }

 private:
  Transcript& transcript_;
  std::string node_;
};

struct SimNode::Life {  // in the order of their dependence
  explicit Life(VirtualTime& time) : control(time), kernel(time) {}
  VirtualExecutor control, kernel;
  std::unique_ptr<Rng> rng;
  std::unique_ptr<Log> log;
  std::unique_ptr<TcpServer> server;
  std::unique_ptr<Host> host;
  std::unique_ptr<SimDataPlane> plane;
  std::unique_ptr<facility::Facility> facility;
  std::unique_ptr<xcf::Bus> bus;
  std::unique_ptr<SimIkeDaemon> ike;
  std::unique_ptr<node::Node> node;
};

SimNode::SimNode(World world, node::NodeConfig config, Options options)
    : world_(world), config_(std::move(config)), options_(options) {
  world_.network.set_xcf_address(config_.xcf.address, config_.name);
}

SimNode::~SimNode() {
  if (running()) crash();
}

void SimNode::start() {
  CHECK(!running());
  vanished_.reset();
  const std::uint64_t seed = options_.seed * 1000 + ++lives_;
  world_.transcript.line(config_.name, "starts");
  life_ = std::make_unique<Life>(world_.time);
  Life& life = *life_;
  life.rng = std::make_unique<SeededRng>(seed);
  life.log = std::make_unique<Log>(world_.transcript, config_.name);
  life.server = std::make_unique<TcpServer>(
      life.kernel, [this](const Bytes& p, const io::MemoryPort::Meta& m) { life_->plane->from_kernel(p, m); });
  for (const Endpoint& at : listeners_) life.server->listen(at);
  life.host = std::make_unique<Host>(world_, config_.name, *life.server);
  life.plane = std::make_unique<SimDataPlane>(
      SimDataPlane::World{.config = config_,
                          .time = world_.time,
                          .control = life.control,
                          .rng = *life.rng,
                          .network = world_.network,
                          .transcript = world_.transcript,
                          .invariants = world_.invariants,
                          .scheduling = options_.scheduling,
                          .clock_offset = Duration(seed % 977 * 1'000'003 + 1'000'000'000),
                          .to_kernel = [this](std::span<const std::uint8_t> packet) { from_tun(packet); }});
  life.facility = world_.store.connect(life.control, config_.name);
  world_.control.rejoin(config_.name);
  life.bus = world_.control.join(life.control, {.node = config_.name});
  if (options_.ike != nullptr) {
    life.ike = std::make_unique<SimIkeDaemon>(
        life.control, world_.transcript, config_.name, *options_.ike,
        [this](ike::SaName name, crypto::Suite suite) { outbound_installed(name, suite); });
  }
  life.node = std::make_unique<node::Node>(config_, node::Node::World{.executor = life.control,
                                                                      .rng = *life.rng,
                                                                      .facility = *life.facility,
                                                                      .bus = *life.bus,
                                                                      .plane = *life.plane,
                                                                      .host = *life.host,
                                                                      .ike = life.ike.get(),
                                                                      .log = *life.log});
  life.node->on_failed(
      [this](const Error& e) { world_.invariants.violated(config_.name + " failed: " + e.message); });
  attach();
  life.node->start();
}

void SimNode::attach() {
  SimDataPlane& plane = *life_->plane;
  world_.network.rejoin(config_.name);
  world_.network.attach(config_.name,
                        {.udp = [&plane](Endpoint s, Endpoint d, const Bytes& p) { plane.udp(s, d, p); },
                         .ip = [&plane](const Bytes& p) { plane.ip(p); },
                         .xcf = [&plane](Endpoint s, Endpoint d, const Bytes& p) { plane.xcf(s, d, p); }});
}

void SimNode::crash() {
  world_.transcript.line(config_.name, "crashes");
  cut_off();
  life_.reset();
}

void SimNode::vanish() {
  world_.transcript.line(config_.name, "vanishes");
  cut_off();
  vanished_ = std::move(life_);
}

void SimNode::cut_off() {
  world_.network.detach(config_.name);
  world_.control.isolate(config_.name);
  life_->control.stop();
  life_->kernel.stop();
}

void SimNode::from_tun(std::span<const std::uint8_t> packet) {
  const auto tcp = read_tcp(packet);
  if (!tcp) return world_.invariants.violated(config_.name + "'s kernel was handed a packet with a wrong checksum");
  if (tcp->number != 0) world_.invariants.delivered(config_.name, tcp->number, packet.size());
  // The client numbers what it protects, and only that.
  if (tcp->number == 0 && !world_.invariants.is_clear_permitted(tcp->destination.address))
    world_.invariants.violated(config_.name + "'s kernel was handed a packet that came in the clear");
  life_->server->receive(packet);
}

void SimNode::outbound_installed(ike::SaName name, crypto::Suite suite) {
  for (const auto& [dvipa, owned] : life_->node->owner_role()->owned()) {
    if (const auto* sa = owned.installation->find(name)) world_.invariants.outbound_sa(name.spi, sa->id, suite);
  }
}

const node::Node& SimNode::node() const { return *life_->node; }

SimDataPlane& SimNode::data_plane() { return *life_->plane; }

TcpServer& SimNode::server() { return *life_->server; }

const path::WorkerCounters* SimNode::counters() const { return life_->plane->counters(); }

SimIkeDaemon* SimNode::ike() { return life_->ike.get(); }

void SimNode::listen(Endpoint at) {
  listeners_.insert(at);
  if (running()) life_->server->listen(at);
}

void SimNode::stop_listening(Endpoint at) {
  listeners_.erase(at);
  if (running()) life_->server->stop_listening(at);
}

}  // namespace testudo::sim
