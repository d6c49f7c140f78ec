// SPDX-License-Identifier: Apache-2.0
// The node's half of the bridge alone, for plugin_test.py: real bridge, real installation, IKE datagrams relayed
// through UDP 500 and 4500 of one address, no data plane. Says what happens as lines of JSON.
//
// usage: bridge_node SOCKET DVIPA       SIGUSR1: soft expire, SIGUSR2: hard expire of the newest inbound SA
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "ike/agreement.h"
#include "ike/bridge.h"
#include "ike/installation.h"
#include "io/descriptor.h"
#include "io/loop.h"

namespace testudo::ike {
namespace {

volatile std::sig_atomic_t g_soft = 0, g_hard = 0, g_stop = 0;

template <typename... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{{{}}}\n", fmt::format(format, std::forward<Args>(args)...));
  std::fflush(stdout);
}

/// Of the key; the key itself is never printed.
std::string digest(const Secret& key) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash{};
  SHA256(key.bytes().data(), key.size(), hash.data());
  std::string text;
  for (const unsigned char byte : hash) text += fmt::format("{:02x}", byte);
  return text;
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress socket_address(Endpoint endpoint) {
  SocketAddress out;
  const std::string bytes = endpoint.address.to_bytes();
  if (endpoint.address.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, bytes.data(), bytes.size());
    out.size = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&v6.sin6_addr, bytes.data(), bytes.size());
    out.size = sizeof v6;
  }
  return out;
}

