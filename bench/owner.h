// SPDX-License-Identifier: Apache-2.0
// The owner's inbound path (distributor::Inbound) with many SAs and connections: ESP packets of known connections
// come in and leave for their targets in GRE, without being decrypted.
//
//   OwnerPath owner(suite, senders, {.connections = 1'000'000, .spread = Spread::kAnySa});
//   owner.load(OwnerPath::Kind::kKnown, 1400);
//   timed([&] { good += owner.run(); });
//   owner.report();                         // what the targets say about the numbers
//
// All SAs are of one tunnel.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bench/contender.h"
#include "bench/traffic.h"
#include "distributor/inbound.h"
#include "policy/filter_table.h"

namespace testudo::bench {

/// Which SA a connection's packets come by.
enum class Spread : std::uint8_t {
  kOwnSa,  // one for each connection: few connections use few SAs
  kAnySa,  // all SAs are in use, however few the connections are
};

struct OwnerOptions {
  std::uint32_t connections = 1;
  Spread spread = Spread::kOwnSa;
};

class OwnerPath {
 public:
  enum class Kind : std::uint8_t {
    kKnown,  // a segment of a known connection: peeked at and forwarded
    kOwn,    // for the owner itself: decrypted
  };

  /// `senders`: the peers of the SAs that the owner has.
  OwnerPath(const Suite& suite, Senders& senders, const OwnerOptions& options);

  /// Makes a turn of packets.
  void load(Kind kind, std::size_t inner_size);
  /// How many became what their kind says.
  std::size_t run();
  /// Lets the targets accept all that the last turn has forwarded.
  void report();

 private:
  void install_sas(const Suite& suite);
  void publish();
  void connect_all();
  void write_inner(std::uint8_t* at, Kind kind, std::uint32_t connection, std::uint8_t tcp_flags) const;
  void seal(std::span<TurnPacket> packets);
  [[nodiscard]] std::uint32_t sa_of(std::uint32_t connection);

  Senders& senders_;
  OwnerOptions options_;
  SeededRng rng_{4};
  std::unique_ptr<ipsec::Transforms> transforms_;
  ipsec::SaFactory factory_{0xabcdef};
  ipsec::Sad sad_;
  DropCounters drops_;
  std::unique_ptr<distributor::Inbound> inbound_;
  std::unique_ptr<policy::FilterTable> filters_;
  std::unique_ptr<distributor::Distribution> distribution_;
  Time now_{1h};
  Dice dice_;
  distributor::Verdict::Kind wanted_{};
  std::vector<std::uint8_t> inner_, room_;
  Turn turn_;
  std::array<wire::Packet, kTurn> packets_;
  std::array<NodeId, kTurn> forwarded_to_;
};

}  // namespace testudo::bench
