// SPDX-License-Identifier: Apache-2.0
// Inbound: what a target does with packets that the owner of a DVIPA forwards over XCF (spec C6, D1, seed blocks
// 150–154). GRE off, SA from the shadow cache, replay window, ICV, padding, selectors; the inner packet goes to the
// TUN, and what became of each sequence number goes back to the owner's ledger. A packet whose SA is not here yet
// waits while the SA is pulled. AH and ESP, both modes, IPv4 and IPv6; what the owner has filtered is not filtered
// again (spec D1).
//
//   Inbound inbound(config, {transforms, sad, commits, drops, sink});
//   inbound.set_tables(distribution, filters);
//   inbound.process(burst, now);
//   inbound.sa_installed(*sa, now);
//   inbound.tick(now);
//
// Thread: one worker. Nothing allocates.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/drop.h"
#include "base/time.h"
#include "distributor/distribution.h"
#include "distributor/forwarding.h"
#include "ipsec/sad.h"
#include "ipsec/transforms.h"
#include "policy/filter_table.h"
#include "policy/flow_cache.h"
#include "sequence/replay_commits.h"
#include "target/hold_pool.h"
#include "wire/gre.h"
#include "wire/ip.h"
#include "wire/packet.h"

namespace testudo::target {

/// Where it says what it found. The worker implements it.
class InboundSink {
 public:
  /// Plain IP packets for this host's applications.
  virtual void deliver(std::span<const wire::Outgoing> packets) = 0;
  /// A packet waits for this SA.
  virtual void unknown_spi(IpAddress dvipa, Spi spi, IpAddress remote) = 0;
  /// A target of a DVIPA that this host owns asks it to protect and send an IP packet (target/outbound.h).
  virtual void reply(const wire::Packet& packet) = 0;

 protected:
  ~InboundSink() = default;
};

struct InboundConfig {
  std::uint32_t hold_packets = 256;
  Duration hold_time = 1s;
};

struct InboundCounters {
  Counter forwarded_packets;                   // that came from owners
  Counter decrypted_packets, decrypted_bytes;  // delivered; bytes of inner packets
  Counter clear_packets;
  Counter filtered;  // of the decrypted ones: by the owner, not here
  Counter held;      // that had to wait for their SA
  Counter replies;   // that this host, as the owner, was asked to protect
};

class Inbound {
 public:
  struct Parts {
    ipsec::Transforms& transforms;
    ipsec::Sad& sad;
    sequence::ReplayCommits& commits;
    DropCounters& drops;
    InboundSink& sink;
    policy::FlowCache* flows = nullptr;  // null: the filters are asked about each packet
  };

  Inbound(const InboundConfig& config, Parts parts);

  /// Both must live until the next call. Before the first, everything is dropped.
  void set_tables(const distributor::Distribution* distribution, const policy::FilterTable* filters) {
    distribution_ = distribution;
    filters_ = filters;
  }
  /// What has waited for this SA goes on.
  void sa_installed(const ipsec::Sa& sa, Time now);

  /// Packets from the XCF data port: GRE. May be changed.
  void process(std::span<const wire::Packet> burst, Time now);
  /// Gives up on what has waited too long.
  void tick(Time now);
  [[nodiscard]] Time next_timer() const;

  [[nodiscard]] const InboundCounters& counters() const { return counters_; }

 private:
  /// The packets that wait for one SA. With no packets: a free place.
  struct Waiting {
    Spi spi;
    ipsec::Protocol protocol{};
    IpAddress remote, local;
    HoldPool::List packets;
  };
  static constexpr std::size_t kWaitingMax = 64;
  /// A protected packet whose SA has not been looked up yet: what the index and the SAs are in memory is asked for
  /// by the whole burst first.
  struct Arrived {
    const wire::Packet* packet = nullptr;
    std::span<const std::uint8_t> bytes;  // IP packet within it
    std::uint32_t offset = 0;             // of AH or ESP in `bytes`
    Spi spi;
    ipsec::Protocol protocol{};
    SeqNo seq;
    IpAddress remote, local;
    bool filtered = false;  // by the owner
  };

  void drop(Drop reason) { parts_.drops.count(reason); }
  void process_one(const wire::Packet& packet, Time now);
  void reply(const wire::Packet& packet, const wire::IpView& ip, const distributor::ForwardKey& key);
  void clear(const wire::IpView& ip, bool filtered, Time now);
  [[nodiscard]] std::optional<Drop> refused(const wire::IpView& ip, ipsec::TunnelId tunnel, Time now);
  void protected_one(const wire::Packet& packet, const wire::IpView& ip, const wire::GreView& gre);
  void hold(const Arrived& arrived, Time now);
  void look_up(Time now);
  void open(Time now);
  void finish(const ipsec::DecapRequest& request, bool filtered, Time now);
  void deliver(std::span<const std::uint8_t> inner);
  void flush();

  InboundConfig config_;
  Parts parts_;
  const distributor::Distribution* distribution_ = nullptr;
  const policy::FilterTable* filters_ = nullptr;
  HoldPool pool_;
  std::array<Waiting, kWaitingMax> waiting_{};
  std::array<Arrived, wire::kBurst> arrived_;
  std::size_t arrived_count_ = 0;
  std::array<ipsec::DecapRequest, wire::kBurst> requests_;
  std::array<bool, wire::kBurst> filtered_;  // by the owner
  std::size_t requests_count_ = 0;
  std::array<wire::Outgoing, wire::kBurst> outgoing_;
  std::size_t outgoing_count_ = 0;
  InboundCounters counters_;
};

}  // namespace testudo::target
