// SPDX-License-Identifier: Apache-2.0
// 100,000 SAs from one owner into 8 shadow SA caches: the product's OwnerRole, messages and encoding, ShadowRole,
// LocalSas and path::Worker, in one process and on one core, without a network between them.
//   bench_install OUT.json [SAS]
//
//   one by one   charon adds one SA after the other, while all members are there
//   all at once  all SAs are there when the members' links come up, as after a restart of theirs
//
// The owner's time has in it what it does for its own data plane, and the acknowledgements. Times are this thread's
// on the CPU; on hosts of their own, targets work at the same time as each other and, but for the first message and
// the last, as the owner. Memory: how much more is resident when it has happened, in a process of its own.
#include <malloc.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/in_child.h"
#include "crypto/engine.h"
#include "facility/memory/memory_facility.h"
#include "facility/memory/memory_store.h"
#include "facility/test_executor.h"
#include "io/clock.h"
#include "node/owner_role.h"
#include "node/shadow_role.h"
#include "node/worker_config.h"
#include "node/world_for_test.h"
#include "path/worker.h"

namespace testudo::bench {
namespace {

using node::hello_of;
using node::kDvipa;
using node::kEpoch;

constexpr std::size_t kTargets = 8;
constexpr std::size_t kAtOnce = 256;  // SAs that charon adds before anybody else runs

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Spent {
  double seconds = 0;
  template <typename Do>
  void on(Do work) {
    const double before = cpu_seconds();
    work();
    seconds += cpu_seconds() - before;
  }
};

/// One direction of a link: what xcf/grpc/codec.cc makes of a message, within the bounds of xcf/grpc/stream.cc.
struct Pipe {
  static constexpr std::size_t kMessagesMax = 1024, kBytesMax = 8 << 20;
  std::deque<std::string> queue;
  std::size_t queued = 0;  // bytes
  std::uint64_t bytes = 0, messages = 0;
  bool full = false;  // the link would have been reset

  bool send(const xcf::v1::Envelope& message) {
    std::string text;
    CHECK(message.SerializeToString(&text));
    if (queue.size() >= kMessagesMax || queued + text.size() > kBytesMax) full = true;
    queued += text.size();
    bytes += text.size();
    ++messages;
    queue.push_back(std::move(text));
    return !full;
  }
  bool take(xcf::v1::Envelope& message) {
    if (queue.empty()) return false;
    queued -= queue.front().size();
    CHECK(message.ParseFromString(queue.front()));
    queue.pop_front();
    return true;
  }
};

class PipeBus final : public xcf::Bus {
 public:
  void start(xcf::v1::Hello, xcf::BusEvents) override {}
  void add_member(const xcf::Member&) override {}
  void remove_member(const std::string&) override {}
  bool send(const std::string& node, const xcf::v1::Envelope& message) override { return to[node].send(message); }
  std::map<std::string, Pipe> to;
};

class NoLog final : public node::Log {
 public:
  void line(node::LogLevel level, const std::string& text) override {
    if (level == node::LogLevel::kWarning || level == node::LogLevel::kError)
      std::fprintf(stderr, "bench: %s\n", text.c_str());
  }
};

/// A real worker without ports, run by whoever submits.
class Plane final : public node::DataPlane {
 public:
  explicit Plane(const node::NodeConfig& config, NodeId self) {
    auto engine = crypto::make_engine(crypto::Backend::kBest);
    CHECK(engine.has_value());
    auto transforms = ipsec::Transforms::make(std::move(*engine), rng_);
    CHECK(transforms.has_value());
    worker_.emplace(
        worker_config(config, vipa::Identity{.name = config.name, .id = self, .incarnation = 1000u + self.value()},
                      1500, rng_),
        path::WorkerPorts{}, std::move(*transforms), clock_, commands_, events_);
  }
  Result<void> start(const vipa::Identity&, OnEvent) override { return {}; }
  void submit(path::Command command) override {
    if (!commands_.has_room()) run();
    CHECK(commands_.push(std::move(command)));
  }
  Result<void> serve(const std::vector<io::SteeredDvipa>&) override { return {}; }
  [[nodiscard]] const path::WorkerCounters* counters() const override { return &worker_->counters(); }
  void run() {
    while (worker_->turn().busy) {
      for (path::Event event; events_.pop(event);) events_seen_ += 1;
    }
    for (path::Event event; events_.pop(event);) events_seen_ += 1;
  }

