// SPDX-License-Identifier: Apache-2.0
// Round trip of a sequence lease over UDP, between two processes in two network namespaces with a veth between
// them: from the lessee's poll() that makes the request to receive() that has taken the grant, by the real
// Sequencer, Lessee and UdpPort. Needs root.
//   bench_lease_rtt OUT.json [SECONDS]
//
// Two lessees take turns on one SA, so that it is shared and each has to ask for each burst; they are in one
// process, as two workers of a host. *spinning*: both sides look for packets without sleeping, each on a core of
// its own. *blocking*: both sleep in epoll_wait() until one comes, as a node's worker does when it has nothing to
// do. The namespaces have no names, and are gone with the processes.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/in_child.h"
#include "io/clock.h"
#include "io/poller.h"
#include "io/udp/udp_port.h"
#include "sequence/lessee.h"
#include "sequence/sequencer.h"

namespace testudo::bench {
namespace {

constexpr NodeId kOwner(1);
constexpr std::array kLessees = {NodeId(2), NodeId(3)};
constexpr IpAddress kDvipa(0xc0000264);
constexpr Epoch kEpoch(7);
constexpr SaId kSa(1);
constexpr std::uint32_t kBurst = 8;                         // packets that a lessee has to send
constexpr Endpoint kOwnerAt{IpAddress(0x0a4d0001), 4755};   // 10.77.0.1
constexpr Endpoint kLesseeAt{IpAddress(0x0a4d0002), 4755};  // 10.77.0.2

void shell(const std::string& command) {
  if (std::system(command.c_str()) == 0) return;
  std::fprintf(stderr, "bench: error: '%s' failed; it needs root\n", command.c_str());
  std::exit(1);
}

/// The n-th core that this machine lets us have, whatever the caller has pinned us to.
void pin(int n) {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); ++cpu) CPU_SET(cpu, &all);
  CHECK(sched_setaffinity(0, sizeof all, &all) == 0 && sched_getaffinity(0, sizeof all, &all) == 0);
  int last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    last = cpu;
    if (n-- == 0) break;
  }
  CPU_ZERO(&all);
  CPU_SET(last, &all);
  CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
}

/// A port, and how one waits for it.
class Link {
 public:
  Link(Endpoint local, Endpoint peer, bool blocking) : local_(local), peer_(peer), blocking_(blocking) {
    auto port = io::UdpPort::open({.local = local});
    CHECK(port.has_value());
    port_ = std::move(*port);
    poller_ = std::move(*io::Poller::create());
    CHECK(poller_->watch(port_->descriptor(), 1).has_value());
  }
  /// Sleeps at most so long, if it may sleep at all. Spinning on a machine without a spare core never ends
  /// otherwise.
  template <typename OnMessage>
  bool receive(Duration at_most, OnMessage on_message) {
    std::array<wire::Packet, wire::kBurst> burst;
    std::size_t count = port_->receive(burst);
    if (count == 0 && blocking_) {
      static_cast<void>(poller_->wait(at_most));
      count = port_->receive(burst);
    }
    for (const wire::Packet& packet : std::span(burst).first(count)) {
      if (const auto message = wire::FastMessage::parse(packet.bytes())) on_message(*message);
    }
    return count != 0;
  }
  void send(wire::FastOutbox& outbox) {
    std::array<wire::Outgoing, wire::kBurst> out;
    std::size_t count = 0;
    for (std::size_t i = 0; i < outbox.size() && count < out.size(); ++i, ++count) {
      const auto datagram = outbox.datagram(i);
      out[count] = wire::Outgoing{};
      out[count].body = datagram.bytes.data();
      out[count].body_size = static_cast<std::uint32_t>(datagram.bytes.size());
      out[count].source = local_;
      out[count].destination = peer_;
    }
    if (count != 0) port_->send(std::span(out).first(count));
    outbox.clear();
  }

 private:
  Endpoint local_, peer_;
  bool blocking_;
  std::unique_ptr<io::UdpPort> port_;
  std::unique_ptr<io::Poller> poller_;
};

[[noreturn]] void be_owner(bool blocking) {
  pin(1);
  Link link(kOwnerAt, kLesseeAt, blocking);
  io::MonotonicClock clock;
  sequence::Sequencer sequencer(kOwner, {});
  sequencer.add_sa(kSa, {.dvipa = kDvipa, .epoch = kEpoch, .first = SeqNo(1), .peer_window = 128, .esn = true});
  sequencer.set_ceiling(kSa, SeqNo(1ull << 60));
  wire::FastOutbox outbox;
  for (;;) {
    const Duration next = sequencer.next_timer() == Time::max() ? 1s : sequencer.next_timer() - clock.now();
    link.receive(std::clamp<Duration>(next, 0ns, 1s),
                 [&](const wire::FastMessage& message) { sequencer.receive(message, clock.now(), outbox); });
    sequencer.tick(clock.now(), outbox);
    sequencer.clear_events();
    link.send(outbox);
  }
}

class Lessees {
 public:
  explicit Lessees(bool blocking) : link_(kLesseeAt, kOwnerAt, blocking) {
    for (const NodeId node : kLessees) {
      lessees_.push_back(std::make_unique<sequence::Lessee>(node, node.value(), sequence::LesseeConfig{}));
      lessees_.back()->add_sa(kSa, {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner});
    }
  }

