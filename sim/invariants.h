// SPDX-License-Identifier: Apache-2.0
// Invariants: what must never happen in a cluster, whatever fails (spec C5, E5, E6, G5). It watches the real wire:
// each packet that a node hands to its network and each one that its kernel is handed. What is wrong is kept as one
// sentence.
//
//   invariants.protected_sent("t1", esp);
//   invariants.delivered("t1", packet_number);
//   if (!invariants.violations().empty()) fail();
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/address.h"
#include "base/strong.h"
#include "crypto/suite.h"
#include "ipsec/sa_parameters.h"

namespace testudo::sim {

class Invariants {
 public:
  /// An outbound SA is installed at its owner. Its SPI, the peer's choice, names its key: no two SAs share one
  /// here.
  void outbound_sa(Spi spi, SaId id, crypto::Suite suite);
  /// The coupling facility holds this ceiling now.
  void ceiling(SaId id, SeqNo last);
  /// Hard limits of every SA, over all nodes together.
  void limits(const ipsec::LifesizeLimits& limits) { limits_ = limits; }
  /// What one life of a node has counted of one SA, in all.
  struct Carried {
    std::string node;
    std::uint64_t life = 0;  // of the node
    SaId id;
    Spi spi;
    bool outbound = false;
    std::uint64_t bytes = 0, packets = 0;
  };
  void carried(const Carried& carried);
  /// The client has protected a packet, its number within, by the inbound SA with this SPI.
  void client_sent(Spi spi, std::uint32_t packet_number);
  /// A filter permits this DVIPA's packets in the clear.
  void clear_permitted(IpAddress dvipa) { clear_.insert(dvipa); }
  [[nodiscard]] bool is_clear_permitted(IpAddress dvipa) const { return clear_.contains(dvipa); }

  /// An ESP packet leaves a node (the SPI first).
  void protected_sent(const std::string& node, std::span<const std::uint8_t> esp);
  /// An IPv4 packet that is not ESP leaves a node.
  void clear_sent(const std::string& node, std::span<const std::uint8_t> packet);
  /// The client's packet with this number, of which it protected one copy only, reaches a node's kernel.
  void delivered(const std::string& node, std::uint32_t packet_number, std::size_t bytes = 0);
  void owners(IpAddress dvipa, const std::vector<std::string>& nodes);

  void violated(const std::string& what);
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  [[nodiscard]] std::uint64_t protected_packets() const { return protected_packets_; }
  [[nodiscard]] std::uint64_t delivered_packets() const { return delivered_.size(); }
  /// Nodes that have sent on each SPI, and how many packets.
  [[nodiscard]] const std::map<Spi, std::map<std::string, std::uint64_t>>& senders() const { return senders_; }

 private:
  struct OutboundSa {
    SaId id;
    crypto::Suite suite = crypto::Suite::kAesGcm128Icv16;
    std::unordered_map<std::uint32_t, std::string> sent;  // by sequence number: who
    std::set<std::vector<std::uint8_t>> ivs;
    std::uint64_t bytes = 0;  // of inner packets, at least
  };
  struct InboundSa {
    std::uint64_t sent = 0;  // packets, by the client
    std::uint64_t delivered = 0, bytes = 0;
  };
  struct Counted {
    std::map<std::pair<std::string, std::uint64_t>, std::pair<std::uint64_t, std::uint64_t>>
        lives;  // bytes, packets
    std::uint64_t bytes = 0, packets = 0;
  };

  [[nodiscard]] bool beyond(std::uint64_t bytes, std::uint64_t packets) const;

  std::map<Spi, OutboundSa> outbound_;
  std::map<SaId, SeqNo> ceilings_;
  std::set<IpAddress> clear_;
  std::unordered_map<std::uint32_t, std::string> delivered_;  // by packet number: to whom
  std::map<Spi, std::map<std::string, std::uint64_t>> senders_;
  ipsec::LifesizeLimits limits_;
  std::map<SaId, Counted> counted_;
  std::map<Spi, InboundSa> inbound_;
  std::unordered_map<std::uint32_t, Spi> sent_by_;  // by packet number
  std::uint64_t protected_packets_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace testudo::sim