 private:
  SeededRng rng_{5};
  io::MonotonicClock clock_;
  path::CommandQueue commands_{4096};
  path::EventQueue events_{4096};
  std::optional<path::Worker> worker_;
  std::uint64_t events_seen_ = 0;
};

std::string name_of(std::size_t target) { return "t" + std::to_string(target); }

node::NodeConfig config_of(const std::string& name) {
  std::string targets;
  for (std::size_t i = 0; i < kTargets; ++i) targets += " 10.77.0." + std::to_string(2 + i);
  node::NodeConfig config;
  config.name = name;
  config.cluster = "c1";
  config.definition = vipa::parse_definition(
                          "VIPADYNAMIC VIPADEFINE 255.255.255.0 192.0.2.100 VIPADISTRIBUTE DEFINE "
                          "192.0.2.100 PORT 443 DESTIP" +
                              targets + " ENDVIPADYNAMIC",
                          "bench")
                          .definition;
  return config;
}

class Target {
 public:
  Target(std::size_t index, facility::TestExecutor& executor)
      : hello_(hello_of(name_of(index), static_cast<std::uint16_t>(2 + index))),
        config_(config_of(hello_.node())),
        plane_(config_, NodeId(static_cast<std::uint16_t>(2 + index))),
        role_({.executor = executor,
               .bus = bus_,
               .local_sas = sas_,
               .log = log_,
               .tables_changed = [] {},
               .dvipas_changed = [] {}}) {}

  void received(const xcf::v1::Hello& from, const xcf::v1::Envelope& message) {
    if (message.has_vipa_list()) role_.vipa_list(from, message.vipa_list());
    if (message.has_install()) role_.install(from, message.install());
  }
  void run_worker() { plane_.run(); }
  [[nodiscard]] const xcf::v1::Hello& hello() const { return hello_; }
  [[nodiscard]] std::size_t sas() const { return sas_.all().size(); }
  Pipe& to_owner() { return bus_.to["owner"]; }
  Spent control, worker;

