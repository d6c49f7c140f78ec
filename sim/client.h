// SPDX-License-Identifier: Apache-2.0
// Client: an IPsec peer of the cluster with a kernel's replay window of 32 and TCP connections through the tunnel.
// It counts what its window refuses, and keeps copies of what it has sent for an attacker who replays them.
//
//   Client client({…}, "client", address, policy);
//   client.connect(dvipa);
//   const std::size_t job = client.fetch({dvipa, 80}, 100'000);   // goes on until it has them, with new
//   connections … client.job(job).done
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ipsec/transforms.h"
#include "sim/ike_daemon.h"
#include "sim/ike_exchange.h"
#include "sim/invariants.h"
#include "sim/network.h"
#include "sim/tcp_client.h"

namespace testudo::sim {

struct ClientCounters {
  std::uint64_t packets_in = 0;  // ESP, accepted
  std::uint64_t packets_out = 0;
  std::uint64_t duplicates = 0;  // refused: accepted before. The network doubles packets
  std::uint64_t refused = 0;     // never seen before, and behind the replay window (spec E6)
  std::uint64_t not_authentic = 0;
  std::uint64_t unknown_spi = 0;  // of an SA that is deleted already
  std::uint64_t replayed = 0;     // by the attacker, forged ones too
};

class Client {
 public:
  struct World {
    VirtualTime& time;
    Network& network;
    Transcript& transcript;
    Invariants& invariants;
    std::uint64_t seed = 1;
  };
  struct Job {
    Endpoint dvipa;
    std::uint64_t wanted = 0;
    bool clear = false;  // no IPsec
    std::unique_ptr<TcpClient> connection;
    std::uint32_t connections = 0;  // tried so far
    bool done = false;
    [[nodiscard]] std::uint64_t received() const { return connection ? connection->received() : 0; }
  };
  struct Failure {
    Time when;
    std::uint16_t port = 0;
    TcpClient::State state{};
  };

  Client(World world, std::string name, IpAddress address, const ChildPolicy& policy);
  ~Client();

  /// Negotiates a child SA with the owner of the DVIPA.
  void connect(IpAddress dvipa);
  [[nodiscard]] bool connected() const { return newest_ != Spi(0); }
  /// Replaces it, from this side.
  void rekey();
  /// Our SPI of the child SA that is used to send.
  [[nodiscard]] Spi newest() const { return newest_; }

  std::size_t fetch(Endpoint dvipa, std::uint64_t bytes);
  std::size_t fetch_clear(Endpoint dvipa, std::uint64_t bytes);
  [[nodiscard]] const Job& job(std::size_t number) const { return jobs_.at(number); }
  [[nodiscard]] std::size_t jobs() const { return jobs_.size(); }
  [[nodiscard]] bool all_done() const;
  /// Connections that did not end well.
  [[nodiscard]] const std::vector<Failure>& failures() const { return failures_; }

  /// An attacker on the lan sends a copy of an earlier packet to the DVIPA, now and then with a bit changed.
  void replay_something();

  [[nodiscard]] const ClientCounters& counters() const { return counters_; }
  [[nodiscard]] std::uint64_t rekeys() const { return rekeys_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  struct Child {
    Spi at_client, at_dvipa;
    std::unique_ptr<ipsec::Sa> in, out;
    std::uint64_t sequence = 0;        // last one sent
    std::set<std::uint64_t> accepted;  // every number ever, unlike the window
    bool replaced = false;
  };

  void udp(Endpoint source, Endpoint destination, const Bytes& payload);
  void ip(const Bytes& packet);
  void esp(Bytes packet);
  void inner(std::span<const std::uint8_t> packet);
  void send_ike(std::span<const std::uint8_t> payload);
  std::optional<IkeMessage> answer(const IkeMessage& request);
  void add_child(Spi at_client, Spi at_dvipa, bool use);
  void drop_child(Spi at_client);
  [[nodiscard]] Spi new_spi();
  std::unique_ptr<ipsec::Sa> make_sa(const Child& child, bool to_client);

  std::size_t start(Job job);
  void open(std::size_t number);
  void send(const TcpPacket& tcp, bool clear);
  void protect(const Bytes& packet);
  void transmit(const Bytes& esp);
  void look_after_jobs();

  World world_;
  std::string name_;
  IpAddress address_;
  ChildPolicy policy_;
  VirtualExecutor executor_;
  SeededRng rng_;
  std::unique_ptr<ipsec::Transforms> transforms_;
  std::unique_ptr<ipsec::SaFactory> factory_;
  std::unique_ptr<IkeExchange> ike_;
  IpAddress dvipa_;
  std::map<Spi, Child> children_;  // by our own SPI
  Spi newest_;                     // used to send
  std::uint32_t spis_ = 0;
  std::uint64_t ids_ = 0;
  std::uint64_t rekeys_ = 0;
  std::uint32_t packet_number_ = 0;
  std::uint16_t next_port_ = 40'000;
  std::deque<Job> jobs_;
  std::map<std::uint16_t, std::size_t> by_port_;
  std::vector<Failure> failures_;
  std::deque<Bytes> captured_;  // ESP packets as they left
  ClientCounters counters_;
};

}  // namespace testudo::sim
