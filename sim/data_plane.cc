// SPDX-License-Identifier: Apache-2.0
#include "sim/data_plane.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "node/worker_config.h"
#include "sim/fast_text.h"
#include "wire/esp.h"
#include "wire/ipv4.h"

namespace testudo::sim {
namespace {

constexpr std::uint16_t kIkePort = 500;
constexpr std::uint16_t kNatTraversalPort = 4500;
constexpr std::uint32_t kNetworkMtu = 1500;
constexpr std::size_t kExpandedKeys = 256;  // many nodes live in one process
constexpr int kRoundsMost = 1000;           // of one turn; more is a loop that never ends

}  // namespace

SimDataPlane::SimDataPlane(World world)
    : world_(std::move(world)), clock_(world_.time, world_.clock_offset), thread_(world_.time) {}

io::MemoryPort* SimDataPlane::port(std::unique_ptr<io::PacketPort>& place) {
  auto made = std::make_unique<io::MemoryPort>();
  io::MemoryPort* result = made.get();
  place = std::move(made);
  return result;
}

Result<void> SimDataPlane::start(const vipa::Identity& self, OnEvent on_event) {
  on_event_ = std::move(on_event);
  auto engine = crypto::make_engine(node::crypto_backend(world_.config));
  if (!engine) return tl::unexpected(engine.error());
  auto transforms = ipsec::Transforms::make(std::move(*engine), world_.rng, kExpandedKeys);
  if (!transforms) return tl::unexpected(transforms.error());
  path::WorkerConfig config = node::worker_config(world_.config, self, kNetworkMtu, world_.rng);
  // Memory that is taken at the start: many nodes live in one process here.
  config.sequencer.sas_max = config.lessee.sas_max = config.commits.sas_max = 64;
  path::WorkerPorts ports;
  tun_ = port(ports.tun);
  raw_ = port(ports.raw);
  xcf_data_ = port(ports.xcf_data);
  xcf_fast_ = port(ports.xcf_fast);
  worker_ =
      std::make_unique<path::Worker>(config, std::move(ports), std::move(*transforms), clock_, commands_, events_);
  wake();
  return {};
}

void SimDataPlane::submit(path::Command command) {
  backlog_.push_back(std::move(command));
  wake();
}

Result<void> SimDataPlane::serve(const std::vector<io::SteeredDvipa>& dvipas) {
  for (auto entry = ports_.begin(); entry != ports_.end();) {
    const bool wanted = std::any_of(dvipas.begin(), dvipas.end(),
                                    [&](const io::SteeredDvipa& d) { return d.address == entry->first; });
    if (!wanted) submit(path::SetDvipaPorts{.dvipa = entry->first, .ike = nullptr, .nat_t = nullptr});
    entry = wanted ? std::next(entry) : ports_.erase(entry);
  }
  for (const io::SteeredDvipa& dvipa : dvipas) {
    const bool known = ports_.contains(dvipa.address);
    DvipaPorts& ports = ports_[dvipa.address];
    ports.owned = dvipa.owned;
    if (known) continue;
    path::SetDvipaPorts command{.dvipa = dvipa.address, .ike = nullptr, .nat_t = nullptr};
    ports.ike = port(command.ike);
    ports.nat_t = port(command.nat_t);
    submit(std::move(command));
  }
  return {};
}

const path::WorkerCounters* SimDataPlane::counters() const { return worker_ ? &worker_->counters() : nullptr; }

// ---- what arrives ----

void SimDataPlane::udp(Endpoint source, Endpoint destination, const Bytes& payload) {
  const auto found = ports_.find(destination.address);
  if (found == ports_.end() || !found->second.owned) return;
  io::MemoryPort* to = destination.port == kNatTraversalPort ? found->second.nat_t
                       : destination.port == kIkePort        ? found->second.ike
                                                             : nullptr;
  if (to == nullptr) return;
  to->inject(payload, {.source = source, .destination = destination});
  wake();
}

// The raw port's tap sees what is for an owned DVIPA.
void SimDataPlane::ip(const Bytes& packet) {
  const auto view = wire::parse_ipv4(packet);
  if (!view || raw_ == nullptr) return;
  const auto found = ports_.find(view->destination());
  if (found == ports_.end() || !found->second.owned) return;
  raw_->inject(packet);
  wake();
}

void SimDataPlane::xcf(Endpoint source, Endpoint destination, const Bytes& payload) {
  io::MemoryPort* to = destination.port == world_.config.xcf.data_port   ? xcf_data_
                       : destination.port == world_.config.xcf.fast_port ? xcf_fast_
                                                                         : nullptr;
  if (to == nullptr) return;
  to->inject(payload, {.source = source, .destination = destination});
  wake();
}

void SimDataPlane::from_kernel(const Bytes& packet, const io::MemoryPort::Meta& meta) {
  if (tun_ == nullptr) return;
  tun_->inject(packet, meta);
  wake();
}

// ---- the thread ----

void SimDataPlane::wake() {
  if (worker_) turn_at(world_.time.now() + world_.network.up_to(world_.scheduling.wake_most));
}

void SimDataPlane::turn_at(Time when) {
  when = std::max({when, busy_until_, world_.time.now()});
  if (next_turn_ && *next_turn_ <= when) return;
  thread_.cancel(timer_);
  next_turn_ = when;
  timer_ = thread_.run_after(when - world_.time.now(), [this] { turn(); });
}

void SimDataPlane::turn() {
  next_turn_.reset();
  turned_ = true;
  const Duration late = world_.network.chance(world_.scheduling.preemption)
                            ? world_.network.up_to(world_.scheduling.preempted_most)
                            : Duration::zero();
  Time next = Time::max();
  for (int round = 0;; ++round) {
    CHECK(round < kRoundsMost);
    hand_over_commands();
    const path::Worker::Turn done = worker_->turn();
    take_events();
    next = done.next_timer;
    if (!done.busy && backlog_.empty()) break;
  }
  send_all(late);
  busy_until_ = world_.time.now() + late;
  // A timer that is due already is a worker that asks to be turned at once: time must pass in between.
  if (next != Time::max()) turn_at(std::max(clock_.virtual_time(next), world_.time.now() + 1us));
}

void SimDataPlane::hand_over_commands() {
  while (!backlog_.empty() && commands_.has_room()) {
    CHECK(commands_.push(std::move(backlog_.front())));
    backlog_.pop_front();
  }
}

void SimDataPlane::take_events() {
  path::Event event;
  while (events_.pop(event)) {
    // The executor takes copies; an event can only be moved.
    auto shared = std::make_shared<path::Event>(std::move(event));
    world_.control.post([this, shared] { on_event_(std::move(*shared)); });
  }
}

void SimDataPlane::later(Duration late, std::function<void()> task) {
  if (late == Duration::zero()) return task();
  thread_.run_after(late, std::move(task));
}

void SimDataPlane::send_all(Duration late) {
  if (late != Duration::zero()) world_.transcript.tell(world_.config.name, "preempted for {} us", late / 1us);
  const std::string& name = world_.config.name;
  for (auto& sent : tun_->take_sent()) {
    later(late, [this, bytes = std::move(sent.bytes)] { world_.to_kernel(bytes); });
  }
  for (auto& sent : raw_->take_sent()) {
    const auto ip = wire::parse_ipv4(sent.bytes);
    if (ip && ip->protocol() == wire::kProtocolEsp) {
      sent_protected(ip->payload());
    } else {
      world_.invariants.clear_sent(name, sent.bytes);
    }
    later(late, [this, bytes = std::move(sent.bytes)] { world_.network.send_ip(world_.config.name, bytes); });
  }
  for (auto& [dvipa, ports] : ports_) {
    send_udp(*ports.ike, late);
    send_udp(*ports.nat_t, late);
  }
  tell_trains();
  for (io::MemoryPort* port : {xcf_data_, xcf_fast_}) {
    for (auto& sent : port->take_sent()) {
      if (port == xcf_fast_) world_.transcript.line(name, fast_text(sent.bytes));
      later(late, [this, sent = std::move(sent)] {
        world_.network.send_xcf(world_.config.name, sent.source, sent.destination, sent.bytes);
      });
    }
  }
}

void SimDataPlane::sent_protected(std::span<const std::uint8_t> esp) {
  world_.invariants.protected_sent(world_.config.name, esp);
  if (const auto* header = wire::parse_esp(esp)) sent_[header->spi()].push_back(header->sequence_low());
}

// One line for each run of numbers.
void SimDataPlane::tell_trains() {
  for (const auto& [spi, numbers] : sent_) {
    for (std::size_t first = 0, last = 0; first < numbers.size(); first = ++last) {
      while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
      world_.transcript.tell(world_.config.name, "sends SPI {:#x}, {} to {}", spi.value(), numbers[first],
                             numbers[last]);
    }
  }
  sent_.clear();
}

void SimDataPlane::send_udp(io::MemoryPort& port, Duration late) {
  for (auto& sent : port.take_sent()) {
    const bool nat_t = sent.source.port == kNatTraversalPort;
    if (nat_t && wire::classify_udp_4500(sent.bytes) == wire::Udp4500::kEsp) sent_protected(sent.bytes);
    later(late, [this, sent = std::move(sent)] {
      world_.network.send_udp(world_.config.name, sent.source, sent.destination, sent.bytes);
    });
  }
}

}  // namespace testudo::sim
