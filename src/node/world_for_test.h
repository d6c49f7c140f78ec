// SPDX-License-Identifier: Apache-2.0
// What stands around a node's roles, for their tests: a bus, a data plane, an IKE daemon and a log that keep what
// they are told. The facility is facility/memory, in virtual time.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "facility/test_executor.h"
#include "ike/ike_daemon.h"
#include "io/netlink/host_network.h"
#include "ipsec/sa_for_test.h"
#include "node/data_plane.h"
#include "node/log.h"
#include "xcf/bus.h"

namespace testudo::node {

inline constexpr IpAddress kDvipa(0xc0000264);  // 192.0.2.100
inline constexpr Epoch kEpoch(41);

class RecordingBus final : public xcf::Bus {
 public:
  struct Sent {
    std::string to;
    xcf::v1::Envelope message;
  };
  void start(xcf::v1::Hello, xcf::BusEvents) override {}
  void add_member(const xcf::Member&) override {}
  void remove_member(const std::string&) override {}
  bool send(const std::string& node, const xcf::v1::Envelope& message) override {
    if (up) sent.push_back({node, message});
    return up;
  }
  /// What was sent since the last take.
  std::vector<Sent> take() { return std::exchange(sent, {}); }

  bool up = true;
  std::vector<Sent> sent;
};

class RecordingPlane final : public DataPlane {
 public:
  Result<void> start(const vipa::Identity&, OnEvent) override { return {}; }
  void submit(path::Command command) override { commands.push_back(std::move(command)); }
  Result<void> serve(const std::vector<io::SteeredDvipa>&) override { return {}; }
  [[nodiscard]] const path::WorkerCounters* counters() const override { return nullptr; }

  template <typename T>
  [[nodiscard]] std::vector<const T*> all() const {
    std::vector<const T*> found;
    for (const path::Command& command : commands) {
      if (const T* one = std::get_if<T>(&command)) found.push_back(one);
    }
    return found;
  }
  /// As the worker counts.
  void use(SaId id, std::uint64_t packets, std::uint64_t bytes_each) {
    for (const auto* install : all<path::InstallSa>()) {
      if (install->sa->id() != id) continue;
      for (std::uint64_t i = 0; i < packets; ++i) install->sa->count(bytes_each);
    }
  }

  std::vector<path::Command> commands;
};

class RecordingIke final : public ike::IkeDaemon {
 public:
  struct Expired {
    Spi spi;
    IpAddress destination, source;
    ike::Expiry expiry;
    friend bool operator==(const Expired&, const Expired&) = default;
  };
  Result<void> start(ike::IkeEvents&) override { return {}; }
  [[nodiscard]] bool connected() const override { return here; }
  bool expire(ike::SaName name, IpAddress source, ike::Expiry expiry) override {
    if (here) expired.push_back({name.spi, name.destination, source, expiry});
    return here;
  }
  bool acquire(const ike::Wanted&) override { return here; }
  bool deliver_ike(Endpoint, Endpoint, std::span<const std::uint8_t>) override { return here; }

  bool here = true;
  std::vector<Expired> expired;
};

/// Takes everything, and has the connections that a test gives it.
class FakeHost final : public io::HostNetwork {
 public:
  Result<void> apply(const io::Steering&) override { return {}; }
  Result<void> renew(const io::Steering&) override { return {}; }
  Result<void> clear(const io::Steering&) override { return {}; }
  Result<void> announce(const std::string&, IpAddress) override { return {}; }
  Result<std::set<io::Listener>> listening_ports(const std::string&) override { return std::set<io::Listener>(); }
  Result<std::set<io::TcpConnection>> connections(const std::string&, std::span<const IpAddress>) override {
    return open;
  }
  Result<io::InterfaceInfo> interface(const std::string&) override { return io::InterfaceInfo{}; }

  std::set<io::TcpConnection> open;
};

class RecordingLog final : public Log {
 public:
  void line(LogLevel level, const std::string& text) override {
    if (level == LogLevel::kWarning || level == LogLevel::kError) complaints.push_back(text);
  }
  std::vector<std::string> complaints;  // warnings and errors
};

inline ipsec::SaParameters sa_of(std::uint64_t id, ipsec::Direction direction, std::uint32_t spi) {
  auto sa = ipsec::parameters_for_test(direction, crypto::Suite::kAesGcm128Icv16, id);
  sa.local = kDvipa;
  sa.spi = Spi(spi);
  return sa;
}

inline xcf::v1::Hello hello_of(const std::string& node, std::uint16_t id) {
  xcf::v1::Hello hello;
  hello.set_node(node);
  hello.set_node_id(id);
  hello.set_xcf_address(IpAddress(0x0a4d0000u + id).to_bytes());
  hello.set_ipsec(true);
  hello.set_distributed_ipsec(true);
  hello.set_incarnation(1000u + id);
  return hello;
}

}  // namespace testudo::node