  /// One burst of the next lessee's. Nothing: it took longer than a request's life.
  std::optional<Duration> burst() {
    sequence::Lessee& lessee = *lessees_[turn_++ % lessees_.size()];
    if (const auto early = lessee.take(kSa, kBurst, clock_.now())) {  // left from the time when nobody else sent
      finish(lessee, early);
      return std::nullopt;
    }
    const Time started = clock_.now();
    lessee.poll(started, outbox_);
    link_.send(outbox_);
    for (;;) {
      link_.receive(100us, [&](const wire::FastMessage& message) {
        for (const auto& each : lessees_) each->receive(message, clock_.now());
      });
      const Time now = clock_.now();
      if (!lessee.granted().empty()) {
        const Duration spent = now - started;
        const auto numbers = lessee.take(kSa, kBurst, now);
        finish(lessee, numbers);
        if (!numbers) return std::nullopt;
        return spent;
      }
      if (now - started > 200ms) return std::nullopt;
      for (const auto& each : lessees_)
        each->poll(now, outbox_);  // recalls are answered, a lost request is repeated
      link_.send(outbox_);
    }
  }

 private:
  /// Its packets have left.
  void finish(sequence::Lessee& lessee, const sequence::Numbers& numbers) {
    if (numbers) lessee.sent(kSa, numbers.last());
    lessee.forget_want(kSa);
    lessee.poll(clock_.now(), outbox_);
    link_.send(outbox_);
  }

  Link link_;
  io::MonotonicClock clock_;
  std::vector<std::unique_ptr<sequence::Lessee>> lessees_;
  std::size_t turn_ = 0;
  wire::FastOutbox outbox_;
};

struct Figures {
  double p50 = 0, p99 = 0, least = 0;  // microseconds
  std::size_t bursts = 0, missed = 0;
};

Figures measure(bool blocking, Duration how_long) {
  pin(0);
  Lessees lessees(blocking);
  io::MonotonicClock clock;
  const Time warm = clock.now() + 300ms, end = warm + how_long;
  std::vector<double> us;
  Figures figures;
  while (clock.now() < end) {
    const auto spent = lessees.burst();
    if (clock.now() < warm) continue;
    if (spent) {
      us.push_back(std::chrono::duration<double, std::micro>(*spent).count());
    } else {
      ++figures.missed;
    }
    const Time until = clock.now() + 60us;  // longer than the skew guard: the span is free again
    while (clock.now() < until) {
    }
  }
  CHECK(us.size() > 100);
  std::ranges::sort(us);
  figures.bursts = us.size();
  figures.least = us[0];
  figures.p50 = us[us.size() / 2];
  figures.p99 = us[us.size() * 99 / 100];
  return figures;
}

/// In processes of their own: the owner in this namespace, the lessees in the one behind the veth.
Figures apart(const std::string& lessees_at, bool blocking, Duration how_long) {
  const pid_t owner = fork();
  if (owner == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    be_owner(blocking);
  }
  const auto figures = in_child([&] {
    const int ns = open(lessees_at.c_str(), O_RDONLY);
    CHECK(ns >= 0 && setns(ns, CLONE_NEWNET) == 0);
    return measure(blocking, how_long);
  });
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  CHECK(figures);
  return *figures;
}

std::string two_namespaces() {
  CHECK(unshare(CLONE_NEWNET) == 0);
  const int far = open("/proc/thread-self/ns/net", O_RDONLY);
  const std::string far_path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(far);
  shell("ip link set lo up");
  CHECK(unshare(CLONE_NEWNET) == 0);
  shell("ip link set lo up && ip link add xcf type veth peer name xcf netns " + far_path);
  shell("ip address add 10.77.0.1/24 dev xcf && ip link set xcf up");
  shell("nsenter --net=" + far_path + " sh -c 'ip address add 10.77.0.2/24 dev xcf && ip link set xcf up'");
  return far_path;
}

int run(const char* path, double seconds) {
  const std::string far = two_namespaces();
  const auto each = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds / 2));
  std::string json = "{\n";
  for (const bool blocking : {false, true}) {
    const Figures f = apart(far, blocking, each);
    const char* name = blocking ? "blocking" : "spinning";
    std::array<char, 256> line;
    std::snprintf(
        line.data(), line.size(),
        "%s \"%s\": {\"p50_us\": %.2f, \"p99_us\": %.2f, \"least_us\": %.2f, \"bursts\": %zu, \"missed\": %zu}",
        blocking ? ",\n" : "", name, f.p50, f.p99, f.least, f.bursts, f.missed);
    json += line.data();
    std::printf("%-9s p50 %.1f us, p99 %.1f us, least %.1f us, %zu bursts, %zu without a grant\n", name, f.p50,
                f.p99, f.least, f.bursts, f.missed);
  }
  std::ofstream(path) << json << "\n}\n";
  return 0;
}

}  // namespace
}  // namespace testudo::bench

int main(int argc, char** argv) {
  return testudo::bench::run(argc > 1 ? argv[1] : "/dev/null", argc > 2 ? std::atof(argv[2]) : 6);
}
