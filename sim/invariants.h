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

namespace testudo::sim {

class Invariants {
 public:
  /// An outbound SA is installed at its owner. Its SPI, the peer's choice, names its key: no two SAs share one
  /// here.
  void outbound_sa(Spi spi, SaId id, crypto::Suite suite);
  /// The coupling facility holds this ceiling now.
  void ceiling(SaId id, SeqNo last);
  /// A filter permits this DVIPA's packets in the clear.
  void clear_permitted(IpAddress dvipa) { clear_.insert(dvipa); }
  [[nodiscard]] bool is_clear_permitted(IpAddress dvipa) const { return clear_.contains(dvipa); }

  /// An ESP packet leaves a node (the SPI first).
  void protected_sent(const std::string& node, std::span<const std::uint8_t> esp);
  /// An IPv4 packet that is not ESP leaves a node.
  void clear_sent(const std::string& node, std::span<const std::uint8_t> packet);
  /// The client's packet with this number, of which it protected one copy only, reaches a node's kernel.
  void delivered(const std::string& node, std::uint32_t packet_number);
  void owners(IpAddress dvipa, const std::vector<std::string>& nodes);

  void violated(const std::string& what);
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  [[nodiscard]] std::uint64_t protected_packets() const { return protected_packets_; }
  [[nodiscard]] std::uint64_t delivered_packets() const { return delivered_.size(); }
  /// Nodes that have sent on each SPI.
  [[nodiscard]] const std::map<Spi, std::set<std::string>>& senders() const { return senders_; }

 private:
  struct OutboundSa {
    SaId id;
    crypto::Suite suite = crypto::Suite::kAesGcm128Icv16;
    std::unordered_map<std::uint32_t, std::string> sent;  // by sequence number: who
    std::set<std::vector<std::uint8_t>> ivs;
  };

  std::map<Spi, OutboundSa> outbound_;
  std::map<SaId, SeqNo> ceilings_;
  std::set<IpAddress> clear_;
  std::unordered_map<std::uint32_t, std::string> delivered_;  // by packet number: to whom
  std::map<Spi, std::set<std::string>> senders_;
  std::uint64_t protected_packets_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace testudo::sim