 private:
  xcf::v1::Hello hello_;
  node::NodeConfig config_;
  Plane plane_;
  PipeBus bus_;
  NoLog log_;
  ipsec::SaFactory factory_{2};
  node::LocalSas sas_{{}, factory_, plane_};
  node::ShadowRole role_;
};

ipsec::SaParameters sa_of(std::uint32_t n) {
  const bool inbound = n % 2 == 0;
  ipsec::SaParameters sa;
  sa.direction = inbound ? ipsec::Direction::kInbound : ipsec::Direction::kOutbound;
  sa.spi = Spi(0x10000000 + n);
  sa.local = kDvipa;
  sa.remote = IpAddress(0x0b000001 + n / 2);
  sa.udp_encapsulation = true;
  sa.local_port = sa.remote_port = 4500;
  sa.tunnel = "client/" + std::to_string(n / 2);
  sa.reqid = n / 2;
  sa.suite = crypto::Suite::kAesGcm128Icv16;
  sa.key = Secret(crypto::sizes(sa.suite).key);
  SeededRng(n + 1).fill(sa.key.mutable_bytes());
  sa.limits = {.soft_bytes = 900'000'000, .hard_bytes = 1'000'000'000, .soft_seconds = 3240, .hard_seconds = 3600};
  return sa;
}

class Cluster {
 public:
  explicit Cluster(std::size_t targets) {
    for (std::size_t i = 0; i < targets; ++i) targets_.push_back(std::make_unique<Target>(i, executor_));
    role_.became_owner(kDvipa, kEpoch);
  }

  void add_sas(std::uint32_t count) {
    for (std::uint32_t n = 0; n < count;) {
      std::vector<ipsec::SaParameters> sas;
      for (; n < count && sas.size() < kAtOnce; ++n) sas.push_back(sa_of(n));
      owner.on([&] {
        for (ipsec::SaParameters& sa : sas) CHECK(role_.add_sa(std::move(sa)).has_value());
        plane_.run();
      });
      settle();
    }
  }
  void links_up() {
    for (const auto& target : targets_) owner.on([&] { role_.link_up(target->hello()); });
    settle();
  }
  /// Until nobody has anything to say.
  void settle() {
    for (bool busy = true; busy;) {
      busy = false;
      for (const auto& target : targets_) {
        Pipe& pipe = bus_.to[target->hello().node()];
        if (pipe.queue.empty()) continue;
        busy = true;
        target->control.on([&] {
          for (xcf::v1::Envelope message; pipe.take(message);) target->received(hello_, message);
        });
        target->worker.on([&] { target->run_worker(); });
        owner.on([&] {
          for (xcf::v1::Envelope message; target->to_owner().take(message);) {
            if (message.has_ack()) role_.acknowledged(target->hello().node(), message.ack());
          }
        });
      }
    }
  }
  /// How many SAs nobody is known to lack.
  [[nodiscard]] std::size_t everywhere() const {
    const auto& installation = *role_.owned().at(kDvipa).installation;
    std::size_t count = 0;
    for (const auto& [id, sa] : installation.sas()) {
      bool all = true;
      for (const auto& target : targets_) all &= installation.holds(target->hello().node(), id);
      count += all ? 1 : 0;
    }
    return count;
  }
  [[nodiscard]] const std::vector<std::unique_ptr<Target>>& targets() const { return targets_; }
  [[nodiscard]] const Pipe& pipe(std::size_t target) { return bus_.to[name_of(target)]; }
  Spent owner;

 private:
  facility::TestExecutor executor_{facility::TestExecutor::kVirtual};
  facility::MemoryStore store_{executor_};
  std::unique_ptr<facility::Facility> facility_ = store_.connect(executor_, "owner");
  node::NodeConfig config_ = config_of("owner");
  xcf::v1::Hello hello_ = hello_of("owner", 1);
  SeededRng rng_{1};
  PipeBus bus_;
  NoLog log_;
  Plane plane_{config_, NodeId(1)};
  ipsec::SaFactory factory_{1};
  node::LocalSas sas_{{}, factory_, plane_};
  vipa::Ownership ownership_{*facility_,
                             executor_,
                             {.cluster = "c1", .definition = config_.definition},
                             {.became_owner = [](const vipa::Acquired&) {},
                              .lost = [](IpAddress, const std::string&) {},
                              .changed = [](const vipa::DvipaState&) {},
                              .note = [](const std::string&) {}}};
  vipa::Readiness readiness_{NodeId(1)};
  node::Ceilings ceilings_{*facility_,         executor_,
                           "/testudo/c1/",     [this](IpAddress a) { return ownership_.owner_key(a); },
                           [](SaId, SeqNo) {}, [](const std::string&) {}};
  node::OwnerRole role_{{.config = config_,
                         .executor = executor_,
                         .rng = rng_,
                         .bus = bus_,
                         .plane = plane_,
                         .local_sas = sas_,
                         .ceilings = ceilings_,
                         .ownership = ownership_,
                         .readiness = readiness_,
                         .ike = nullptr,
                         .log = log_,
                         .self = NodeId(1),
                         .tables_changed = [] {}}};
  std::vector<std::unique_ptr<Target>> targets_;
};

enum class How : std::uint8_t { kOneByOne, kAllAtOnce };

struct Figures {
  double owner_s = 0, target_s = 0, target_worker_s = 0;  // on the CPU; of the slowest target
  double bytes_per_sa = 0;                                // to one target
  double messages = 0;                                    // to one target
  double resident = 0;                                    // bytes more than before, of all nodes
  std::uint64_t installed = 0;
  bool refused = false;  // a link was reset, for its queue was full
};

double resident_bytes() {
  malloc_trim(0);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return 1024.0 * std::atof(line.c_str() + 6);
  }
  return 0;
}

Figures measure(How how, std::size_t targets, std::uint32_t sas) {
  Cluster cluster(targets);
  const double before = resident_bytes();
  if (how == How::kOneByOne) cluster.links_up();
  cluster.add_sas(sas);
  if (how == How::kAllAtOnce) {
    cluster.owner = {};
    cluster.links_up();
  }
  Figures figures{.owner_s = cluster.owner.seconds, .resident = resident_bytes() - before};
  figures.installed = cluster.everywhere();
  for (std::size_t i = 0; i < targets; ++i) {
    const Target& target = *cluster.targets()[i];
    CHECK(target.sas() == sas);
    if (const double all = target.control.seconds + target.worker.seconds; all > figures.target_s) {
      figures.target_s = all;
      figures.target_worker_s = target.worker.seconds;
    }
    figures.bytes_per_sa = static_cast<double>(cluster.pipe(i).bytes) / sas;
    figures.messages = static_cast<double>(cluster.pipe(i).messages);
    figures.refused |= cluster.pipe(i).full;
  }
  return figures;
}

Figures apart(How how, std::size_t targets, std::uint32_t sas) {
  const auto figures = in_child([&] { return measure(how, targets, sas); });
  CHECK(figures);
  return *figures;
}

int run(const char* path, std::uint32_t sas) {
  std::string json;
  const Figures alone = apart(How::kOneByOne, 0, sas);  // what the owner has of its own
  const double owner_alone = alone.resident;
  std::printf("%-12s owner %.3f s\n", "no member", alone.owner_s);
  bool good = true;
  for (const auto& [name, how] :
       {std::pair("one by one", How::kOneByOne), std::pair("all at once", How::kAllAtOnce)}) {
    const Figures f = apart(how, kTargets, sas);
    const double target = (f.resident - owner_alone) / kTargets;
    good &= f.installed == sas && !f.refused;
    std::printf(
        "%-12s owner %.3f s, slowest of %zu targets %.3f s (worker %.3f s); to each %.0f bytes per SA in %.0f "
        "messages; resident: owner %.0f MB, target %.0f MB%s\n",
        name, f.owner_s, kTargets, f.target_s, f.target_worker_s, f.bytes_per_sa, f.messages, owner_alone * 1e-6,
        target * 1e-6, f.refused ? "; A LINK'S QUEUE WAS FULL: it would have been reset" : "");
    std::array<char, 400> line;
    std::snprintf(
        line.data(), line.size(),
        " \"%s\": {\"sas\": %u, \"targets\": %zu, \"owner_seconds\": %.4f, \"target_seconds\": %.4f, "
        "\"alone_seconds\": %.4f, "
        "\"bytes_per_sa\": %.1f, \"messages\": %.0f, \"owner_resident\": %.0f, \"target_resident\": %.0f, "
        "\"installed\": %llu, \"refused\": %s}",
        name, sas, kTargets, f.owner_s, f.target_s, how == How::kOneByOne ? alone.owner_s : 0, f.bytes_per_sa,
        f.messages, owner_alone, target, static_cast<unsigned long long>(f.installed),
        f.refused ? "true" : "false");
    json += (json.empty() ? "{\n" : ",\n") + std::string(line.data());
  }
  std::ofstream(path) << json << "\n}\n";
  return good ? 0 : 1;
}

}  // namespace
}  // namespace testudo::bench

int main(int argc, char** argv) {
  return testudo::bench::run(argc > 1 ? argv[1] : "/dev/null",
                             argc > 2 ? static_cast<std::uint32_t>(std::atoi(argv[2])) : 100'000);
}