Endpoint endpoint_of(const SocketAddress& from) {
  if (from.storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from.storage);
    return {IpAddress(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from.storage);
  return {IpAddress(std::span<const std::uint8_t, 16>(v6.sin6_addr.s6_addr)), ntohs(v6.sin6_port)};
}

class BridgeNode final : public IkeEvents {
 public:
  BridgeNode(io::Loop& loop, const std::string& socket, IpAddress dvipa)
      : bridge_(loop, socket), dvipa_(dvipa), installation_(dvipa, Epoch(1), rng_) {
    for (std::size_t i = 0; i < kPorts.size(); ++i) open_port(loop, i);
  }

  Result<void> start() { return bridge_.start(*this); }
  void expire(Expiry expiry) {
    const ipsec::SaParameters* newest = nullptr;
    for (const auto& [id, sa] : installation_.sas()) {
      if (sa.direction == ipsec::Direction::kInbound) newest = &sa;
    }
    if (newest == nullptr) return;
    const bool told = bridge_.expire(name_of(*newest), newest->remote, expiry);
    say(R"("event": "told", "expire": {}, "spi": {})", told, newest->spi.value());
  }

  void ike_connected(const std::string& daemon, bool restarted) override {
    if (restarted) installation_.daemon_restarted();
    say(R"("event": "connected", "daemon": "{}", "restarted": {})", daemon, restarted);
  }
  void ike_disconnected(const std::string& reason) override {
    say(R"("event": "disconnected", "reason": "{}")", reason);
  }
  Result<void> ike_configuration(const std::vector<ChildConfiguration>& children) override {
    const auto list = objections(children, {});
    for (const Objection& o : list) say(R"("event": "objection", "refused": {}, "text": "{}")", o.refused, o.text);
    say(R"("event": "configuration", "children": {}, "objections": {})", children.size(), list.size());
    return list.empty() ? Result<void>() : fail(list.front().text);
  }
  Result<Spi> allocate_spi(IpAddress dvipa, IpAddress) override {
    if (dvipa != dvipa_) return fail("not the DVIPA");
    return installation_.allocate_spi();
  }
  Result<void> add_sa(ipsec::SaParameters sa) override {
    say(R"("event": "add_sa", "inbound": {}, "spi": {}, "tunnel": "{}", "suite": "{}", "key_sha256": "{}", )"
        R"("local": "{}", "remote": "{}", "encapsulation": {}, "window": {}, "life": {}, "rekey": {})",
        sa.direction == ipsec::Direction::kInbound, sa.spi.value(), sa.tunnel, crypto::sizes(sa.suite).name,
        digest(sa.key), sa.local.to_string(), sa.remote.to_string(), sa.udp_encapsulation, sa.replay_window,
        sa.limits.hard_seconds, sa.limits.soft_seconds);
    const auto id = installation_.add_sa(std::move(sa));
    if (!id) return tl::unexpected(id.error());
    return {};
  }
  Result<void> update_sa(SaName name, const SaPath& path) override {
    const auto id = installation_.update_sa(name, path);
    say(R"("event": "update_sa", "spi": {}, "source": "{}", "destination": "{}", "encapsulation": {}, "done": {})",
        name.spi.value(), path.source.to_string(), path.destination.to_string(), path.udp_encapsulation,
        id.has_value());
    if (!id) return tl::unexpected(id.error());
    return {};
  }
  Result<SaUse> query_sa(SaName) override {
    return SaUse{.bytes = 4321, .packets = 21, .used = true, .idle_seconds = 1};
  }
  Result<void> delete_sa(SaName name) override {
    say(R"("event": "delete_sa", "spi": {}, "installed": {})", name.spi.value(),
        installation_.delete_sa(name).has_value());
    return {};
  }
  void flush_sas() override {
    installation_.flush_sas();
    say(R"("event": "flush_sas")");
  }
  Result<void> add_policy(const Policy& policy) override {
    for (const auto& f : policy.filters) {
      const bool changed = installation_.add_filter(f);
      say(R"("event": "add_policy", "changed": {}, "outbound": {}, "tunnel": "{}", "priority": {})", changed,
          f.outbound(), f.tunnel(), f.priority());
    }
    return {};
  }
  Result<void> delete_policy(const Policy& policy) override {
    for (const auto& f : policy.filters) {
      const bool changed = installation_.delete_filter(f);
      say(R"("event": "delete_policy", "changed": {}, "outbound": {}, "tunnel": "{}", "left": {})", changed,
          f.outbound(), f.tunnel(), installation_.filters().size());
    }
    return {};
  }
  void flush_policies() override {
    installation_.flush_filters();
    say(R"("event": "flush_policies")");
  }
  void send_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) override {
    std::vector<std::uint8_t> datagram;
    if (local.port == 4500 && payload.size() > 1) datagram.assign(4, 0);  // the non-ESP marker
    datagram.insert(datagram.end(), payload.begin(), payload.end());
    SocketAddress to = socket_address(remote);
    ::sendto(sockets_[local.port == 4500 ? 1 : 0].get(), datagram.data(), datagram.size(), 0, to.get(), to.size);
  }
  void ike_warning(const std::string& text) override { say(R"("event": "warning", "text": "{}")", text); }

 private:
  static constexpr std::array<std::uint16_t, 2> kPorts{500, 4500};

  void open_port(io::Loop& loop, std::size_t i) {
    sockets_[i] =
        io::Descriptor(::socket(dvipa_.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    SocketAddress address = socket_address({dvipa_, kPorts[i]});
    if (::bind(sockets_[i].get(), address.get(), address.size) != 0) {
      say(R"("event": "warning", "text": "{}")", io::system_error("bind"));
    }
    static_cast<void>(loop.watch(sockets_[i].get(), EPOLLIN, [this, i](std::uint32_t) { receive(i); }));
  }

  void receive(std::size_t i) {
    std::array<std::uint8_t, 65536> buffer{};
    SocketAddress from;
    const ssize_t size = ::recvfrom(sockets_[i].get(), buffer.data(), buffer.size(), 0, from.get(), &from.size);
    if (size <= 0) return;
    std::span<const std::uint8_t> payload(buffer.data(), static_cast<std::size_t>(size));
    if (kPorts[i] == 4500) {  // ESP and NAT keepalives are not charon's
      if (payload.size() <= 4 || (payload[0] | payload[1] | payload[2] | payload[3]) != 0) return;
      payload = payload.subspan(4);
    }
    bridge_.deliver_ike({dvipa_, kPorts[i]}, endpoint_of(from), payload);
  }

  KernelRng rng_;
  CharonBridge bridge_;
  const IpAddress dvipa_;
  Installation installation_;
  std::array<io::Descriptor, 2> sockets_;
};

int run(const std::string& socket, const std::string& dvipa) {
  auto loop = io::Loop::create();
  const auto address = IpAddress::parse(dvipa);
  if (!loop || !address) return 2;
  BridgeNode node(**loop, socket, *address);
  if (const auto started = node.start(); !started) {
    fmt::print(stderr, "bridge_node: {}\n", started.error().message);
    return 1;
  }
  std::signal(SIGUSR1, [](int) { g_soft = 1; });
  std::signal(SIGUSR2, [](int) { g_hard = 1; });
  std::signal(SIGTERM, [](int) { g_stop = 1; });
  say(R"("event": "ready")");
  while (g_stop == 0) {
    (*loop)->run_once(20ms);
    if (std::exchange(g_soft, 0) != 0) node.expire(Expiry::kSoft);
    if (std::exchange(g_hard, 0) != 0) node.expire(Expiry::kHard);
  }
  return 0;
}

}  // namespace
}  // namespace testudo::ike

int main(int argc, char** argv) {
  if (argc == 3) return testudo::ike::run(argv[1], argv[2]);
  fmt::print(stderr, "usage: bridge_node SOCKET DVIPA\n");
  return 2;
}
